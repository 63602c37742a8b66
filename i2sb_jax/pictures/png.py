"""A PNG written part by part, so that memory does not grow with the picture; texts in it.

Every row is filtered as the specification's heuristic says: of its five filters the one whose
bytes, taken as signed, have the least sum (PNG, third edition, section 12.7).
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np

from i2sb_jax.pictures.header import PNG_SIGNATURE

_ROWS = 64  # that are filtered and compressed at once
_LEVEL = 4  # of zlib: above it, photographs take twice the time for one percent
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG's colour type
_HEADER_END = 33  # the signature and the chunk IHDR


def encode_png_rows(
    array: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    chunks: Iterable[tuple[bytes, bytes]] = (),
) -> Iterator[bytes]:
    """Yields the parts of a PNG.

    Args:
        array: uint8 or uint16 [h, w, 1...4], of 2 and 4 channels the last is alpha.
        alpha: [h, w] of the same type, behind the channels of `array`.
        icc_profile: of the pixels' colour space.
        exif: with or without the "Exif" that Pillow starts it with.
        chunks: (kind, contents) of others that stand before the pixels.
    """
    height, width, channels = array.shape
    channels += alpha is not None
    size = array.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, 8 * size, _COLOURS[channels], 0, 0, 0)
    yield PNG_SIGNATURE + _chunk(b"IHDR", header)
    for kind, body in chunks:
        yield _chunk(kind, body)
    if icc_profile:
        yield _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
    if exif:
        yield _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    compressor = zlib.compressobj(_LEVEL, strategy=zlib.Z_FILTERED)
    above = np.zeros((1, width * channels * size), np.uint8)
    for top in range(0, height, _ROWS):
        rows = array[top : top + _ROWS]
        if alpha is not None:
            rows = np.concatenate([rows, alpha[top : top + _ROWS, :, None]], axis=2)
        rows = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder(">"), copy=False))
        rows = np.concatenate([above, rows.reshape(len(rows), -1).view(np.uint8)])
        above = rows[-1:]
        if part := compressor.compress(_filtered(rows, channels * size).tobytes()):
            yield _chunk(b"IDAT", part)
    yield _chunk(b"IDAT", compressor.flush())
    yield _chunk(b"IEND", b"")


def _filtered(rows: np.ndarray, pixel: int) -> np.ndarray:
    """uint8 [n, 1 + bytes]: the filter's number, then its bytes.

    Args:
        rows: uint8 [n + 1, bytes], the row above first.
        pixel: bytes of one.
    """
    above, x = rows[:-1], rows[1:]
    left, corner = np.zeros_like(x), np.zeros_like(x)
    left[:, pixel:], corner[:, pixel:] = x[:, :-pixel], above[:, :-pixel]
    a, b, c = (each.astype(np.int16) for each in (left, above, corner))
    by_left, by_above, by_corner = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    nearest = np.where(by_above <= by_corner, above, corner)
    nearest = np.where((by_left <= by_above) & (by_left <= by_corner), left, nearest)
    filters = [x, x - left, x - above, x - ((a + b) >> 1).astype(np.uint8), x - nearest]
    sums = [np.minimum(each, -each).sum(axis=1, dtype=np.int64) for each in filters]
    best = np.argmin(sums, axis=0)
    out = np.empty((len(x), 1 + x.shape[1]), np.uint8)
    out[:, 0] = best
    for number, each in enumerate(filters):
        chosen = best == number
        out[chosen, 1:] = each[chosen]
    return out


def with_text(parts: Iterable[bytes], keyword: str, text: str) -> Iterator[bytes]:
    """Yields the parts of a PNG with a text in it; the first part holds the header at least.

    Args:
        parts: of the PNG.
        keyword: 1...79 characters of Latin-1.
        text: of Latin-1.
    """
    remaining = iter(parts)
    first = next(remaining)
    yield first[:_HEADER_END]
    yield _chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1"))
    yield first[_HEADER_END:]
    yield from remaining


def read_text(file: BinaryIO, keyword: str) -> str | None:
    """Returns the text of a keyword before a PNG's pixels; None if there is none, or no PNG."""
    if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        return None
    wanted = keyword.encode("latin-1")
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind in (b"IDAT", b"IEND"):
            return None
        if kind == b"tEXt" and length < 1 << 16:
            found, _, text = file.read(length).partition(b"\0")
            if found == wanted:
                return text.decode("latin-1")
            file.seek(4, 1)
        else:
            file.seek(length + 4, 1)
    return None


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
