"""The many ways a file stores a picture, as grey or RGB and an alpha."""

import io

import numpy as np
from PIL import Image, ImageCms

from i2sb_jax.pictures.header import UnreadableImage
from i2sb_jax.pictures.tiff import Layers

_ROWS = 256  # of a picture that are converted at once


def split_alpha(array: np.ndarray) -> Layers:
    """Layers of [h, w, 1...4] in the order of PNG: grey or RGB, then alpha."""
    if array.shape[2] in (1, 3):
        return Layers(array, None)
    return Layers(array[..., :-1], array[..., -1])


def layers_of(image: Image.Image) -> Layers:
    """Layers of what Pillow loaded, whatever its mode; colours under the alpha are left alone.

    CMYK and CIELAB become sRGB: by the embedded profile if there is a fitting one, else CMYK by
    (1 - ink) (1 - black). Raises UnreadableImage where values have no stated range.
    """
    mode = image.mode
    if mode == "F":
        raise UnreadableImage("a floating-point picture has no stated range")
    if mode == "I" or mode.startswith("I;16"):
        return Layers(_sixteen_bits(np.asarray(image))[..., None], None)
    if mode == "CMYK":
        image = _cmyk_to_rgb(image)
    elif mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    grey = "L" if mode in ("1", "L", "LA", "La") else "RGB"
    return split_alpha(_array(image, grey + "A" * image.has_transparency_data))


def _array(image: Image.Image, mode: str) -> np.ndarray:
    """[h, w, c] of a picture in another mode, some rows at a time: copies of all are large."""
    width, height = image.size
    array = None
    for top in range(0, height, _ROWS):
        rows = image.crop((0, top, width, min(top + _ROWS, height)))
        rows = np.asarray(rows if rows.mode == mode else rows.convert(mode))
        rows = rows.reshape(*rows.shape[:2], -1)
        if array is None:
            array = np.empty((height, *rows.shape[1:]), rows.dtype)
        array[top : top + len(rows)] = rows
    return array


def _sixteen_bits(values: np.ndarray) -> np.ndarray:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise UnreadableImage(f"a 32-bit picture with values {low}...{high} has no stated range")
    return values.astype(np.uint16)


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    icc_profile = image.info.get("icc_profile") or b""
    if icc_profile[16:20] == b"CMYK":
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # a broken profile counts as none
            pass
    return image.convert("RGB")
