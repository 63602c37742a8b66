"""`make_corruption`: from a name to an operator."""

import difflib
import functools
import re
from typing import Any

from i2sb_jax.corruptions import constants
from i2sb_jax.corruptions.blur import make_exact_blur, make_spectral_blur
from i2sb_jax.corruptions.colorize import make_colorize
from i2sb_jax.corruptions.corruption import Corruption
from i2sb_jax.corruptions.inpainting import make_inpainting
from i2sb_jax.corruptions.jpeg import make_jpeg
from i2sb_jax.corruptions.jpeg_file import make_jpeg_file
from i2sb_jax.corruptions.masks import (
    FILE_SIDE,
    CenterMask,
    Masks,
    StrokeMasks,
    read_mask_file,
)
from i2sb_jax.corruptions.mixture import make_mixture
from i2sb_jax.corruptions.names import MIXTURE_NAMES
from i2sb_jax.corruptions.super_resolution import make_bicubic, make_pool

_MIN_SIZE = 8  # the bicubic filter mirrors eight pixels

_MAKERS = {
    "sr4x-pool": make_pool,
    "sr4x-bicubic": make_bicubic,
    "blur-uni": functools.partial(make_spectral_blur, kernel=constants.UNIFORM_KERNEL),
    "blur-gauss": functools.partial(make_spectral_blur, kernel=constants.GAUSSIAN_KERNEL),
    "blur-uni-exact": functools.partial(make_exact_blur, kernel=constants.UNIFORM_KERNEL),
    "blur-gauss-exact": functools.partial(make_exact_blur, kernel=constants.GAUSSIAN_KERNEL),
    "colorize": make_colorize,
}
_FREEFORM = {  # bounds of the area, array in the mask file
    "inpaint-freeform1020": (0.1, 0.2, "10-20% freeform"),
    "inpaint-freeform2030": (0.2, 0.3, "20-30% freeform"),
}
_SIZE_UNITS = {"sr4x-pool": 4, "sr4x-bicubic": 4, "mixture": 16}
_JPEG = re.compile(r"jpeg-(-?\d+)")
_JPEG_UNIT = 16
_JPEG_FILE = re.compile(r"jpeg-file(?:-(.*))?", re.DOTALL)
_JPEG_FILE_RANGE = "5-95"


def corruption_names() -> tuple[str, ...]:
    """Every name `make_corruption` takes, the hundred JPEG qualities included.

    Of `jpeg-file-LO-HI` there are thousands: `jpeg-file` stands for all of them.
    """
    jpeg = tuple(f"jpeg-{quality}" for quality in range(1, 101))
    return (*_MAKERS, "inpaint-center", *_FREEFORM, "mixture", "jpeg-file", *jpeg)


def make_corruption(name: str, *, image_size: int, mask_file: Any = None) -> Corruption:
    """Makes a corruption of the I²SB paper (Liu et al. 2023) by its name.

    Args:
      name: "sr4x-pool", "sr4x-bicubic", "jpeg-Q" with Q in 1...100, "jpeg-file-LO-HI" with
        1 <= LO <= HI <= 100, "jpeg-file" for "jpeg-file-5-95", "blur-uni", "blur-gauss",
        "blur-uni-exact", "blur-gauss-exact", "inpaint-center", "inpaint-freeform1020",
        "inpaint-freeform2030", "mixture" or "colorize".
      image_size: height and width of the images; a multiple of 4 for super-resolution and of 16 for
        jpeg-Q and the mixture.
      mask_file: the paper's 256×256 freeform masks (.npz, local or gs://), for the freeform
        corruptions and the mixture; None generates brush strokes instead.

    Returns:
      The corruption.

    Raises:
      ValueError: the name is unknown, the size does not fit, or the mask file is of no use.
    """
    match = _JPEG.fullmatch(name) if isinstance(name, str) else None
    if match and not 1 <= int(match[1]) <= 100:
        raise ValueError(f"corruption {name!r}: a JPEG quality lies in 1...100")
    file_match = _JPEG_FILE.fullmatch(name) if isinstance(name, str) else None
    if name not in corruption_names() and not file_match:
        nearest = difflib.get_close_matches(str(name), corruption_names(), n=1, cutoff=0)[0]
        raise ValueError(f"unknown corruption {name!r}: did you mean {nearest!r}?")
    _check_size(name, image_size, _JPEG_UNIT if match else _SIZE_UNITS.get(name, 1))
    if mask_file is not None:
        _check_mask_file(name, image_size)

    if file_match:
        return make_jpeg_file(name, image_size, *_quality_range(name, file_match[1]))
    if match:
        return make_jpeg(name, image_size, int(match[1]))
    if name == "inpaint-center":
        return make_inpainting(name, image_size, CenterMask(image_size))
    if name in _FREEFORM:
        return make_inpainting(name, image_size, _freeform_masks(name, image_size, mask_file))
    if name == "mixture":
        return make_mixture(name, image_size, _mixture_members(image_size, mask_file))
    return _MAKERS[name](name, image_size)


def _quality_range(name: str, text: str | None) -> tuple[int, int]:
    """The two numbers behind jpeg-file, which may be left out."""
    match = re.fullmatch(
        r"(\d{1,3})-(\d{1,3})", _JPEG_FILE_RANGE if text is None else text, re.ASCII
    )
    low, high = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= low <= high <= 100:
        raise ValueError(
            f"corruption {name!r}: jpeg-file-LO-HI takes two JPEG qualities with "
            f"1 <= LO <= HI <= 100, e.g. jpeg-file-{_JPEG_FILE_RANGE}"
        )
    return low, high


def _mixture_members(image_size: int, mask_file: Any) -> tuple[Corruption, ...]:
    return tuple(
        make_corruption(
            member, image_size=image_size, mask_file=mask_file if member in _FREEFORM else None
        )
        for member in MIXTURE_NAMES
    )


def _freeform_masks(name: str, image_size: int, mask_file: Any) -> Masks:
    low, high, key = _FREEFORM[name]
    if mask_file is None:
        return StrokeMasks(image_size, low, high)
    return read_mask_file(mask_file, key)


def _check_size(name: str, image_size: int, unit: int) -> None:
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < _MIN_SIZE:
        raise ValueError(
            f"image_size of {name} must be an integer of at least {_MIN_SIZE}, got {image_size!r}"
        )
    if image_size % unit:
        below = image_size // unit * unit
        nearest = f"{below} or {below + unit}" if below >= _MIN_SIZE else f"{below + unit}"
        raise ValueError(
            f"image_size of {name} must be a multiple of {unit}, got {image_size}: try {nearest}"
        )


def _check_mask_file(name: str, image_size: int) -> None:
    if name not in _FREEFORM and name != "mixture":
        raise ValueError(f"{name} takes no mask_file: only freeform inpainting and the mixture do")
    if image_size != FILE_SIDE:
        raise ValueError(
            f"mask_file holds {FILE_SIDE}×{FILE_SIDE} masks, which do not fit image_size "
            f"{image_size}: use {FILE_SIDE}, or no mask_file"
        )
