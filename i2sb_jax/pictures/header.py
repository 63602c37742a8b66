"""Headers, read before a pixel is decoded: sizes, to refuse bombs, and which way is up."""

import contextlib
import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

# The size from which Pillow itself refuses to open a picture; at half of it Pillow warns.
MAX_PIXELS = 178_956_970
ORIENTATION_TAG = 0x0112
# EXIF orientations whose upright rows, or columns, run against the stored ones
ROWS_TURNED, COLUMNS_TURNED = (3, 4, 7, 8), (2, 3, 6, 7)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_METADATA = 1 << 24  # bytes of a profile or of EXIF
# What the numbers of a PNG mean as light, and how fine and how large the picture is.
_KEPT_CHUNKS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"pHYs")
NOT_OF_COLOUR = (b"sBIT", b"pHYs")  # of these, what no other colour space changes
_XMP = b"XML:com.adobe.xmp"
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=[\"']|>)\s*([1-8])\b")
_PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # colour type -> samples; a palette holds colours


class UnreadableImage(ValueError):
    """Bytes that do not hold a picture; the message is one line that says why."""


class PngHeader(NamedTuple):
    """The contents of a PNG's chunks, pixels aside.

    Attributes:
        width, height: as stored, whatever the orientation.
        depth: bits of a sample, 1...16.
        channels: of the pixels once palettes are colours and a transparent colour is an alpha.
        exif: what the chunk eXIf holds, or None.
        icc_profile: what the chunk iCCP holds, decompressed, or None.
        orientation: 1...8, of EXIF, else of XMP.
        chunks: kind -> contents of what tells the meaning of the pixels and their size.
        is_animated: more pictures follow.
        texts: what else is told in words: XMP, or texts.
    """

    width: int
    height: int
    depth: int
    channels: int
    exif: bytes | None
    icc_profile: bytes | None
    orientation: int
    chunks: dict[bytes, bytes]
    is_animated: bool
    texts: tuple[str, ...]


@contextlib.contextmanager
def refused_in_one_line() -> Iterator[None]:
    """Turns whatever a decoder raises inside into UnreadableImage, which says it in one line."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage("no known picture format") from None
    except Exception as error:  # broken bytes make decoders raise nearly anything
        message = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableImage(message) from error


def require_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises UnreadableImage unless there are pixels, and no more than `max_pixels`."""
    if width < 1 or height < 1:
        raise UnreadableImage(f"{width}x{height} pixels are no picture")
    if width * height > max_pixels:
        raise UnreadableImage(
            f"{width}x{height} pixels are more than the {max_pixels} that are allowed"
        )


def read_png_header(file: BinaryIO) -> PngHeader:
    """Walks the chunks of a PNG without reading its pixels; UnreadableImage if that fails."""
    if file.read(8) != PNG_SIGNATURE:
        raise UnreadableImage("not a PNG")
    first, colours, transparent, xmp, kept = None, 0, False, b"", {}
    texts = set()
    while True:
        start = file.read(8)
        if len(start) < 8:
            break  # truncated: the decoder says so, if pixels are missing
        length, kind = struct.unpack(">I4s", start)
        if kind == b"IEND" or (first is None and (kind != b"IHDR" or length != 13)):
            break
        if kind == b"IHDR":
            first = struct.unpack(">IIBBBBB", file.read(13).ljust(13, b"\0"))
        elif kind in (b"eXIf", b"iCCP", b"iTXt", *_KEPT_CHUNKS) and length <= _MOST_METADATA:
            body = file.read(length)
            if kind == b"iTXt":
                found = _xmp(body)
                xmp = xmp or found
                texts.add("XMP" if found else "texts")
            else:
                kept.setdefault(kind, body)
        else:
            if kind in (b"tEXt", b"zTXt"):
                texts.add("texts")
            if kind == b"tRNS" and b"IDAT" not in kept and not transparent:
                transparent = _is_transparency(first[3], length, colours)
            colours = length // 3 if kind == b"PLTE" and not colours else colours
            kept[kind] = b""
            file.seek(length, 1)
        file.seek(4, 1)  # the checksum
    if first is None or first[3] not in _PNG_SAMPLES or first[2] not in (1, 2, 4, 8, 16):
        raise UnreadableImage("a PNG with a broken header")
    width, height, depth, colour = first[:4]
    exif = kept.get(b"eXIf")
    found = _XMP_ORIENTATION.search(xmp)
    turn = exif_orientation(exif)
    return PngHeader(
        width,
        height,
        depth,
        _PNG_SAMPLES[colour] + transparent,
        exif,
        _inflated_profile(kept.get(b"iCCP")),
        int(found[1]) if found and turn == 1 else turn,
        {kind: kept[kind] for kind in _KEPT_CHUNKS if kind in kept},
        b"acTL" in kept,
        tuple(sorted(texts)),
    )


def _is_transparency(colour: int, length: int, palette: int) -> bool:
    """Whether a chunk tRNS is one that decoders use; beside an alpha, say, it means nothing."""
    return {0: length == 2, 2: length == 6, 3: 0 < length <= palette}.get(colour, False)


def _xmp(text: bytes) -> bytes:
    """The XMP in a chunk iTXt; empty if it is another text."""
    keyword, _, rest = text.partition(b"\0")
    if keyword != _XMP or len(rest) < 2:
        return b""
    parts = rest[2:].split(b"\0", 2)  # language, translated keyword, text
    if len(parts) < 3:
        return b""
    if not rest[0]:
        return parts[2]
    try:
        return zlib.decompressobj().decompress(parts[2], _MOST_METADATA)
    except zlib.error:
        return b""


def exif_orientation(exif: bytes | None) -> int:
    """The orientation 1...8 that a block of EXIF states; 1 where it states none."""
    if not exif:
        return 1
    try:
        tags = Image.Exif()
        tags.load(exif)
        return valid_orientation(tags.get(ORIENTATION_TAG))
    except Exception:  # broken EXIF is no reason to lose a picture whose pixels are sound
        return 1


def valid_orientation(value: object) -> int:
    """An orientation as found in a tag; 1, which is upright, where it is no number from 1 to 8."""
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of a picture that Pillow has opened, 1...8."""
    try:
        return valid_orientation(image.getexif().get(ORIENTATION_TAG))
    except Exception:  # broken EXIF is no reason to lose a picture whose pixels are sound
        return 1


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """A view of `array` [h, w, ...], stored with an EXIF orientation 1...8, turned upright."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation in ROWS_TURNED else 1)
    columns = slice(None, None, -1 if orientation in COLUMNS_TURNED else 1)
    return array[rows, columns]


def _inflated_profile(chunk: bytes | None) -> bytes | None:
    """The profile in a chunk iCCP: a name, 0, 0 and zlib; None if it is broken or endless."""
    if chunk is None:
        return None
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(chunk.partition(b"\0")[2][1:], _MOST_METADATA)
    except zlib.error:  # the pixels are sound without it
        return None
    return profile if inflate.eof else None
