"""Measurements of a person's own pictures: the small picture, the blurred one, the JPEG file."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from i2sb_jax.corruptions import corruption_facts, enlarge_smoothly
from i2sb_jax.corruptions.consistency import (
    EIGHT_BITS,
    JpegPlane,
    LinearMeasurement,
    Measurement,
    blur_factors,
    blur_width,
    file_cell,
    reduction_factors,
    separable_measurement,
)
from i2sb_jax.data.windows import window_at
from i2sb_jax.pictures import JpegWaves, from_pixels, read_jpeg_waves

Sides = int | tuple[int, int]
MeasureFn = Callable[[int, int, Sides], Measurement]
"""(row, column, side, or height and width) of a window of a picture -> its measurement."""

_BLOCK = 16  # pixels, of a JPEG file with halved chroma
_KERNEL = {"sr4x-pool": "box", "sr4x-bicubic": "bicubic"}  # of pictures that a program reduced


class Held(NamedTuple):
    """How results are held consistent with pictures.

    Attributes:
        task: the corruption that they suffered.
        method: "projection", "gradient" or "", which is not at all.
        operator: that made them, where the corruption draws it.
    """

    task: str
    method: str
    operator: str = ""


def check_own_pictures(task: str, method: str) -> None:
    """Raises ValueError where a person's pictures are not what an operator made of them."""
    if method and not corruption_facts(task).keeps_light:
        raise ValueError(
            f"consistency={method!r}: pictures of one's own are only made to look as "
            f"{task} leaves them, and do not agree with it"
        )


def measure_picture(held: Held, pixels: np.ndarray, data: bytes) -> MeasureFn | None:
    """Returns the measurements of a picture; None where its windows tell them by themselves.

    Args:
        held: to what.
        pixels: of the picture, uint8 or uint16 [h, w, 1 or 3].
        data: its file.

    Raises:
        UnreadableImage: the task is JPEG, and the file is none whose numbers can be read.
    """
    facts = corruption_facts(held.task)
    if facts.quality_range is not None:
        return functools.partial(jpeg_cell, read_jpeg_waves(data))
    if facts.enlargement == 1 and blur_width(held.operator) is None:
        return None
    rounding = EIGHT_BITS * 255 / np.iinfo(pixels.dtype).max
    return functools.partial(_linear, held, pixels, _uncertainty(held, pixels, rounding))


def measure_array(held: Held, image: np.ndarray) -> MeasureFn | None:
    """The same of a picture as large as its result, floats [h, w, 3] made of eight bits.

    Raises:
        ValueError: no picture that was enlarged has its size.
    """
    factor = corruption_facts(held.task).enlargement
    if factor == 1 and blur_width(held.operator) is None:
        return None
    height, width = image.shape[:2]
    if height % factor or width % factor:
        raise ValueError(
            f"images of {height}x{width} pixels are none that {held.task} enlarged {factor} times"
        )
    uncertainty = _uncertainty(held, image, EIGHT_BITS)
    return functools.partial(_linear, held, reduced(held.task, image), uncertainty)


def _uncertainty(held: Held, pixels: np.ndarray, rounding: float) -> float:
    """Standard deviation of y about A X_0: of its rounding, or of a blurred picture's noise.

    A blur leaves nothing of the finest diagonal differences, so what is there is noise.
    """
    if blur_width(held.operator) is None or min(pixels.shape[:2]) < 2:
        return rounding
    y = pixels if pixels.dtype.kind == "f" else from_pixels(pixels)
    finest = (y[1:, 1:] - y[1:, :-1] - y[:-1, 1:] + y[:-1, :-1]) / 2
    return max(rounding, float(np.median(np.abs(finest))) / 0.6745)


