"""Arrays in and out: PNG, JPEG, TIFF and .npy as [h, w, c] of whatever type they hold.

Where a picture is meant for the eye, `reader` reads it. Here pixels are measurements: any number of
channels, the file's own type, no colour management, and what is written reads back the same.

Headers are asked first. A file that claims more than it may is refused before memory is taken.
"""

import functools
import io
import math
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

import imagecodecs
import numpy as np
import tifffile
from etils import epath
from PIL import Image

from i2sb_jax.pictures.header import (
    MAX_PIXELS,
    ORIENTATION_TAG,
    UnreadableImage,
    exif_orientation,
    read_png_header,
    refused_in_one_line,
    require_pixels,
    upright,
    valid_orientation,
)

ARRAY_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")

# A picture of the largest size may hold four channels; a smaller one more.
_VALUES_PER_PIXEL = 4
# Lossless, and tifffile tells their decoders how much may come out. 1: none.
_TIFF_COMPRESSIONS = {1, 5, 8, 32946, 32773, 34925, 50000}
_PAGE_AXES = ("YX", "YXS", "SYX")
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _MASK, _CFA = 0, 1, 2, 4, 32803


class ArrayHeader(NamedTuple):
    """What `decode_array` will return: its height, width, channels and dtype."""

    height: int
    width: int
    channels: int
    dtype: np.dtype


def decode_array(data: bytes, *, suffix: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an array [h, w, c] in the type the file holds.

    PNG: 8 or 16 bits; fewer are spread over 0...255; palettes become RGB; a transparent colour
    becomes an alpha channel. JPEG: 1 or 3 channels; CMYK becomes RGB. TIFF: channels of one page,
    in either order, or several pages of one channel each; 1 bit becomes 0 and 255; white-is-zero is
    turned round. .npy: [h, w] or [h, w, c]. What an orientation tag says is applied.

    Args:
        data: a whole file.
        suffix: one of ARRAY_SUFFIXES, in upper or lower case.
        max_pixels: refuse larger arrays, and ones of more than 4 · max_pixels values.

    Returns:
        [h, w, c] of uint8...64, int8...64 or float16...64, native byte order, contiguous.

    Raises:
        UnreadableImage: broken, truncated, too large, not of that family, axes that have no clear
            meaning, or values that are not finite; in one line.
    """
    return _decode(data, _format(suffix), max_pixels)


def decode_first_page(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """`decode_array` of the first page of a TIFF, whatever follows it."""
    return _decode(data, _FIRST_PAGE, max_pixels)


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


def encode_array(array: np.ndarray, *, suffix: str) -> bytes:
    """Encodes [h, w, c] so that `decode_array` returns the same values in the same type.

    Args:
        array: .png: uint8 or uint16 of 1...4 channels (2 and 4: the last is alpha); .tif and .npy:
            integers or floats of up to 64 bits, any number of channels.
        suffix: .png, .tif, .tiff or .npy.

    Raises:
        ValueError: the format cannot hold that array without loss.
    """
    format_ = _format(suffix)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"an array to write is [h, w, c], not {array.shape}")
    _require_dtype(array.dtype)
    return format_.encode(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


class _Format(NamedTuple):
    header: Callable[[BinaryIO], ArrayHeader]
    decode: Callable[[bytes], np.ndarray]
    encode: Callable[[np.ndarray], bytes]


def _decode(data: bytes, format_: _Format, max_pixels: int) -> np.ndarray:
    if not data:
        raise UnreadableImage("the file is empty")
    with refused_in_one_line():
        header = format_.header(io.BytesIO(data))
        _require_size(header, max_pixels)
        array = format_.decode(data)
        if (*array.shape, array.dtype) != header:
            raise UnreadableImage(f"pixels {array.shape} {array.dtype} differ from the header's")
        if array.dtype.kind == "f" and (lost := array.size - np.isfinite(array).sum()):
            raise UnreadableImage(f"{lost} of its {array.size} values are NaN or infinite")
        return np.ascontiguousarray(array)


def _format(suffix: str) -> _Format:
    if suffix.lower() not in _FORMATS:
        raise ValueError(f"suffix {suffix!r}: an array is one of {' '.join(ARRAY_SUFFIXES)}")
    return _FORMATS[suffix.lower()]


def _require_size(header: ArrayHeader, max_pixels: int) -> None:
    require_pixels(header.width, header.height, max_pixels)
    if math.prod(header[:3]) > _VALUES_PER_PIXEL * max_pixels:
        shape = "x".join(str(side) for side in header[:3])
        raise UnreadableImage(f"{shape} values are more than {_VALUES_PER_PIXEL * max_pixels}")


def _require_dtype(dtype: np.dtype) -> None:
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UnreadableImage(f"pixels of type {dtype}: integers or floats of up to 64 bits are")


# --- PNG ----------------------------------------------------------------------------------------


def _png_header(file: BinaryIO) -> ArrayHeader:
    png = read_png_header(file)
    dtype = np.dtype(np.uint16 if png.depth == 16 else np.uint8)
    return _turned(png.height, png.width, png.channels, dtype, exif_orientation(png.exif))


def _decode_png(data: bytes) -> np.ndarray:
    exif = read_png_header(io.BytesIO(data)).exif
    try:
        array = imagecodecs.png_decode(data)
    except imagecodecs.PngError as error:  # names functions of the library
        raise UnreadableImage(f"a truncated or broken PNG ({error})") from None
    return upright(_with_channels(array), exif_orientation(exif))


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


class _TiffPages(NamedTuple):
    """The pages that make one array, the order of its axes once stacked, and what it becomes."""

    pages: list[tifffile.TiffPage]
    order: tuple[int, int, int]
    header: ArrayHeader
    orientation: int


def _tiff_pages(tiff: tifffile.TiffFile, first_page: bool) -> _TiffPages:
    first = tiff.pages[0]
    # Smaller copies, which cameras and slide scanners add, are told by their flag.
    others = () if first_page else tiff.pages[1:]
    pages = [first, *(page for page in others if not page.is_reduced)]
    for page in pages:
        _require_tiff_page(page)
    if any((page.shape, page.dtype) != (first.shape, first.dtype) for page in pages):
        raise UnreadableImage(f"a TIFF of {len(pages)} pictures of different sizes or types")
    if len(pages) > 1 and first.axes != "YX":
        raise UnreadableImage(
            f"a TIFF of {len(pages)} pages with {first.samplesperpixel} channels each: "
            "one page of many channels, or many pages of one, make a picture"
        )
    stacked = (len(pages), *first.shape) if first.axes == "YX" else first.shape
    if first.axes == "YXS":
        order = (0, 1, 2)
    elif first.axes == "YX" and len(pages) > 4 >= first.shape[1]:
        # [h, w, c] written without saying so: every row became a page, c pixels wide.
        order = (0, 1, 2)
    else:
        order = (1, 2, 0)
    height, width, channels = (stacked[axis] for axis in order)
    dtype = np.dtype(np.uint8) if first.dtype == np.bool_ else first.dtype.newbyteorder("=")
    turn = tiff_orientation(first)
    return _TiffPages(pages, order, _turned(height, width, channels, dtype, turn), turn)


def tiff_orientation(page: tifffile.TiffPage) -> int:
    """The orientation 1...8 that a page's tag states; 1 where it states none."""
    tag = page.tags.get(ORIENTATION_TAG)
    return valid_orientation(tag.value) if tag is not None else 1


def _require_tiff_page(page: tifffile.TiffPage) -> None:
    if page.dtype is None or page.axes not in _PAGE_AXES:
        raise UnreadableImage(f"a TIFF with axes {page.axes} and {page.bitspersample} bits")
    if page.compression not in _TIFF_COMPRESSIONS:
        raise UnreadableImage(
            f"a TIFF compressed by {getattr(page.compression, 'name', page.compression)}: "
            "save it with LZW, deflate, zstd or none"
        )
    if page.photometric not in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _MASK, _CFA):
        raise UnreadableImage(f"a TIFF in {page.photometric.name}: save it as grey or RGB")
    if page.dtype != np.bool_:
        _require_dtype(page.dtype)
    # tifffile would fill in what is not there, and take the memory for it.
    is_short = not page.is_contiguous and len(page.databytecounts) < math.prod(page.chunked)
    if is_short or not all(page.databytecounts):
        raise UnreadableImage("a TIFF with missing pixels")


