"""From a picture of any size to a square of the network's: uint8 RGB, or pairs in float32.

Two steps, so that the costly one can be remembered: `prepare` decodes and scales and is the same
for every visit of a picture, `cut` slices and turns it as this visit's draws say.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from i2sb_jax.data.windows import window_at
from i2sb_jax.pictures import (
    UnreadableImage,
    center_crop,
    decode_rgb,
    decode_square,
    resize_short_side,
)

WHOLE = 1.0  # the scale of a picture that is not reduced
_CHANNEL_ORDERS = tuple(list(order) for order in itertools.permutations(range(3)))


def prepare(
    image: bytes | np.ndarray,
    *,
    image_size: int,
    crop: str,
    channels: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Decodes a picture and scales it as far as no randomness is involved.

    Args:
        image: an encoded file, or uint8 [h, w, 1 or 3]; of a pair float32 [h, w, channels]; what is
            scaled of its NaN, which are no data, is NaN.
        image_size: side of the squares that will be cut.
        crop: "resize" (the paper: short side to `image_size`, antialiased bilinear; central square)
            or "window" (native resolution; only pictures smaller than a window are enlarged).
        channels: of both sides of a pair; None for pictures.
        tell: as of `decode_rgb`.

    Returns:
        [image_size, image_size, c] for "resize", else [h, w, c] no smaller than that; uint8 of 3
        channels, of a pair float32 of `channels`.

    Raises:
        UnreadableImage: it cannot be decoded.
    """
    if crop == "resize" and channels is None and isinstance(image, bytes):
        return decode_square(image, image_size, tell=tell)
    if channels is not None:
        pixels = _as_pair(image, channels)
    else:
        pixels = decode_rgb(image, tell=tell) if isinstance(image, bytes) else _as_rgb(image)
    if crop == "resize":
        # A copy, lest the square keep the whole picture in memory.
        return center_crop(resize_short_side(pixels, image_size), image_size).copy()
    if min(pixels.shape[:2]) < image_size:
        return resize_short_side(pixels, image_size)
    return pixels


def reduced_shape(shape: Sequence[int], scale: float) -> tuple[int, int]:
    """(height, width) of a picture of this shape, reduced."""
    return round(shape[0] * scale), round(shape[1] * scale)


def fitting_scale(
    scale: float, scales: Sequence[float], shape: Sequence[int], *, image_size: int
) -> float:
    """`scale`, or the nearest larger one of `scales` that leaves a window; the whole if none does.

    Args:
        scale: one of `scales`.
        scales: factors in (0, 1].
        shape: of the picture, [h, w, …].
        image_size: side of the window.
    """
    larger = sorted(other for other in scales if other >= scale)
    fits = (one for one in larger if min(reduced_shape(shape, one)) >= image_size)
    return next(fits, WHOLE)


def reduce(image: np.ndarray, scale: float) -> np.ndarray:
    """A picture of fewer pixels, antialiased (Lanczos, as Pillow has it), and so a sharper one.

    Args:
        image: uint8 [h, w, 3].
        scale: factor of both sides, in (0, 1].
    """
    height, width = reduced_shape(image.shape, scale)
    small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small)


def cut(
    image: np.ndarray,
    draws: np.ndarray,
    *,
    image_size: int,
    flip: bool,
    quarter_turns: bool,
    shuffle_channels: bool,
    margin: int = 0,
    grid: int = 1,
) -> np.ndarray:
    """Cuts a random window, and flips, turns and recolours it with its margin if asked to.

    Args:
        image: [h, w, c] from `prepare`.
        draws: float [5] uniform in [0, 1): row, column, flip, quarter turns, channels.
        image_size: side of the window.
        flip: left and right change places in half of the draws.
        quarter_turns: turns by 0, 90, 180 or 270 degrees.
        shuffle_channels: puts the channels of RGB into one of their six orders.
        margin: pixels around the window; beyond the picture it is mirrored.
        grid: the window (without margin) starts at multiples of so many pixels.

    Returns:
        [image_size + 2 · margin, image_size + 2 · margin, c] of the same type, contiguous.
    """
    row, column, mirror, turns, order = (float(draw) for draw in draws)
    top, left = (
        grid * int(draw * ((side - image_size) // grid + 1))
        for draw, side in zip((row, column), image.shape[:2], strict=True)
    )
    window = window_at(image, top, left, image_size=image_size, margin=margin)
    if flip and mirror < 0.5:
        window = window[:, ::-1]
    if quarter_turns:
        window = np.rot90(window, int(turns * 4))
    if shuffle_channels:
        window = window[..., _CHANNEL_ORDERS[int(order * len(_CHANNEL_ORDERS))]]
    return np.ascontiguousarray(window)


def _as_pair(image: np.ndarray, channels: int) -> np.ndarray:
    if image.dtype != np.float32 or image.ndim != 3 or image.shape[2] != channels:
        raise UnreadableImage(
            f"pairs must be float32 [h, w, {channels}], got {image.dtype} {list(image.shape)}"
        )
    return image


def _as_rgb(image: np.ndarray) -> np.ndarray:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise UnreadableImage(
            f"arrays must be uint8 [h, w, 1 or 3], got {image.dtype} {list(image.shape)}"
        )
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
