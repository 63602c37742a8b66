"""Arrays in and out: PNG, JPEG, TIFF and .npy as [h, w, c] of whatever type they hold.

Where a picture is meant for the eye, `reader` reads it. Here pixels are measurements: any number of
channels, the file's own type, no colour management, and what is written reads back the same.

Headers are asked first. A file that claims more than it may is refused before memory is taken.
"""

import io
import math
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from etils import epath
from PIL import Image

from i2sb_jax.pictures.georeference import Place
from i2sb_jax.pictures.header import (
    MAX_PIXELS,
    UnreadableImage,
    exif_orientation,
    read_png_header,
    refused_in_one_line,
    upright,
)
from i2sb_jax.pictures.tiff import array_of, array_pages, require_dtype, require_values

ARRAY_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")


NOWHERE = Place()


class ArrayHeader(NamedTuple):
    """The height, width, channels and dtype of `decode_array`'s result."""

    height: int
    width: int
    channels: int
    dtype: np.dtype


def decode_array(
    data: bytes, *, suffix: str, max_pixels: int = MAX_PIXELS, finite: bool = True
) -> np.ndarray:
    """Decodes an array [h, w, c] in the type the file holds.

    PNG: 8 or 16 bits; fewer are spread over 0...255; palettes become RGB; a transparent colour
    becomes an alpha channel. JPEG: 1 or 3 channels; CMYK becomes RGB. TIFF: channels of one page,
    in either order, or several pages of one channel each; 1 bit becomes 0 and 255; white-is-zero is
    turned round. .npy: [h, w] or [h, w, c]. What an orientation tag says is applied.

    Args:
        data: a whole file.
        suffix: one of ARRAY_SUFFIXES, in upper or lower case.
        max_pixels: refuse larger arrays, and ones of more than 4 · max_pixels values.
        finite: whether NaN and infinity are refused.

    Returns:
        [h, w, c] of uint8...64, int8...64 or float16...64, native byte order, contiguous.

    Raises:
        UnreadableImage: broken, truncated, too large, not of that family, axes that have no clear
            meaning, or values that are not finite; in one line.
    """
    return _decode(data, _format(suffix), max_pixels, finite=finite)


def array_header(source: bytes | epath.PathLike, *, suffix: str = "") -> ArrayHeader:
    """Shape and type of an array, without decoding it.

    Args:
        source: the bytes of a file, or a path, local or gs://, of which little more than the header
            is read.
        suffix: as in `decode_array`; not needed with a path.

    Raises:
        UnreadableImage: as `decode_array` does, but for what only the pixels show.
    """
    if isinstance(source, bytes):
        format_ = _format(suffix)
        with refused_in_one_line():
            return format_.header(io.BytesIO(source))
    path = epath.Path(source)
    format_ = _format(suffix or path.suffix)
    with path.open("rb") as file, refused_in_one_line():
        return format_.header(file)


def encode_array(array: np.ndarray, *, suffix: str, place: Place = NOWHERE) -> bytes:
    """Encodes [h, w, c] so that `decode_array` returns the same values in the same type.

    Args:
        array: .png: uint8 or uint16 of 1...4 channels (2 and 4: the last is alpha); .tif and .npy:
            integers or floats of up to 64 bits, any number of channels.
        suffix: .png, .tif, .tiff or .npy.
        place: of the pixels; a TIFF alone can keep it.

    Raises:
        ValueError: the format cannot hold that array without loss.
    """
    format_ = _format(suffix)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"an array to write is [h, w, c], not {array.shape}")
    require_dtype(array.dtype)
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
    return _encode_tiff(native, place) if format_ is _TIFF else format_.encode(native)


class _Format(NamedTuple):
    header: Callable[[BinaryIO], ArrayHeader]
    decode: Callable[[bytes], np.ndarray]
    encode: Callable[[np.ndarray], bytes]


def _decode(data: bytes, format_: _Format, max_pixels: int, *, finite: bool = True) -> np.ndarray:
    if not data:
        raise UnreadableImage("the file is empty")
    with refused_in_one_line():
        header = format_.header(io.BytesIO(data))
        require_values(header[:3], max_pixels)
        array = format_.decode(data)
        if (*array.shape, array.dtype) != header:
            raise UnreadableImage(f"pixels {array.shape} {array.dtype} differ from the header's")
        if finite and array.dtype.kind == "f" and (lost := array.size - np.isfinite(array).sum()):
            raise UnreadableImage(f"{lost} of its {array.size} values are NaN or infinite")
        return np.ascontiguousarray(array)


def _format(suffix: str) -> _Format:
    if suffix.lower() not in _FORMATS:
        raise ValueError(f"suffix {suffix!r}: an array is one of {' '.join(ARRAY_SUFFIXES)}")
    return _FORMATS[suffix.lower()]


