"""Pages of a TIFF: which of them are the picture, what their samples mean, and their pixels."""

import io
import math
import re
from typing import BinaryIO, NamedTuple

import numpy as np
import tifffile

from i2sb_jax.pictures.header import (
    ORIENTATION_TAG,
    UnreadableImage,
    require_pixels,
    upright,
    valid_orientation,
)

TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Lossless, and tifffile tells their decoders how much may come out. 1: none.
_COMPRESSIONS = {1, 5, 8, 32946, 32773, 34925, 50000}
# JPEG 2000, LERC, WebP and JPEG XL, which Pillow's libtiff does not know
UNREAD_COMPRESSIONS = {33003, 33004, 33005, 34712, 34887, 50001, 50002, 52546}
_PAGE_AXES = ("YX", "YXS", "SYX")
_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _MASK, _CFA = 0, 1, 2, 4, 32803
_PREMULTIPLIED, _STRAIGHT = 1, 2  # ExtraSamples; any other sample is no alpha
_TEXTS = {700: "XMP", 33723: "IPTC"}
_RED_GREEN_BLUE = (0, 1, 2)
# OME's colours of a channel, RGBA as a signed number; white says nothing
_OME_COLOURS = {-16776961: 0, 16711935: 1, 65535: 2}
_OME_WHITE = -1


class Layers(NamedTuple):
    """Colours uint8 or uint16 [h, w, 1 or 3], and alpha [h, w] of the same type or None."""

    pixels: np.ndarray
    alpha: np.ndarray | None


class TiffPages(NamedTuple):
    """The pages that make one array, the order of its axes once stacked, and its shape."""

    pages: list[tifffile.TiffPage]
    order: tuple[int, int, int]
    shape: tuple[int, int, int]
    dtype: np.dtype
    orientation: int


class TiffPicture(NamedTuple):
    """The facts that a TIFF holds about its picture.

    Attributes:
        width, height: as stored.
        orientation: 1...8.
        page: which of the pages it is; the first that is no reduced copy of another.
        place: where that page's tags begin.
        pages: how many there are, reduced copies aside.
        is_plain: grey or RGB of up to 16 bits, which `tiff_layers` reads; the rest is Pillow's.
        dropped: number of channels that are neither colour nor alpha.
        composite: of ImageJ's and OME's pictures of three pages, a channel each, the planes that
            are red, green and blue; None of others.
        texts: XMP and IPTC, where it has them.
    """

    width: int
    height: int
    orientation: int
    page: int
    place: int
    pages: int
    is_plain: bool
    dropped: int
    composite: tuple[int, ...] | None
    texts: tuple[str, ...]


def tiff_picture(file: BinaryIO) -> TiffPicture | None:
    """Looks at the pages of a TIFF; None where tifffile cannot, so that Pillow says what is wrong.

    Raises:
        UnreadableImage: its channels are no colours; in one line.
    """
    try:
        with tifffile.TiffFile(file) as tiff:
            numbers = [i for i, page in enumerate(tiff.pages) if not page.is_reduced] or [0]
            page = tiff.pages[numbers[0]].aspage()
            stack = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
            pages = max(len(numbers), int(stack.get("images", 1)))
            if page.compression in UNREAD_COMPRESSIONS:
                raise _refused_compression(page)
            is_plain, colours = _is_plain(page), None
            composite = _composite(tiff, page) if is_plain else None
            if is_plain:
                colours = _colours(page)
            return TiffPicture(
                page.imagewidth,
                page.imagelength,
                orientation_of(page),
                numbers[0],
                page.offset,
                pages,
                is_plain,
                0 if colours is None else page.samplesperpixel - colours[0] - colours[1],
                composite,
                tuple(name for tag, name in _TEXTS.items() if tag in page.tags),
            )
    except UnreadableImage:
        raise
    except Exception:  # no TIFF, or Pillow will say what is wrong with it
        return None