def _tiff_header(file: BinaryIO, *, first_page: bool = False) -> ArrayHeader:
    with tifffile.TiffFile(file) as tiff:
        return _tiff_pages(tiff, first_page).header


def _decode_tiff(data: bytes, *, first_page: bool = False) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        pages, order, header, orientation = _tiff_pages(tiff, first_page)
        # A strip or tile is decoded whole: it may not be larger than what it is a part of.
        held = max(math.prod(header[:3]), 1 << 20)
        if any(math.prod(page.chunks) > held for page in pages):
            raise UnreadableImage(f"a TIFF in tiles of {pages[0].chunks} for {header[:3]}")
        if pages[0].axes == "YX":
            array = np.stack([page.asarray(maxworkers=1) for page in pages])
        else:
            array = pages[0].asarray(maxworkers=1)
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * 255
        if pages[0].photometric == _MIN_IS_WHITE and array.dtype.kind == "u":
            array = ~array
        return upright(array.transpose(order), orientation)


def _encode_tiff(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    channels = array.shape[2]
    colour = channels == 3 and array.dtype in (np.uint8, np.uint16)
    tifffile.imwrite(
        buffer,
        array if channels > 1 else array[..., 0],
        photometric="rgb" if colour else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        compression="zlib",
        metadata=None,  # else shape and axes are told a second time, in a private way
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
    _require_dtype(dtype)
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
_FIRST_PAGE = _Format(
    functools.partial(_tiff_header, first_page=True),
    functools.partial(_decode_tiff, first_page=True),
    _encode_tiff,
)
_FORMATS = dict(
    zip(
        ARRAY_SUFFIXES,
        (_PNG, _JPEG, _JPEG, _TIFF, _TIFF, _Format(_npy_header, _decode_npy, _encode_npy)),
        strict=True,
    )
)