# --- PNG ----------------------------------------------------------------------------------------


def _png_header(file: BinaryIO) -> ArrayHeader:
    png = read_png_header(file)
    dtype = np.dtype(np.uint16 if png.depth == 16 else np.uint8)
    return _turned(png.height, png.width, png.channels, dtype, png.orientation)


def _decode_png(data: bytes) -> np.ndarray:
    orientation = read_png_header(io.BytesIO(data)).orientation
    try:
        array = imagecodecs.png_decode(data)
    except imagecodecs.PngError as error:  # names functions of the library
        raise UnreadableImage(f"a truncated or broken PNG ({error})") from None
    return upright(_with_channels(array), orientation)


def _encode_png(array: np.ndarray) -> bytes:
    if array.dtype not in (np.uint8, np.uint16) or array.shape[2] > 4:
        raise ValueError(
            f"a PNG holds uint8 or uint16 in 1 to 4 channels, not {array.dtype} in "
            f"{array.shape[2]}: write .tif or .npy"
        )
    return imagecodecs.png_encode(array if array.shape[2] > 1 else array[..., 0])


# --- JPEG ---------------------------------------------------------------------------------------


def _header_of_jpeg(file: BinaryIO) -> ArrayHeader:
    with Image.open(file, formats=("JPEG",)) as image:
        channels = 1 if image.mode == "L" else 3
        width, height = image.size
        turn = exif_orientation(image.info.get("exif"))
        return _turned(height, width, channels, np.dtype(np.uint8), turn)


def _decode_jpeg(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        pixels = np.asarray(image.convert("L" if image.mode == "L" else "RGB"))
        return upright(_with_channels(pixels), exif_orientation(image.info.get("exif")))


def _encode_jpeg(array: np.ndarray) -> bytes:
    raise ValueError("a JPEG loses what is written to it: write .png, .tif or .npy")


# --- TIFF ---------------------------------------------------------------------------------------


def _tiff_header(file: BinaryIO) -> ArrayHeader:
    with tifffile.TiffFile(file) as tiff:
        chosen = array_pages(tiff)
        return ArrayHeader(*chosen.shape, chosen.dtype)


def _decode_tiff(data: bytes) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        return array_of(array_pages(tiff))


def _encode_tiff(array: np.ndarray, place: Place = NOWHERE) -> bytes:
    buffer = io.BytesIO()
    channels = array.shape[2]
    colour = channels == 3 and array.dtype in (np.uint8, np.uint16)
    tifffile.imwrite(
        buffer,
        array if channels > 1 else array[..., 0],
        photometric="rgb" if colour else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        compression="zlib",
        **place.written(array.shape, array.dtype),  # no shape and axes in a private way
    )
    return buffer.getvalue()


# --- .npy ---------------------------------------------------------------------------------------


def _npy_header(file: BinaryIO) -> ArrayHeader:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise UnreadableImage(f"an .npy of version {version}")
    shape, _, dtype = readers[version](file)
    require_dtype(dtype)
    if len(shape) not in (2, 3):
        raise UnreadableImage(f"an .npy of shape {shape}: [h, w] or [h, w, c] is a picture")
    header = ArrayHeader(*(*shape, 1)[:3], dtype.newbyteorder("="))
    if header.height <= 4 and min(header.width, header.channels) > 16:
        raise UnreadableImage(f"an .npy of shape {shape}: channels come last, [h, w, c]")
    start = file.tell()
    held, needed = file.seek(0, 2) - start, math.prod(shape) * dtype.itemsize
    if held < needed:
        raise UnreadableImage(f"truncated: {held} of {needed} bytes of pixels")
    return header


def _decode_npy(data: bytes) -> np.ndarray:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    return _with_channels(array.astype(array.dtype.newbyteorder("="), copy=False))


def _encode_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _turned(height: int, width: int, channels: int, dtype: np.dtype, turn: int) -> ArrayHeader:
    """A header as it is once the pixels are upright."""
    sides = (height, width) if turn < 5 else (width, height)
    return ArrayHeader(*sides, channels, dtype)


def _with_channels(array: np.ndarray) -> np.ndarray:
    return array if array.ndim == 3 else array[..., None]


_PNG = _Format(_png_header, _decode_png, _encode_png)
_JPEG = _Format(_header_of_jpeg, _decode_jpeg, _encode_jpeg)
_TIFF = _Format(_tiff_header, _decode_tiff, _encode_tiff)
_FORMATS = dict(
    zip(
        ARRAY_SUFFIXES,
        (_PNG, _JPEG, _JPEG, _TIFF, _TIFF, _Format(_npy_header, _decode_npy, _encode_npy)),
        strict=True,
    )
)
