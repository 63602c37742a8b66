"""Pictures in: any that Pillow reads, as uint8 RGB or as the kind they are.

`decode_rgb` is for training: EXIF orientation is applied, transparency is laid over white, grey and
palettes become RGB, CMYK is converted without a colour profile, 16-bit grey is scaled (not
clipped), and of an animation the first frame is taken. `read_picture` and `encode_picture` are for
restoring: the same picture to the eye, but what is grey, transparent or of 16 bits stays so, with
its colour profile, dates and camera.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from i2sb_jax.pictures import modes
from i2sb_jax.pictures.arrays import decode_array
from i2sb_jax.pictures.header import (
    COLUMNS_TURNED,
    MAX_PIXELS,
    ORIENTATION_TAG,
    PNG_SIGNATURE,
    ROWS_TURNED,
    UnreadableImage,
    exif_orientation,
    read_png_header,
    refused_in_one_line,
    require_pixels,
    upright,
    valid_orientation,
)
from i2sb_jax.pictures.jpeg import JpegInfo, read_jpeg_info
from i2sb_jax.pictures.pixels import center_crop, short_side_scaled

# Formats are named, so that a stray file never starts Ghostscript or some exotic parser.
_JPEGS = ("JPEG", "MPO")  # as Pillow calls them
_BLOCK = 16  # pixels: a JPEG's 8, chroma halved
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000")
_WIDTH_TAG, _HEIGHT_TAG, _ICC_TAG = 0x0100, 0x0101, 0x8773


class Picture(NamedTuple):
    """A picture as a file holds it, upright.

    Attributes:
        pixels: uint8 or uint16 [h, w, 1] (grey) or [h, w, 3] (RGB).
        alpha: [h, w] of the same type, or None. Straight: colours under it are as stored.
        icc_profile: of the pixels' colour space, or None.
        exif: what may be kept: dates, camera, lens, exposure, artist, copyright; or None.
        jpeg: how a JPEG was made; None for other formats.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    icc_profile: bytes | None = None
    exif: bytes | None = None
    jpeg: JpegInfo | None = None


def read_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decodes a picture and keeps its kind.

    Palettes become RGB. CMYK and CIELAB become sRGB, by the embedded profile if there is one. 16
    bits are kept in PNG, in TIFF of grey or RGB, and in other formats where they are grey; other
    pictures of more than 8 bits are read in 8. Of an animation or a TIFF the first picture is read.

    Args:
        data: a whole file of any format that `decode_rgb` reads.
        max_pixels: as there.

    Raises:
        UnreadableImage: as there.
    """
    if data.startswith(PNG_SIGNATURE):
        with refused_in_one_line():
            header = read_png_header(io.BytesIO(data))
        layers = modes.split_alpha(decode_array(data, suffix=".png", max_pixels=max_pixels))
        return _picture(layers, header.icc_profile, modes.parsed_exif(header.exif))
    if modes.deep_tiff_size(io.BytesIO(data)) is not None:
        layers = modes.deep_tiff_layers(data, max_pixels=max_pixels)
        tags = modes.parsed_exif(data)
        return _picture(layers, tags.get(_ICC_TAG), tags)
    with _loaded(data, max_pixels) as (image, turn):
        pixels, alpha = modes.layers_of(image)
        layers = modes.Layers(
            upright(pixels, turn), None if alpha is None else upright(alpha, turn)
        )
        picture = _picture(layers, image.info.get("icc_profile"), image.getexif())
        if image.format in _JPEGS:
            # a header that says nothing of the quality is no reason to lose the picture
            with contextlib.suppress(UnreadableImage):
                picture = picture._replace(jpeg=read_jpeg_info(data))
        return picture


class PictureHeader(NamedTuple):
    """What a picture's header tells, of it upright.

    Attributes:
        width, height: pixels.
        block_offset: rows and columns by which a JPEG's grid of 16×16 blocks begins above and left
            of the picture; (0, 0) but where it was turned, and for all other formats.
    """

    width: int
    height: int
    block_offset: tuple[int, int]


def picture_header(
    source: epath.PathLike | BinaryIO, *, max_pixels: int = MAX_PIXELS
) -> PictureHeader:
    """Size and place of the blocks of a picture, from its header.

    Args:
        source: a path, local or gs://, or an open file.
        max_pixels: refuse larger pictures.

    Raises:
        UnreadableImage: no picture, or a larger one.
    """
    if isinstance(source, str) or hasattr(source, "__fspath__"):
        with epath.Path(source).open("rb") as file:
            return picture_header(file, max_pixels=max_pixels)
    with refused_in_one_line():
        (width, height), turn, is_jpeg = _stored_size(source)
        require_pixels(width, height, max_pixels)
        width, height = (width, height) if turn < 5 else (height, width)
        # blocks begin at the first stored pixel, wherever that has come to lie
        offset = [-side % _BLOCK if is_jpeg and turn in turned else 0
                  for side, turned in ((height, ROWS_TURNED), (width, COLUMNS_TURNED))]  # fmt: skip
        return PictureHeader(width, height, (offset[0], offset[1]))


def picture_size(
    source: epath.PathLike | BinaryIO, *, max_pixels: int = MAX_PIXELS
) -> tuple[int, int]:
    """(width, height) of a picture, upright; as `picture_header`."""
    return picture_header(source, max_pixels=max_pixels)[:2]


def decode_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an encoded picture.

    Args:
        data: a whole JPEG, PNG, WebP, TIFF, GIF, BMP, PPM or JPEG 2000 file.
        max_pixels: refuse larger pictures. The header is asked, before any pixel is decoded.

    Returns:
        uint8 [h, w, 3], upright; possibly read-only.

    Raises:
        UnreadableImage: empty, truncated, unknown, too large or broken in any other way.
    """
    with _loaded(data, max_pixels) as (image, turn):
        return np.ascontiguousarray(upright(np.asarray(_flatten(image)), turn))