def tiff_layers(data: bytes, found: TiffPicture, *, max_pixels: int) -> Layers:
    """Layers, upright, of the picture that `tiff_picture` found plain, of the full range of 8 or 16
    bits; white-is-zero is turned round and premultiplied alpha divided out.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages[found.page].aspage()
        if found.composite is not None:
            require_values((page.imagelength, page.imagewidth, 3), max_pixels)
            planes = _planes(tiff, data)[..., found.composite]
            return Layers(full_range(planes, page.bitspersample), None)
        chosen = _stacked([page])
        require_values(chosen.shape, max_pixels)
        array = full_range(_pixels(chosen), page.bitspersample)
        colours, has_alpha = _colours(page)
        pixels = array[..., :colours]
        if not has_alpha:
            return Layers(pixels, None)
        alpha = array[..., colours]
        if page.extrasamples and page.extrasamples[0] == _PREMULTIPLIED:
            most = np.iinfo(array.dtype).max
            opacity = np.maximum(alpha, 1)[..., None] / most
            pixels = np.rint(np.minimum(pixels / opacity, most)).astype(array.dtype)
        return Layers(pixels, alpha)


def array_pages(tiff: tifffile.TiffFile) -> TiffPages:
    """The pages that make an array: channels of one, or several of one channel each."""
    # Smaller copies, which cameras and slide scanners add, are told by their flag.
    pages = [page.aspage() for page in tiff.pages if not page.is_reduced]
    pages = pages or [tiff.pages[0].aspage()]
    if tiff.is_imagej and len(pages) == 1:
        count = int((tiff.imagej_metadata or {}).get("images", 1))
        if count > 1:
            raise UnreadableImage(
                f"an ImageJ stack of {count} pictures with one page: save every picture as a page"
            )
    return _stacked(pages)


def array_of(chosen: TiffPages) -> np.ndarray:
    """The pixels [h, w, c] of pages, upright."""
    return _pixels(chosen)


def require_values(shape: tuple[int, int, int], max_pixels: int, *, per_pixel: int = 4) -> None:
    """Raises UnreadableImage where an array is larger than a picture of the largest size.

    That may hold four channels; a smaller one more.
    """
    require_pixels(shape[1], shape[0], max_pixels)
    if math.prod(shape) > per_pixel * max_pixels:
        told = "x".join(str(side) for side in shape)
        raise UnreadableImage(f"{told} values are more than {per_pixel * max_pixels}")


def require_dtype(dtype: np.dtype) -> None:
    """Raises UnreadableImage for other numbers than integers and floats of up to 64 bits."""
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UnreadableImage(f"pixels of type {dtype}: integers or floats of up to 64 bits are")


def orientation_of(page: tifffile.TiffPage) -> int:
    """The orientation 1...8 that a page's tag states; 1 where it states none."""
    tag = page.tags.get(ORIENTATION_TAG)
    return valid_orientation(tag.value) if tag is not None else 1


def _composite(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[int, ...] | None:
    """The planes that are red, green and blue where three channels make one picture, else None."""
    if page.axes != "YX" or page.photometric != _MIN_IS_BLACK or page.dtype.kind != "u":
        return None
    if tiff.is_imagej:
        stack = tiff.imagej_metadata or {}
        count = [int(stack.get(axis, 1)) for axis in ("images", "channels", "slices", "frames")]
        if count != [3, 3, 1, 1] or stack.get("mode") != "composite":
            return None
        return _order([_colour_of_table(table) for table in stack.get("LUTs", ())])
    if tiff.is_ome and len(tiff.pages) == 3:
        text = tiff.ome_metadata or ""
        sizes = [re.findall(rf'\bSize{axis}="(\d+)"', text) for axis in "CZT"]
        if sizes != [["3"], ["1"], ["1"]]:  # of one picture
            return None
        told = [
            int(found) for found in re.findall(r'<(?:\w+:)?Channel\b[^>]*\bColor="(-?\d+)"', text)
        ]
        return _order([_OME_COLOURS.get(colour) for colour in told if colour != _OME_WHITE])
    return None


def _order(colours: list[int | None]) -> tuple[int, ...] | None:
    """The planes in the order red, green, blue; as they come where nothing tells their colours."""
    if not colours:
        return _RED_GREEN_BLUE
    if sorted(colours, key=str) != list(_RED_GREEN_BLUE):
        return None
    return tuple(colours.index(colour) for colour in _RED_GREEN_BLUE)


def _colour_of_table(table: np.ndarray) -> int | None:
    """0, 1 or 2 of a table [3, 256] of ImageJ that shows a channel in red, green or blue alone."""
    is_used = np.asarray(table).any(axis=1)
    return int(np.argmax(is_used)) if is_used.sum() == 1 else None


def _planes(tiff: tifffile.TiffFile, data: bytes) -> np.ndarray:
    """A composite's channels [h, w, 3], upright."""
    if tiff.is_ome:  # its pages may lie in any order
        pages = [page.aspage() for page in tiff.series[0].pages]
        return _pixels(_stacked(pages))
    pages = [page.aspage() for page in tiff.pages]
    if len(pages) == 3:
        return _pixels(_stacked(pages))
    (page,) = pages  # ImageJ tells of the others in words: they lie behind it
    if not page.is_contiguous:
        raise UnreadableImage("an ImageJ stack with one page and packed pixels")
    shape = 3, page.imagelength, page.imagewidth
    start, kept = page.dataoffsets[0], page.dtype.newbyteorder(tiff.byteorder)
    if len(data) < start + math.prod(shape) * kept.itemsize:
        raise UnreadableImage("a TIFF with missing pixels")
    planes = np.frombuffer(data, kept, math.prod(shape), start).reshape(shape)
    return upright(np.moveaxis(planes.astype(page.dtype), 0, -1), orientation_of(page))


def _is_plain(page: tifffile.TiffPage) -> bool:
    if page.photometric not in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB) or page.dtype is None:
        return False
    if page.dtype == np.uint16:
        return True
    # of what loses pixels, or is coded as a fax, Pillow knows more kinds
    return page.dtype in (np.uint8, np.bool_) and page.compression in _COMPRESSIONS


