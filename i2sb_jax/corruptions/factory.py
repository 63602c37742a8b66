"""`make_corruption`: from a name to an operator."""

import functools
from typing import Any

from i2sb_jax.corruptions import constants
from i2sb_jax.corruptions.blur import make_exact_blur, make_spectral_blur
from i2sb_jax.corruptions.colorize import make_colorize
from i2sb_jax.corruptions.corruption import Corruption
from i2sb_jax.corruptions.facts import check_image_size
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
from i2sb_jax.corruptions.names import MIXTURE_NAMES, parse_name
from i2sb_jax.corruptions.noise import make_float_noise, make_noise
from i2sb_jax.corruptions.photo_blur import make_photo_blur
from i2sb_jax.corruptions.real import make_real
from i2sb_jax.corruptions.reduction import make_photo_reduction
from i2sb_jax.corruptions.super_resolution import make_bicubic, make_pool

_MAKERS = {
    "sr4x-pool": make_pool,
    "sr4x-bicubic": make_bicubic,
    "blur-uni": functools.partial(make_spectral_blur, kernel=constants.UNIFORM_KERNEL),
    "blur-gauss": functools.partial(make_spectral_blur, kernel=constants.GAUSSIAN_KERNEL),
    "blur-uni-exact": functools.partial(make_exact_blur, kernel=constants.UNIFORM_KERNEL),
    "blur-gauss-exact": functools.partial(make_exact_blur, kernel=constants.GAUSSIAN_KERNEL),
    "colorize": make_colorize,
    "real": make_real,
    "sr2x-photo": make_photo_reduction,
    "sr4x-photo": make_photo_reduction,
}
_FREEFORM = {  # bounds of the area, array in the mask file
    "inpaint-freeform1020": (0.1, 0.2, "10-20% freeform"),
    "inpaint-freeform2030": (0.2, 0.3, "20-30% freeform"),
}
_RANGED_MAKERS = {
    "blur-photo": make_photo_blur,
    "noise": make_noise,
    "noise-float": make_float_noise,
}


def make_corruption(name: str, *, image_size: int, mask_file: Any = None) -> Corruption:
    """Makes a corruption of the I²SB paper (Liu et al. 2023) or of photographs by its name.

    Args:
      name: "sr4x-pool", "sr4x-bicubic", "jpeg-Q" with Q in 1...100, "blur-uni", "blur-gauss",
        "blur-uni-exact", "blur-gauss-exact", "inpaint-center", "inpaint-freeform1020",
        "inpaint-freeform2030", "mixture" or "colorize"; of photographs "jpeg-file-LO-HI" and
        "jpeg-told-LO-HI" (whose network sees how the file was made) with 1 <= LO <= HI <= 100,
        "blur-photo-LO-HI" with 0 <= LO <= HI <= 20 pixels, "noise-LO-HI" and "noise-float-LO-HI"
        with 0 <= LO <= HI <= 100 levels (each may come without its range),
        "sr2x-photo", "sr4x-photo" or "real".
      image_size: height and width of the images; a multiple of 4 (of 2 for sr2x-photo) for
        super-resolution and of 16 for jpeg-Q and the mixture.
      mask_file: the paper's 256×256 freeform masks (.npz, local or gs://), for the freeform
        corruptions and the mixture; None generates brush strokes instead.

    Returns:
      The corruption.

    Raises:
      ValueError: the name is unknown, the size does not fit, or the mask file is of no use.
    """
    kind, low, high = parse_name(name)
    check_image_size(name, image_size)
    if mask_file is not None:
        _check_mask_file(name, image_size)

    if kind == "jpeg":
        return make_jpeg(name, image_size, int(low))
    if kind in ("jpeg-file", "jpeg-told"):
        return make_jpeg_file(name, image_size, int(low), int(high), is_told=kind == "jpeg-told")
    if kind in _RANGED_MAKERS:
        return _RANGED_MAKERS[kind](name, image_size, low, high)
    if name == "inpaint-center":
        return make_inpainting(name, image_size, CenterMask(image_size))
    if name in _FREEFORM:
        return make_inpainting(name, image_size, _freeform_masks(name, image_size, mask_file))
    if name == "mixture":
        return make_mixture(name, image_size, _mixture_members(image_size, mask_file))
    return _MAKERS[name](name, image_size)


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


def _check_mask_file(name: str, image_size: int) -> None:
    if name not in _FREEFORM and name != "mixture":
        raise ValueError(f"{name} takes no mask_file: only freeform inpainting and the mixture do")
    if image_size != FILE_SIDE:
        raise ValueError(
            f"mask_file holds {FILE_SIDE}×{FILE_SIDE} masks, which do not fit image_size "
            f"{image_size}: use {FILE_SIDE}, or no mask_file"
        )