def reduced(task: str, image: np.ndarray) -> np.ndarray:
    """The natural input of a task of which `image` [h, w, 3] was enlarged."""
    facts = corruption_facts(task)
    factor = facts.enlargement
    if facts.enlarged_by != "smooth":
        return image[::factor, ::factor]
    rows, columns = (_enlarging(side // factor, factor) for side in image.shape[:2])
    return np.einsum("rh,hwc,sw->rsc", rows, image, columns, optimize=True).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _enlarging(side: int, factor: int) -> np.ndarray:
    """The pseudo-inverse [side, factor · side] of enlarging smoothly, which loses nothing."""
    points = np.eye(side)[:, :, None, None]
    return np.linalg.pinv(enlarge_smoothly(points, factor)[:, :, 0, 0].T)


def _linear(
    held: Held,
    pixels: np.ndarray,
    uncertainty: float,
    row: int,
    column: int,
    sides: Sides,
) -> LinearMeasurement:
    sides = _both(sides)
    factor, blur = corruption_facts(held.task).enlargement, blur_width(held.operator)
    if blur is None:
        kernel = _KERNEL.get(held.task, held.operator)
        make = functools.partial(reduction_factors, kernel, factor)
    else:
        make = functools.partial(blur_factors, blur)
    factors = [
        make(factor * length, start, side)
        for length, start, side in zip(pixels.shape[:2], (row, column), sides, strict=True)
    ]
    height, width = (side // factor for side in sides)
    y = window_at(pixels, row // factor, column // factor, image_size=max(height, width))
    y = y[:height, :width]
    y = y if y.dtype.kind == "f" else from_pixels(y)
    y = np.broadcast_to(y, (*y.shape[:2], 3)).astype(np.float32)
    low, high = np.where(y <= -1, -np.inf, y), np.where(y >= 1, np.inf, y)
    return separable_measurement(
        low.astype(np.float32), high.astype(np.float32), *factors,
        rounding=uncertainty, method=held.method,
    )  # fmt: skip


def measure_file(data: bytes, size: tuple[int, int]) -> MeasureFn:
    """The measurements of a JPEG file that was decoded to an image of so many rows and columns.

    Raises:
        ValueError: it is none, or of another size.
    """
    waves = read_jpeg_waves(data)
    if (waves.height, waves.width) != size:
        raise ValueError(
            f"a JPEG file of {waves.height}x{waves.width} pixels is told for an image of "
            f"{size[0]}x{size[1]}"
        )
    return functools.partial(jpeg_cell, waves)


def jpeg_cell(waves: JpegWaves, row: int, column: int, sides: Sides) -> Measurement:
    """The cell of a window of a JPEG file.

    Blocks that reach beyond the picture are left out, for what an encoder filled them with is its
    own choice; so is chroma of which three or more columns share one.

    Args:
        waves: of the file.
        row: first row of the window in the picture, where one of its blocks of 16 begins.
        column: first column, likewise.
        sides: of the window, multiples of 16.

    Raises:
        ValueError: they are not.
    """
    numbers, sides = range(len(waves.components)), _both(sides)
    if any(side % _BLOCK for side in sides):
        raise ValueError(
            f"consistency with a JPEG file needs windows of whole blocks of {_BLOCK}, and these "
            f"have {sides[0]}x{sides[1]} pixels"
        )
    planes = [_plane(waves, number, (row, column), sides) for number in numbers]
    return file_cell(planes[0], planes[1:])


def _both(sides: Sides) -> tuple[int, int]:
    return sides if isinstance(sides, tuple) else (sides, sides)


def _plane(
    waves: JpegWaves, number: int, origin: tuple[int, int], sides: tuple[int, int]
) -> JpegPlane:
    component, lead = waves.components[number], waves.lead[number]
    shared = component.down, component.across
    if max(shared) > 2:
        blocks = tuple(side // 8 for side in sides)
        empty = np.zeros((*blocks, 8, 8), np.int32)
        return JpegPlane(empty, component.table, np.zeros(blocks, bool), 1, 1)
    places, known = [], []
    for axis, length in enumerate((waves.height, waves.width)):
        start, side = origin[axis], sides[axis]
        pixels = 8 * shared[axis]
        first = (start + lead[axis]) // pixels
        place = first + np.arange(side // pixels)
        begin = place * pixels - lead[axis]
        known.append((begin >= 0) & (begin + pixels <= length))
        places.append(np.clip(place, 0, component.waves.shape[axis] - 1))
    return JpegPlane(
        component.waves[np.ix_(*places)], component.table, np.logical_and.outer(*known), *shared
    )
