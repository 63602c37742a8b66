"""EXIF as bytes: what outlives a restoration goes on unchanged, whatever its text is coded in.

EXIF is a TIFF without a picture: an IFD of the camera, one of the shot, one of interoperability. A
TIFF itself holds the same tags beside its own, in a BigTIFF with wider fields.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_EXIF_IFD, _INTEROP_IFD = 0x8769, 0xA005
_ORIENTATION, _RESOLUTIONS, _UNIT = 0x0112, (0x011A, 0x011B), 0x0128
_COLOUR_SPACE, _ICC_TAG = 0xA001, 0x8773
# Make, model, date, artist, copyright.
_KEPT_TAGS = (0x010F, 0x0110, 0x0132, 0x013B, 0x8298)
# Exposure, aperture, program, sensitivity, dates with zones and fractions, shutter, metering,
# flash, focal length, colour space, mode, white balance, lens.
_KEPT_EXIF_TAGS = (
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202),
    *(0x9204, 0x9207, 0x9209, 0x920A, 0x9290, 0x9291, 0x9292, _COLOUR_SPACE, 0xA402, 0xA403),
    *(0xA405, 0xA432, 0xA433, 0xA434),
)
_KEPT_INTEROP_TAGS = (0x0001, 0x0002)  # R98 is sRGB, R03 Adobe RGB
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8, 129: 1}
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # types of whole numbers
_MOST_BYTES, _MOST_OF_PROFILE = 1 << 16, 1 << 24  # of one value
_READ = {*_KEPT_TAGS, *_KEPT_EXIF_TAGS, *_KEPT_INTEROP_TAGS, *_RESOLUTIONS}
_READ |= {_UNIT, _ORIENTATION, _ICC_TAG, _EXIF_IFD, _INTEROP_IFD}
_CENTIMETRES = 3
_METRE = {2: 1 / 0.0254, _CENTIMETRES: 100.0}  # ResolutionUnit: inches or centimetres in a metre


class Entry(NamedTuple):
    """A tag's value: TIFF's type, how many of them, and their bytes in the block's order."""

    type: int
    count: int
    value: bytes


class Tags(NamedTuple):
    """A block's byte order, "<" or ">", and its three tables, tag -> value."""

    order: str
    camera: Mapping[int, Entry]
    shot: Mapping[int, Entry]
    interop: Mapping[int, Entry]

    def number(self, tag: int) -> int | None:
        """The first whole number of a tag of the camera's table; None if there is none."""
        entry = self.camera.get(tag)
        return None if entry is None else _number(self.order, entry)


def read_tags(block: bytes, *, at: int | None = None) -> Tags:
    """Reads the tags of a block of EXIF or of a TIFF; what is broken is left out.

    Args:
        block: with or without the "Exif" that JPEG files start it with.
        at: where the IFD of the camera begins; None: the first one.
    """
    block = block.removeprefix(b"Exif\0\0")
    try:
        order = {b"II": "<", b"MM": ">"}[bytes(block[:2])]
        (version,) = struct.unpack_from(order + "H", block, 2)
        is_big = version == 43
        if at is None:
            (at,) = struct.unpack_from(order + ("Q" if is_big else "I"), block, 8 if is_big else 4)
        camera = _read_ifd(block, order, at, is_big)
    except (KeyError, struct.error):
        return Tags("<", {}, {}, {})
    shot, interop = {}, {}
    if _EXIF_IFD in camera:
        shot = _below(block, order, camera[_EXIF_IFD], is_big)
    if _INTEROP_IFD in shot:
        interop = _below(block, order, shot[_INTEROP_IFD], is_big)
    return Tags(order, camera, shot, interop)


def kept_exif(tags: Tags, *, keeps_colours: bool = True) -> bytes | None:
    """Returns the EXIF that outlives a restoration: dates, camera, lens, exposure, authors.

    Orientation becomes 1, since the pixels are upright. Left out: the thumbnail, which shows the
    old picture; the place, serial numbers and makers' notes, which a new file should not spread
    unasked.

    Args:
        tags: of the file.
        keeps_colours: whether the pixels are in the file's colour space, which is told then.

    Returns:
        A block of EXIF, starting with "Exif"; None if there is nothing to keep.
    """
    camera, shot, interop = (
        {tag: table[tag] for tag in kept if tag in table}
        for table, kept in (
            (tags.camera, _KEPT_TAGS),
            (tags.shot, _KEPT_EXIF_TAGS),
            (tags.interop, _KEPT_INTEROP_TAGS),
        )
    )
    if not keeps_colours:
        shot.pop(_COLOUR_SPACE, None)
        interop = {}
    if not camera and not shot and not interop:
        return None
    order = tags.order
    camera[_ORIENTATION] = Entry(3, 1, struct.pack(order + "H", 1))
    return _block(order, camera, shot, interop)


