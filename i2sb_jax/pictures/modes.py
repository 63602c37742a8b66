"""The many ways a file stores a picture, as grey or RGB and an alpha; and what goes with it."""

import io
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageCms

from i2sb_jax.pictures.arrays import decode_first_page, tiff_orientation
from i2sb_jax.pictures.header import ORIENTATION_TAG, UnreadableImage

_EXIF_IFD = 0x8769
# Make, model, date, artist, copyright.
_KEPT_TAGS = (0x010F, 0x0110, 0x0132, 0x013B, 0x8298)
# Exposure, aperture, program, sensitivity, dates with zones and fractions, shutter, metering,
# flash, focal length, mode, white balance, lens.
_KEPT_EXIF_TAGS = (
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202),
    *(0x9204, 0x9207, 0x9209, 0x920A, 0x9290, 0x9291, 0x9292, 0xA402, 0xA403, 0xA405),
    *(0xA432, 0xA433, 0xA434),
)
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB = 0, 1, 2
_ROWS = 256  # of a picture that are converted at once
_PREMULTIPLIED, _STRAIGHT = 1, 2  # TIFF's ExtraSamples; any other sample is no alpha


class Layers(NamedTuple):
    """Colours uint8 or uint16 [h, w, 1 or 3], and alpha [h, w] of the same type or None."""

    pixels: np.ndarray
    alpha: np.ndarray | None


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


def deep_tiff_size(file: BinaryIO) -> tuple[tuple[int, int], int] | None:
    """(width, height) as stored and orientation of a TIFF of 16-bit grey or RGB, else None.

    Pillow would cut those to 8 bits, or not read them.
    """
    try:
        with tifffile.TiffFile(file) as tiff:
            page = tiff.pages[0]
            if page.photometric not in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB):
                return None
            if page.dtype != np.uint16:
                return None
            return (page.imagewidth, page.imagelength), tiff_orientation(page)
    except Exception:  # no TIFF, or Pillow will say what is wrong with it
        return None


def deep_tiff_layers(data: bytes, *, max_pixels: int) -> Layers:
    """Layers, upright, of the first page of a TIFF of 16-bit grey or RGB."""
    array = decode_first_page(data, max_pixels=max_pixels)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[0]
        colours, extra = (3 if page.photometric == _RGB else 1), page.extrasamples
    if array.shape[2] < colours:
        raise UnreadableImage(f"a TIFF in RGB with {array.shape[2]} channels")
    pixels = array[..., :colours]
    if not extra or extra[0] not in (_PREMULTIPLIED, _STRAIGHT):
        return Layers(pixels, None)
    alpha = array[..., colours]
    if extra[0] == _PREMULTIPLIED:
        opacity = np.maximum(alpha, 1)[..., None] / 65535
        pixels = np.rint(np.minimum(pixels / opacity, 65535)).astype(np.uint16)
    return Layers(pixels, alpha)


def fitting_profile(icc_profile: bytes | None, channels: int) -> bytes | None:
    """The profile, if it is of the colour space that the pixels are in; else None."""
    space = b"GRAY" if channels == 1 else b"RGB "
    return icc_profile if icc_profile and icc_profile[16:20] == space else None


def kept_exif(tags: Image.Exif) -> bytes | None:
    """What of EXIF outlives a restoration: dates, camera, lens, exposure, artist, copyright.

    Orientation becomes 1, since the pixels are upright. Left out: the thumbnail, which shows the
    old picture; the place, serial numbers and makers' notes, which a new file should not spread
    unasked.

    Returns:
        EXIF as Pillow writes it, starting with "Exif"; None if there is nothing to keep.
    """
    try:
        camera = {tag: tags[tag] for tag in _KEPT_TAGS if tag in tags}
        shot = tags.get_ifd(_EXIF_IFD)
        shot = {tag: shot[tag] for tag in _KEPT_EXIF_TAGS if tag in shot}
        if not camera and not shot:
            return None
        kept = Image.Exif()
        kept.update({ORIENTATION_TAG: 1} | camera)
        if shot:
            kept[_EXIF_IFD] = shot
        return kept.tobytes()
    except Exception:  # broken EXIF is no reason to lose a picture whose pixels are sound
        return None


def parsed_exif(exif: bytes | None) -> Image.Exif:
    """The tags in a block of EXIF or in a TIFF; none if there is no block or it is broken."""
    tags = Image.Exif()
    if exif:
        try:
            tags.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        except Exception:
            return Image.Exif()
    return tags


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
