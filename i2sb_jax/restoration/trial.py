"""One photograph through one model: what a page tells of it, and shows before and after."""

import io
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from i2sb_jax import config as config_lib
from i2sb_jax import files, interop
from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.pictures import MAX_PIXELS, Picture, UnreadableImage, lost_in, read_picture
from i2sb_jax.restoration.choice import Choice, choose_model
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options

SCREEN = 2048  # pixels of the longer side of what is shown; files have all of theirs


class Look(NamedTuple):
    """A photograph in words, and the shipped model that suits it."""

    facts: str
    choice: Choice


class Trial(NamedTuple):
    """A photograph restored.

    Attributes:
        result: the file that `restore_folder` writes, renamed.
        before, after: PNGs for a screen: of 8 bits, the same size, the longer side `SCREEN` at
            most, with the colour profiles of photograph and result.
        facts: the result in words.
        notes: what of the photograph's file the result does not hold, a line each.
        seconds: that it took, start-up and writing included.
    """

    result: epath.Path
    before: epath.Path
    after: epath.Path
    facts: str
    notes: tuple[str, ...]
    seconds: float


def look_at(photograph: epath.PathLike) -> Look:
    """Reads a photograph, to say what it is and needs.

    Raises:
        ValueError: it cannot be read, or is too large; one line that names it.
    """
    picture = _read(epath.Path(photograph))
    return Look(_facts(picture), choose_model(picture))


def try_model(
    model: epath.PathLike,
    photograph: epath.PathLike,
    folder: epath.PathLike,
    options: Options,
    *,
    on_evaluation: Callable[[int, int], None] | None = None,
) -> Trial:
    """Restores a photograph into an empty folder.

    Args:
        model: a shipped model's name, a run, or a model folder.
        photograph: its file.
        folder: for the three files.
        options: how.
        on_evaluation: as of `restore_folder`.

    Raises:
        ValueError: the photograph cannot be restored, or an option does not fit; one line.
        NonFiniteError: the network gave NaN or infinity.
    """
    photograph, folder = epath.Path(photograph), epath.Path(folder)
    begun = time.monotonic()
    before = _read(photograph)
    _check_result_size(model, photograph.name, before)
    place = folder / "restored"
    outcome = restore_folder(
        model, photograph, place, options, quiet=True, on_evaluation=on_evaluation
    )
    for name, reason in outcome.unreadable.items():
        raise ValueError(f"{name} is left out: {reason}")
    (name,) = files.list_images(place)
    result = (place / name).rename(folder / f"{photograph.stem}_restored{epath.Path(name).suffix}")
    after = _read(result)
    height, width = after.pixels.shape[:2]
    shrunk = min(1.0, SCREEN / max(width, height))
    size = max(1, round(shrunk * width)), max(1, round(shrunk * height))
    shown = folder / "before.png", folder / "after.png"
    for path, picture in zip(shown, (before, after), strict=True):
        path.write_bytes(_screen_png(picture, size))
    lost = (*before.notes, *lost_in(before, result.suffix))
    notes = tuple(f"{photograph.name} {note}" for note in lost)
    return Trial(result, *shown, _facts(after), notes, time.monotonic() - begun)


def _read(path: epath.Path) -> Picture:
    try:
        return read_picture(path.read_bytes())
    except UnreadableImage as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None


def _check_result_size(model: epath.PathLike, name: str, picture: Picture) -> None:
    """Raises ValueError where the result would be too large to be read again."""
    config = config_lib.load(interop.local_folder(model))
    scale = 1 if config.has_pairs else corruption_facts(config.corruption).enlargement
    height, width = (scale * side for side in picture.pixels.shape[:2])
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"{name}: its result would have {width}x{height} pixels, more than the {MAX_PIXELS} "
            "that can be shown: use i2sb-restore"
        )


def _facts(picture: Picture) -> str:
    height, width, channels = picture.pixels.shape
    parts = [f"{width} × {height} pixels", f"{8 * picture.pixels.itemsize} bits"]
    parts += ["grey"] * (channels == 1) + ["transparency"] * (picture.alpha is not None)
    parts += ["a colour profile"] * (picture.icc_profile is not None)
    quality = f" of quality {picture.jpeg.quality}" if picture.jpeg is not None else ""
    return ", ".join([*parts, picture.file_format + quality])


def _screen_png(picture: Picture, size: tuple[int, int]) -> bytes:
    pixels = _eight_bits(picture.pixels)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(_eight_bits(picture.alpha)))
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=picture.icc_profile, compress_level=1)
    return buffer.getvalue()


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