def icc_profile_of(tags: Tags) -> bytes | None:
    """The colour profile that a TIFF's tag holds, or None."""
    entry = tags.camera.get(_ICC_TAG)
    return None if entry is None else entry.value


def resolution_of(tags: Tags) -> tuple[float, float] | None:
    """(across, down) pixels in a metre; None where no unit is stated."""
    per_metre = _METRE.get(tags.number(_UNIT) or 2)
    sides = []
    for tag in _RESOLUTIONS:
        entry = tags.camera.get(tag)
        if entry is None or entry.type != 5 or per_metre is None:
            return None
        above, below = struct.unpack_from(tags.order + "II", entry.value)
        if not above or not below:
            return None
        sides.append(above / below * per_metre)
    return sides[0], sides[1]


def with_resolution(exif: bytes | None, across: int, down: int) -> bytes:
    """A block of EXIF that states the pixels in a metre beside all that it stated.

    Args:
        exif: from `kept_exif`.
        across: pixels in a metre.
        down: the same of the other side.
    """
    order, camera, shot, interop = read_tags(exif or b"")
    sides = (
        Entry(5, 1, struct.pack(order + "II", side, 100)) for side in (across, down)
    )  # in a centimetre
    stated = dict(zip(_RESOLUTIONS, sides, strict=True))
    stated[_UNIT] = Entry(3, 1, struct.pack(order + "H", _CENTIMETRES))
    return _block(order, dict(camera) | stated, shot, interop)


def _block(
    order: str,
    camera: Mapping[int, Entry],
    shot: Mapping[int, Entry],
    interop: Mapping[int, Entry],
) -> bytes:
    """EXIF of three tables, without the pointers between them."""
    camera, shot = dict(camera), dict(shot)
    camera.pop(_EXIF_IFD, None)
    shot.pop(_INTEROP_IFD, None)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    tables = [(camera, _EXIF_IFD), (shot, _INTEROP_IFD), (interop, None)]
    tables = tables[: 3 if interop else 2 if shot else 1]
    return b"Exif\0\0" + head + write_ifds(order, tables, len(head))


def _number(order: str, entry: Entry) -> int | None:
    if entry.type not in _WHOLE or not entry.count:
        return None
    return struct.unpack_from(order + _WHOLE[entry.type], entry.value)[0]


def _below(block: bytes, order: str, pointer: Entry, is_big: bool) -> dict[int, Entry]:
    at = _number(order, pointer)
    try:
        return {} if at is None else _read_ifd(block, order, at, is_big)
    except struct.error:
        return {}


def _read_ifd(block: bytes, order: str, at: int, is_big: bool) -> dict[int, Entry]:
    """Tags of one table; values that lie outside of the block are left out."""
    head, entry, room = ("Q", "HHQ", 8) if is_big else ("H", "HHI", 4)
    (count,) = struct.unpack_from(order + head, block, at)
    at += struct.calcsize(order + head)
    size = struct.calcsize(order + entry) + room
    table = {}
    for start in range(at, min(at + size * count, len(block) - size + 1), size):
        tag, type_, number = struct.unpack_from(order + entry, block, start)
        if tag not in _READ:  # thousands of tags could each claim the whole file
            continue
        length = _SIZES.get(type_, 0) * number
        place = start + size - room
        if length > room:
            (place,) = struct.unpack_from(order + ("Q" if is_big else "I"), block, place)
        if 0 < length <= (
            _MOST_OF_PROFILE if tag == _ICC_TAG else _MOST_BYTES
        ) and place + length <= len(block):
            table[tag] = Entry(type_, number, bytes(block[place : place + length]))
    return table


def write_ifds(
    order: str, tables: Iterable[tuple[Mapping[int, Entry], int | None]], start: int
) -> bytes:
    """Tables behind each other, each but the last with a pointer to the next as a tag of its own.

    Args:
        order: "<" or ">".
        tables: entries, and the tag of the pointer.
        start: where they will lie.
    """
    tables, parts = list(tables), []
    for number, (table, pointer) in enumerate(tables):
        is_last = number == len(tables) - 1
        entries = dict(table)
        if not is_last:
            entries[pointer] = Entry(4, 1, bytes(4))
        body_at = start + 2 + 12 * len(entries) + 4
        long = [entry.value for entry in entries.values() if len(entry.value) > 4]
        following = body_at + sum(len(value) + len(value) % 2 for value in long)
        if not is_last:
            entries[pointer] = Entry(4, 1, struct.pack(order + "I", following))
        head, body = struct.pack(order + "H", len(entries)), b""
        for tag, (type_, count, value) in sorted(entries.items()):
            field = value.ljust(4, b"\0")
            if len(value) > 4:
                field = struct.pack(order + "I", body_at + len(body))
                body += value + bytes(len(value) % 2)
            head += struct.pack(order + "HHI", tag, type_, count) + field
        parts.append(head + bytes(4) + body)
        start = following
    return b"".join(parts)