def decode_square(data: bytes, size: int, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The central square of `decode_rgb`'s picture with its short side scaled to `size`.

    The bytes are those of `center_crop(resize_short_side(decode_rgb(data), size), size)`, but the
    whole picture stays Pillow's. Decoding a JPEG at a half or a quarter of its size would be faster
    and is not done, for it gives other pixels; nor is scaling the square alone (`box` of Pillow's
    resize), whose corners are rounded to float32.

    Args:
        data: as there.
        size: pixels.
        max_pixels: as there.

    Returns:
        uint8 [size, size, 3].

    Raises:
        UnreadableImage: as there.
    """
    with _loaded(data, max_pixels) as (image, turn):
        image = _flatten(image)
        if turn != 1:
            image = Image.fromarray(upright(np.asarray(image), turn))
        new_size = short_side_scaled(*image.size, size)
        scaled = np.asarray(image.resize(new_size, Image.Resampling.BILINEAR))
        # a copy, lest the square keep the whole picture in memory
        return center_crop(scaled, size).copy()


@contextlib.contextmanager
def _loaded(data: bytes, max_pixels: int) -> Iterator[tuple[Image.Image, int]]:
    """A picture loaded by Pillow, and its orientation; whatever fails inside is one line."""
    if not data:
        raise UnreadableImage("the file is empty")
    with refused_in_one_line(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        require_pixels(*image.size, max_pixels)
        # Loading first: EXIF may follow the pixels, and TIFF turns itself upright on loading.
        image.load()
        yield image, _orientation(image)


def _picture(layers: modes.Layers, icc_profile: bytes | None, tags: Image.Exif) -> Picture:
    pixels, alpha = layers
    return Picture(
        np.ascontiguousarray(pixels),
        None if alpha is None else np.ascontiguousarray(alpha),
        modes.fitting_profile(icc_profile, pixels.shape[2]),
        modes.kept_exif(tags),
    )


def _stored_size(file: BinaryIO) -> tuple[tuple[int, int], int, bool]:
    """(width, height) as stored, orientation, and whether it is a JPEG."""
    is_png = file.read(8) == PNG_SIGNATURE
    file.seek(0)
    if is_png:
        header = read_png_header(file)
        return (header.width, header.height), exif_orientation(header.exif), False
    deep = modes.deep_tiff_size(file)
    if deep is not None:
        return *deep, False
    file.seek(0)
    with Image.open(file, formats=_FORMATS) as image:
        # Of a TIFF, some versions of Pillow give the upright size here: the tags are as stored.
        is_tiff = image.format == "TIFF"
        size = (image.tag_v2[_WIDTH_TAG], image.tag_v2[_HEIGHT_TAG]) if is_tiff else image.size
        return size, _orientation(image), image.format in _JPEGS


def _orientation(image: Image.Image) -> int:
    try:
        return valid_orientation(image.getexif().get(ORIENTATION_TAG))
    except Exception:  # broken EXIF is no reason to lose a picture whose pixels are sound
        return 1


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise UnreadableImage("a floating-point picture has no stated range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # 16-bit grey; Pillow's own conversion would clip at 255.
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