def _colours(page: tifffile.TiffPage) -> tuple[int, bool]:
    """How many samples are colours, 1 or 3, and whether the next is an alpha.

    Writers that do not know the colours' order, GDAL among them, call three bands black-is-zero.
    """
    samples, extra = page.samplesperpixel, tuple(page.extrasamples)
    if page.photometric == _RGB:
        if samples < 3:
            raise UnreadableImage(f"a TIFF in RGB with {samples} channels")
        # four samples without a word on the last: what all readers take for an alpha
        return 3, samples > 3 and (not extra or extra[0] in (_PREMULTIPLIED, _STRAIGHT))
    is_alpha = [kind in (_PREMULTIPLIED, _STRAIGHT) for kind in extra]
    if samples == 1:
        return 1, False
    if samples == 2 and is_alpha[-1:] == [True]:
        return 1, True
    if samples == 3 and not any(is_alpha):
        return 3, False
    if samples == 4 and is_alpha[-1:] == [True] and not any(is_alpha[:-1]):
        return 3, True
    raise UnreadableImage(
        f"a TIFF of {samples} bands, and nothing tells which of them are red, green and blue: save "
        'those three as RGB, or train and restore on all of them as pairs (data.source="pairs")'
    )


def full_range(array: np.ndarray, bits: int) -> np.ndarray:
    """Samples of fewer bits than their type's, spread over its range."""
    most, held = np.iinfo(array.dtype).max, 2**bits - 1
    if bits == 1 or held >= most:
        return array
    return ((array.astype(np.uint32) * most + held // 2) // held).astype(array.dtype)


def _stacked(pages: list[tifffile.TiffPage]) -> TiffPages:
    first = pages[0]
    for page in pages:
        _require_page(page)
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
    turn = orientation_of(first)
    sides = (height, width) if turn < 5 else (width, height)
    return TiffPages(pages, order, (*sides, channels), dtype, turn)


def _require_page(page: tifffile.TiffPage) -> None:
    if page.dtype is None or page.axes not in _PAGE_AXES:
        raise UnreadableImage(f"a TIFF with axes {page.axes} and {page.bitspersample} bits")
    if page.compression not in _COMPRESSIONS:
        raise _refused_compression(page)
    if page.photometric not in (_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _MASK, _CFA):
        raise UnreadableImage(f"a TIFF in {page.photometric.name}: save it as grey or RGB")
    if page.dtype != np.bool_:
        require_dtype(page.dtype)
    # tifffile would fill in what is not there, and take the memory for it.
    is_short = not page.is_contiguous and len(page.databytecounts) < math.prod(page.chunked)
    if is_short or not all(page.databytecounts):
        raise UnreadableImage("a TIFF with missing pixels")


def _refused_compression(page: tifffile.TiffPage) -> UnreadableImage:
    return UnreadableImage(
        f"a TIFF compressed by {getattr(page.compression, 'name', page.compression)}: "
        "save it with LZW, deflate, zstd or none"
    )


def _pixels(chosen: TiffPages) -> np.ndarray:
    pages, first = chosen.pages, chosen.pages[0]
    # A strip or tile is decoded whole: it may not be larger than what it is a part of.
    held = max(math.prod(chosen.shape), 1 << 20)
    if any(math.prod(page.chunks) > held for page in pages):
        raise UnreadableImage(f"a TIFF in tiles of {first.chunks} for {chosen.shape}")
    if first.axes == "YX":
        array = np.stack([page.asarray(maxworkers=1) for page in pages])
    else:
        array = first.asarray(maxworkers=1)
    if first.photometric == _MIN_IS_WHITE and array.dtype.kind in "bu":
        has_alpha = first.extrasamples[-1:] in ((_PREMULTIPLIED,), (_STRAIGHT,))
        # an alpha is no shade of grey; every other sample is turned round
        samples = np.moveaxis(array, 0 if first.axes == "SYX" else -1, 0)
        shades = samples[:-1] if has_alpha else samples
        shades[...] = ~shades if array.dtype == np.bool_ else _most(first) - shades
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    return upright(array.transpose(chosen.order), chosen.orientation)


def _most(page: tifffile.TiffPage) -> int:
    """The largest value of a sample."""
    return 2**page.bitspersample - 1 if page.bitspersample < 64 else np.iinfo(page.dtype).max
