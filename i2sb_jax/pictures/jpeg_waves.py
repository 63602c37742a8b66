"""The whole numbers in a JPEG file: what its encoder rounded the cosines of each block to.

Decoders give pixels, clipped and rounded, from which fine steps cannot be read back. So the file's
Huffman codes (ITU-T T.81, Annexes C, F and G; sequential and progressive, 8 bits) are read here, by
plain Python at about a million codes a second: a photograph of a megapixel takes half a second at
quality 75.
"""

import io
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from i2sb_jax.pictures.header import (
    COLUMNS_TURNED,
    ROWS_TURNED,
    UnreadableImage,
    orientation_of,
    refused_in_one_line,
)

_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_OTHER_FRAMES = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_HUFFMAN, _END, _SCAN, _TABLES, _INTERVAL = 0xC4, 0xD9, 0xDA, 0xDB, 0xDD
_RESTARTS = range(0xD0, 0xD8)
_ALONE = (0x01, 0xD8, *_RESTARTS)  # markers without contents
_PADDING = bytes(16)  # behind a segment, for looking ahead

# place in a block, row by row, of the k-th number in a file
_ZIGZAG = tuple(
    8 * row + column
    for row, column in sorted(
        ((row, column) for row in range(8) for column in range(8)),
        key=lambda at: (sum(at), at[0] if sum(at) % 2 else at[1]),
    )
)


class Component(NamedTuple):
    """A plane of a JPEG file: luma, or one of two chromas.

    Attributes:
        waves: whole numbers int32 [rows, columns, 8, 8], by [vertical, horizontal] frequency;
            times `table` they are cosines, in 8-bit levels, of an orthonormal DCT.
        table: steps, int32 [8, 8].
        down: rows of the picture that share one of the plane.
        across: the same of columns.
    """

    waves: np.ndarray
    table: np.ndarray
    down: int
    across: int


class JpegWaves(NamedTuple):
    """The planes of a JPEG file, upright as its picture is.

    Attributes:
        height, width: of the picture.
        components: luma, or luma and two chromas.
        lead: for each, rows and columns of the picture's pixels by which its blocks begin above and
            left of the picture, where it was turned.
    """

    height: int
    width: int
    components: tuple[Component, ...]
    lead: tuple[tuple[int, int], ...]


