"""How a JPEG was made, from its header: quality, chroma subsampling, quantisation tables.

The Independent JPEG Group's encoder, and so nearly all others, scales the tables of ITU-T T.81
Annex K by a quality q in 1...100, in whole numbers:

    scale = 5000 // q  if q < 50 else  200 - 2 q
    table = clip((scale · annex_k + 50) // 100, 1, 255)                                     (1)

Every q gives another luma table, so q can be read back exactly. Encoders with tables of their own
(cameras, photo editors) are told by `is_standard`; theirs is the quality that comes closest.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from i2sb_jax.jpeg_tables import (
    CHROMINANCE_TABLE,
    LUMINANCE_TABLE,
    standard_table,
)
from i2sb_jax.pictures.header import UnreadableImage

_SUBSAMPLING = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (4, 1): "4:1:1",
    (1, 2): "4:4:0",
}
_BASELINE_LIMIT, _EXTENDED_LIMIT = 255, 32767
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TABLES, _START_OF_SCAN, _END, _ADOBE = 0xDB, 0xDA, 0xD9, 0xEE
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


class JpegInfo(NamedTuple):
    """How a JPEG was made.

    Attributes:
        quality: 1...100; of the tables (1) that are nearest if `is_standard` is False.
        is_standard: the tables are exactly those of `quality`.
        subsampling: 4:4:4, 4:2:2, 4:2:0, 4:1:1 or 4:4:0; 4:0:0 for grey; else the sampling
            factors of each component, such as 2x2,1x2,1x1.
        luma_table: [8, 8] integers, by [vertical, horizontal] frequency.
        chroma_table: the same; None for grey and for RGB, which has no chroma.
    """

    quality: int
    is_standard: bool
    subsampling: str
    luma_table: np.ndarray
    chroma_table: np.ndarray | None


def read_jpeg_info(source: bytes | BinaryIO) -> JpegInfo:
    """Reads a JPEG's header up to its first scan.

    Args:
        source: the bytes of a file, or a file at its start.

    Raises:
        UnreadableImage: not a JPEG, truncated, or without tables; in one line.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    tables, components, is_rgb = {}, [], False
    try:
        for marker, body in _segments(file):
            if marker == _TABLES:
                tables.update(_read_tables(body))
            elif marker in _START_OF_FRAME:
                components = [struct.unpack_from("BBB", body, 6 + 3 * i) for i in range(body[5])]
            elif marker == _ADOBE and body[:5] == b"Adobe":
                is_rgb = body[11] == 0
        used = [tables[table] for _, _, table in components]
    except UnreadableImage:
        raise
    except (struct.error, IndexError, KeyError, ValueError):
        raise UnreadableImage("a JPEG with a broken header") from None
    if not used:
        raise UnreadableImage("a JPEG with a broken header")
    names = bytes(name for name, _, _ in components)
    alike = len(used) == 1 or is_rgb or names == b"RGB"
    luma, chroma = used[0], None if alike else used[1]
    quality, is_standard = _quality(luma, chroma)
    factors = [(factor >> 4, factor & 15) for _, factor, _ in components]
    return JpegInfo(quality, is_standard, _subsampling(factors), luma, chroma)


def _segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of what precedes the first scan."""
    if file.read(2) != b"\xff\xd8":
        raise UnreadableImage("not a JPEG")
    while True:
        if file.read(1) != b"\xff":
            raise ValueError("no marker where one must be")
        marker = 0xFF
        while marker == 0xFF:  # any number of fill bytes
            (marker,) = file.read(1)
        if marker in (_START_OF_SCAN, _END):
            return
        if marker in _WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        body = file.read(length - 2) if length >= 2 else b""
        if length < 2 or len(body) < length - 2:
            raise ValueError("a segment without an end")
        yield marker, body


def _read_tables(body: bytes) -> Iterator[tuple[int, np.ndarray]]:
    """(number, [8, 8]) of the tables in one segment: bytes or words, along diagonals."""
    start = 0
    while start < len(body):
        is_wide, number = body[start] >> 4, body[start] & 15
        dtype = np.dtype(">u2" if is_wide else "u1")
        table = np.empty(64, np.int64)
        table[_DIAGONALS] = np.frombuffer(body, dtype, 64, start + 1)
        yield number, table.reshape(8, 8)
        start += 1 + 64 * dtype.itemsize


def _diagonals() -> np.ndarray:
    """[64]: where the i-th value along the zigzag of T.81 lies in a raveled [8, 8]."""
    places = [(row, column) for row in range(8) for column in range(8)]
    places.sort(key=lambda p: (sum(p), p[1] if sum(p) % 2 == 0 else p[0]))
    return np.array([8 * row + column for row, column in places])


_DIAGONALS = _diagonals()


def _quality(luma: np.ndarray, chroma: np.ndarray | None) -> tuple[int, bool]:
    """(quality, whether its tables are these exactly)."""
    found = luma[None] if chroma is None else np.stack([luma, chroma])
    annex_k = np.stack([LUMINANCE_TABLE, CHROMINANCE_TABLE])[: len(found)]
    for quality in range(1, 101):
        for limit in (_BASELINE_LIMIT, _EXTENDED_LIMIT):
            if np.array_equal(standard_table(annex_k, quality, limit=limit), found):
                return quality, True
    # By ratios, so that fine and coarse steps weigh the same.
    logs = np.log(np.maximum(found, 1))
    distances = [np.abs(logs - np.log(standard_table(annex_k, q))).sum() for q in range(1, 101)]
    return int(np.argmin(distances)) + 1, False


def _subsampling(factors: list[tuple[int, int]]) -> str:
    """Names (horizontal, vertical) sampling factors of each component."""
    if len(factors) == 1:
        return "4:0:0"
    (wide, high), *others = factors
    # A fourth component, black, is sampled as the first.
    if len(set(others[:2])) == 1 and others[2:] in ([], [factors[0]]):
        across, down = others[0]
        if across and down and not wide % across and not high % down:
            name = _SUBSAMPLING.get((wide // across, high // down))
            if name:
                return name
    return ",".join(f"{wide}x{high}" for wide, high in factors)