def read_jpeg_waves(data: bytes) -> JpegWaves:
    """Reads the whole numbers of a JPEG file.

    Args:
        data: the file.

    Raises:
        UnreadableImage: no JPEG, a broken one, or of a kind that is not read: RGB, CMYK, arithmetic
            codes, lossless, 12 bits; one line.
    """
    if data[:2] != b"\xff\xd8":
        raise UnreadableImage("not a JPEG")
    with refused_in_one_line():
        reader = _Reader()
        for marker, body, codes in _segments(data):
            reader.take(marker, body, codes)
        with Image.open(io.BytesIO(data), formats=("JPEG", "MPO")) as image:
            turn, is_rgb = orientation_of(image), image.info.get("adobe_transform") == 0
        planes = reader.planes
        if is_rgb or bytes(plane.name for plane in planes) == b"RGB" or len(planes) not in (1, 3):
            raise UnreadableImage("a JPEG of RGB or CMYK, which has no luma and chroma")
        return _upright(reader, turn)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """(marker, contents, codes that follow a scan's header, one string between restarts)."""
    at = 2
    while (found := _MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker == _END:
            return
        if marker in _ALONE:
            continue
        size = int.from_bytes(data[at : at + 2], "big")
        body, at = data[at + 2 : at + size], at + size
        if len(body) != size - 2:
            break
        codes = []
        if marker == _SCAN:
            begin = at
            while (end := _MARKER.search(data, at)) is not None:
                codes.append(data[begin : end.start()].replace(b"\xff\x00", b"\xff"))
                at = begin = end.end()
                if end[1][0] not in _RESTARTS:
                    at = end.start()
                    break
            else:
                break
        yield marker, body, codes
    raise UnreadableImage("a truncated JPEG")


class _Plane:
    """A component while it is read: `numbers` has 64 a block, row by row."""

    def __init__(self, name: int, across: int, down: int, table: int):
        self.name, self.across, self.down, self.table = name, across, down, table
        self.rows = self.columns = 0
        self.used_rows = self.used_columns = 0
        self.numbers = array("h")

    def lay(self, size: tuple[int, int], most: tuple[int, int]) -> None:
        """Makes room for the blocks of a picture of so many rows and columns."""
        units = [math.ceil(n / (8 * factor)) for n, factor in zip(size, most, strict=True)]
        self.rows, self.columns = units[0] * self.down, units[1] * self.across
        # a scan of this plane alone leaves out the blocks that only fill a unit
        self.used_rows, self.used_columns = (
            math.ceil(math.ceil(n * mine / factor) / 8)
            for n, mine, factor in zip(size, (self.down, self.across), most, strict=True)
        )
        self.numbers = array("h", bytes(2 * 64 * self.rows * self.columns))


class _Reader:
    """A file while it is read: what its segments have said so far."""

    def __init__(self):
        self.planes: list[_Plane] = []
        self.size = (0, 0)
        self.steps: dict[int, np.ndarray] = {}
        self._codes: dict[int, list[int]] = {}
        self._interval, self._progressive = 0, False

    def take(self, marker: int, body: bytes, codes: list[bytes]) -> None:
        if marker in _SEQUENTIAL or marker == _PROGRESSIVE:
            self._progressive = marker == _PROGRESSIVE
            self._frame(body)
        elif marker in _OTHER_FRAMES:
            raise UnreadableImage("a lossless or arithmetic JPEG, whose codes are not read")
        elif marker == _TABLES:
            self._quantisation(body)
        elif marker == _HUFFMAN:
            self._huffman(body)
        elif marker == _INTERVAL:
            self._interval = int.from_bytes(body[:2], "big")
        elif marker == _SCAN:
            self._scan(body, codes)

    @property
    def most(self) -> tuple[int, int]:
        """The largest sampling factors, down and across."""
        return max(p.down for p in self.planes), max(p.across for p in self.planes)

    def _frame(self, body: bytes) -> None:
        if body[0] != 8:
            raise UnreadableImage(f"a JPEG of {body[0]} bits, whose codes are not read")
        self.size = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
        layers = [body[6 + 3 * i : 9 + 3 * i] for i in range(body[5])]
        self.planes = [_Plane(name, f >> 4, f & 15, table) for name, f, table in layers]
        if len(self.planes) == 1:  # its factors mean nothing
            self.planes[0].across = self.planes[0].down = 1
        for plane in self.planes:
            plane.lay(self.size, self.most)

    def _quantisation(self, body: bytes) -> None:
        while body:
            wide, number = body[0] >> 4, body[0] & 15
            kind, end = (">u2", 129) if wide else ("u1", 65)
            table = np.zeros(64, np.int32)
            table[list(_ZIGZAG)] = np.frombuffer(body[1:end], kind)
            self.steps[number], body = table.reshape(8, 8), body[end:]

    def _huffman(self, body: bytes) -> None:
        """Tables by the next 16 bits: length << 8 | symbol; 0 where no code begins so."""
        while body:
            counts, at, code = body[1:17], 17, 0
            table = [0] * 65536
            for length, count in enumerate(counts, 1):
                for symbol in body[at : at + count]:
                    first = code << (16 - length)
                    table[first : first + (1 << (16 - length))] = [length << 8 | symbol] * (
                        1 << (16 - length)
                    )
                    code += 1
                code, at = code << 1, at + count
            if len(table) > 65536:
                raise UnreadableImage("a JPEG with a broken Huffman table")
            self._codes[body[0]], body = table, body[at:]

    def _scan(self, body: bytes, codes: list[bytes]) -> None:
        count = body[0]
        planes, tables = [], []
        for name, chosen in zip(body[1 : 2 * count : 2], body[2 : 2 * count + 1 : 2], strict=True):
            planes.append(next(plane for plane in self.planes if plane.name == name))
            tables.append((chosen >> 4, 16 + (chosen & 15)))
        first, last, exact = body[2 * count + 1 : 2 * count + 4]
        blocks = list(_blocks(planes, self.size, self.most))
        a_unit = 1 if len(planes) == 1 else sum(plane.down * plane.across for plane in planes)
        step = self._interval * a_unit or len(blocks)
        for part, string in zip(range(0, len(blocks), step), codes, strict=False):
            bits = _Bits(string)
            if not self._progressive:
                decode = _sequential(bits, planes, tables, self._codes)
            elif first == 0:
                decode = _first_of_block(bits, planes, tables, self._codes, exact)
            else:
                table = self._codes[tables[0][1]]
                band = range(first, last + 1)
                make = _refined_band if exact >> 4 else _band
                decode = make(bits, planes[0].numbers, table, band, exact & 15)
            decode(blocks[part : part + step])
            if bits.at > 8 * len(string) + 7:
                raise UnreadableImage("a truncated JPEG")
        if len(codes) * step < len(blocks):
            raise UnreadableImage("a truncated JPEG")


def _blocks(
    planes: Sequence[_Plane], size: tuple[int, int], most: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """(number of the plane, first place of the block in its numbers), as a scan has them."""
    if len(planes) == 1:
        (plane,) = planes
        for row in range(plane.used_rows):
            start = row * plane.columns
            yield from ((0, 64 * (start + column)) for column in range(plane.used_columns))
        return
    units = [math.ceil(n / (8 * factor)) for n, factor in zip(size, most, strict=True)]
    inside = [
        (number, plane, row, column)
        for number, plane in enumerate(planes)
        for row in range(plane.down)
        for column in range(plane.across)
    ]
    for down in range(units[0]):
        for across in range(units[1]):
            for number, plane, row, column in inside:
                at = (down * plane.down + row) * plane.columns + across * plane.across + column
                yield number, 64 * at


class _Bits:
    """A string of bits, read from the front."""

    def __init__(self, string: bytes):
        self.string, self.at = string + _PADDING, 0

    def take(self, count: int) -> int:
        """The next bits as a number."""
        at = self.at
        self.at = at + count
        word = int.from_bytes(self.string[at >> 3 : (at >> 3) + 4], "big")
        return (word >> (32 - (at & 7) - count)) & ((1 << count) - 1)

    def symbol(self, table: list[int]) -> int:
        """The next code's symbol."""
        at = self.at
        word = int.from_bytes(self.string[at >> 3 : (at >> 3) + 3], "big")
        entry = table[(word >> (8 - (at & 7))) & 0xFFFF]
        if not entry:
            raise UnreadableImage("a JPEG with broken codes")
        self.at = at + (entry >> 8)
        return entry & 255

    def signed(self, size: int) -> int:
        """The next number of so many bits, as T.81 F.2.2.1 extends its sign."""
        value = self.take(size)
        return value if value >> (size - 1) else value - (1 << size) + 1


_Decode = Callable[[list[tuple[int, int]]], None]


def _sequential(
    bits: _Bits, planes: Sequence[_Plane], tables: list[tuple[int, int]], codes: dict
) -> _Decode:
    """Whole blocks, T.81 F.2; the one loop that most files spend their time in."""

    def decode(blocks: list[tuple[int, int]]) -> None:
        string, at, last = bits.string, 0, [0] * len(planes)
        numbers = [plane.numbers for plane in planes]
        direct, rest = ([codes[pair[i]] for pair in tables] for i in (0, 1))
        for number, start in blocks:
            mine, k, table = numbers[number], 0, direct[number]
            while k < 64:
                # a code of at most 16 bits and its number of at most 15, of 40 bits from at
                word = int.from_bytes(string[at >> 3 : (at >> 3) + 5], "big") << (at & 7)
                entry = table[(word >> 24) & 0xFFFF]
                length, size = entry >> 8, entry & 15
                if not length:
                    raise UnreadableImage("a JPEG with broken codes")
                at += length + size
                if k:
                    zeros = (entry >> 4) & 15
                    if not size:
                        if zeros < 15:
                            break
                        k += 16
                        continue
                    k += zeros
                if size:
                    value = (word >> (40 - length - size)) & ((1 << size) - 1)
                    if not value >> (size - 1):
                        value -= (1 << size) - 1
                    if not k:
                        last[number] += value
                    else:
                        mine[start + _ZIGZAG[k]] = value
                if not k:
                    mine[start], table = last[number], rest[number]
                k += 1
        bits.at = at

    return decode


def _first_of_block(
    bits: _Bits,
    planes: Sequence[_Plane],
    tables: list[tuple[int, int]],
    codes: dict,
    exact: int,
) -> _Decode:
    """The means of blocks in a progressive scan, T.81 G.1.2.1."""
    high, low = exact >> 4, exact & 15

    def decode(blocks: list[tuple[int, int]]) -> None:
        last = [0] * len(planes)
        for number, start in blocks:
            numbers = planes[number].numbers
            if high:
                numbers[start] |= bits.take(1) << low
                continue
            size = bits.symbol(codes[tables[number][0]])
            last[number] += bits.signed(size) if size else 0
            numbers[start] = last[number] << low

    return decode


def _band(bits: _Bits, numbers: array, table: list[int], band: range, low: int) -> _Decode:
    """The first bits of a band of waves, T.81 G.1.2.2."""

    def decode(blocks: list[tuple[int, int]]) -> None:
        empty = 0  # blocks to come in which the band has no more
        for _, start in blocks:
            if empty:
                empty -= 1
                continue
            k = band.start
            while k < band.stop:
                symbol = bits.symbol(table)
                zeros, size = symbol >> 4, symbol & 15
                if size:
                    k += zeros
                    numbers[start + _ZIGZAG[k]] = bits.signed(size) << low
                    k += 1
                elif zeros == 15:
                    k += 16
                else:
                    empty = (1 << zeros) + (bits.take(zeros) if zeros else 0) - 1
                    break

    return decode


def _refined_band(bits: _Bits, numbers: array, table: list[int], band: range, low: int) -> _Decode:
    """One more bit of a band of waves, T.81 G.1.2.3."""
    one = 1 << low

    def refine(at: int) -> None:
        if bits.take(1):
            numbers[at] += one if numbers[at] > 0 else -one

    def decode(blocks: list[tuple[int, int]]) -> None:
        empty = 0
        for _, start in blocks:
            k = band.start
            while k < band.stop and not empty:
                symbol = bits.symbol(table)
                zeros, size = symbol >> 4, symbol & 15
                if not size and zeros < 15:
                    empty = (1 << zeros) + (bits.take(zeros) if zeros else 0)
                    break
                value = (one if bits.take(1) else -one) if size else 0
                while k < band.stop:  # over so many that are still zero
                    at = start + _ZIGZAG[k]
                    if numbers[at]:
                        refine(at)
                    elif not zeros:
                        if value:
                            numbers[at] = value
                        break
                    else:
                        zeros -= 1
                    k += 1
                k += 1
            if empty:
                for at in (start + _ZIGZAG[j] for j in range(k, band.stop)):
                    if numbers[at]:
                        refine(at)
                empty -= 1

    return decode


def _upright(reader: _Reader, turn: int) -> JpegWaves:
    """The planes, turned as the picture is."""
    most, (height, width) = reader.most, reader.size
    components, leads = [], []
    for plane in reader.planes:
        waves = np.array(plane.numbers, np.int32).reshape(plane.rows, plane.columns, 8, 8)
        table = reader.steps[plane.table]
        if most[0] % plane.down or most[1] % plane.across:
            raise UnreadableImage("a JPEG whose planes share pixels unevenly")
        shared = most[0] // plane.down, most[1] // plane.across
        beyond = [
            n * 8 * factor - side
            for n, factor, side in zip(waves.shape, shared, (height, width), strict=False)
        ]
        if turn in (5, 6, 7, 8):
            waves, table = waves.transpose(1, 0, 3, 2), table.T
            shared, beyond = shared[::-1], beyond[::-1]
        signs = (-1) ** np.arange(8)
        if turn in ROWS_TURNED:
            waves = waves[::-1] * signs[:, None]
        if turn in COLUMNS_TURNED:
            waves = waves[:, ::-1] * signs
        components.append(Component(np.ascontiguousarray(waves), table, *shared))
        leads.append(
            (
                beyond[0] if turn in ROWS_TURNED else 0,
                beyond[1] if turn in COLUMNS_TURNED else 0,
            )
        )
    if turn in (5, 6, 7, 8):
        height, width = width, height
    return JpegWaves(height, width, tuple(components), tuple(leads))
