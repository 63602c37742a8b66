"""The members of a zip file that are stored as they are, found in its map and checked.

Stricter than a general reader: what PyTorch writes is accepted, and anything that lets two readers
see different files, or makes a small file large, is not. Check sums are not compared: PyTorch
can be told to leave them out, and comparing them would read the whole file.
"""

import itertools
import mmap
import struct
from typing import NamedTuple

from i2sb_jax.interop.mapped import shown

_LOCAL = struct.Struct("<4s2xHH8xIIHH")  # signature, flags, method, sizes, lengths
_CENTRAL = struct.Struct("<4s4xHH8xIIHHHH6xI")  # as above, with a disk and an offset
_END = struct.Struct("<4sHHHHIIH")  # signature, disks, members, size, start, comment
_END_64 = struct.Struct("<4sQ4xIIQQQQ")
_LOCATOR_64 = struct.Struct("<4sIQI")

_ENCRYPTED, _SIZES_FOLLOW = 1 << 0, 1 << 3  # flags
_STORED = 0  # method
_IN_64 = 0xFFFFFFFF  # the number is in the zip64 field instead
_MAX_MEMBERS = 100_000  # a large network with its optimizer has some thousand
_MAX_NAME = 1000


class Member(NamedTuple):
    """The place of a member's bytes in the file."""

    start: int
    length: int


class _Entry(NamedTuple):
    """The directory's entry of a member."""

    name: str
    flags: int
    header: int
    length: int


def list_members(buffer: mmap.mmap) -> dict[str, Member]:
    """Finds the members of a zip file.

    Args:
        buffer: the whole file.

    Returns:
        Name -> where its bytes lie, which is within the file and apart from all others.

    Raises:
        ValueError: the file is not a whole zip, or a member is compressed, encrypted, named twice
            or like a path out of the folder, or overlaps another.
    """
    count, position, end = _directory(buffer)
    start = position
    members: dict[str, Member] = {}
    spans = []
    for _ in range(count):
        entry, position = _entry(buffer, position, end)
        if entry.name in members:
            raise ValueError(f"two members are named {shown(entry.name)}")
        member = members[entry.name] = _member(buffer, entry, start)
        spans.append((entry.header, member.start + member.length, entry.name))
    if position != end:
        raise ValueError(f"the zip's directory goes on after its {count} members")
    for (_, last, name), (first, _, other) in itertools.pairwise(sorted(spans)):
        if first < last:
            raise ValueError(f"the members {shown(name)} and {shown(other)} overlap")
    return members


def _directory(buffer: mmap.mmap) -> tuple[int, int, int]:
    """(members, start, end) of the directory, from the records at the very end of the file."""
    last = len(buffer) - _END.size
    if last < 0 or buffer[last : last + 4] != b"PK\x05\x06":
        raise ValueError("no zip directory at its end: it is cut short, or something follows")
    _, *disks, here, count, size, start, comment = _END.unpack_from(buffer, last)
    end, record = last, (*disks, here, count, size, start)
    locator = last - _LOCATOR_64.size
    if locator >= 0 and buffer[locator : locator + 4] == b"PK\x06\x07":
        _, disk, end, _ = _LOCATOR_64.unpack_from(buffer, locator)
        if end + _END_64.size != locator or buffer[end : end + 4] != b"PK\x06\x06":
            raise ValueError("the zip64 record at its end is not where it is said to be")
        _, _, *disks, here, count, size, start = _END_64.unpack_from(buffer, end)
        fields = zip(record, (*disks, here, count, size, start), (4, 4, 4, 4, 8, 8), strict=True)
        if disk or any(short not in (long, 16**digits - 1) for short, long, digits in fields):
            raise ValueError("the two records at the zip's end disagree")
    if any(disks) or here != count or comment:
        raise ValueError("the zip is one part of several, or has a comment")
    if count > _MAX_MEMBERS:
        raise ValueError(f"the zip has {count} members, at most {_MAX_MEMBERS}")
    if start + size != end:
        raise ValueError("the zip's directory does not end where its last record begins")
    return count, start, end


def _entry(buffer: mmap.mmap, position: int, end: int) -> tuple[_Entry, int]:
    """The directory's entry at `position`, and where the next one begins."""
    names = position + _CENTRAL.size
    if names > end or buffer[position : position + 4] != b"PK\x01\x02":
        raise ValueError("the zip's directory is damaged")
    _, flags, method, packed, length, *sizes, disk, header = _CENTRAL.unpack_from(buffer, position)
    name_size, extra_size, comment_size = sizes
    following = names + sum(sizes)
    if following > end or name_size > _MAX_NAME:
        raise ValueError("the zip's directory is damaged: a name reaches out of it")
    extra_at = names + name_size
    name = _checked_name(buffer[names:extra_at])
    if method != _STORED:
        raise ValueError(
            f"the member {shown(name)} is compressed, as torch.save never does: zip it again with "
            "-0, or, if it is a TorchScript program, save its state_dict()"
        )
    if flags & _ENCRYPTED or disk or comment_size:
        raise ValueError(f"the member {shown(name)} is encrypted, on another disk or has a comment")
    if _IN_64 in (packed, length, header):
        extra = buffer[extra_at : extra_at + extra_size]
        length, packed, header = _from_zip64(name, extra, (length, packed, header))
    if packed != length:
        raise ValueError(
            f"the member {shown(name)} has {length} bytes stored as {packed}: not one size"
        )
    return _Entry(name, flags, header, length), following


def _checked_name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"the member name {shown(raw)} is not UTF-8") from None
    parts = name.removesuffix("/").split("/")  # a folder has an entry of its own in some zips
    if any(part in ("", ".", "..") for part in parts) or not set(name).isdisjoint("\\:\0"):
        raise ValueError(f"the member name {shown(name)} is not a path inside the file")
    return name


def _from_zip64(name: str, extra: bytes, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """`numbers` with each that is kept in the zip64 field taken from there."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 1:
            missing = sum(number == _IN_64 for number in numbers)
            if len(field) < 8 * missing:
                break
            found = iter(struct.unpack_from(f"<{missing}Q", field))
            return tuple(next(found) if number == _IN_64 else number for number in numbers)
    raise ValueError(f"the member {shown(name)} has no whole zip64 field")


def _member(buffer: mmap.mmap, entry: _Entry, directory: int) -> Member:
    """Returns a member's place, after its own header, which must tell the same of it."""
    names = entry.header + _LOCAL.size
    if names > directory or buffer[entry.header : entry.header + 4] != b"PK\x03\x04":
        raise ValueError(f"the member {shown(entry.name)} is not where the directory says")
    local = _LOCAL.unpack_from(buffer, entry.header)
    _, flags, method, packed, length, name_size, extra_size = local
    # the writer did not know the sizes yet, or they are in the zip64 field
    open_sizes = {_IN_64, 0} if flags & _SIZES_FOLLOW else {_IN_64}
    if (
        buffer[names : names + name_size] != entry.name.encode()
        or (flags, method) != (entry.flags, _STORED)
        or not {packed, length} <= {entry.length, *open_sizes}
    ):
        raise ValueError(
            f"the member {shown(entry.name)} is called otherwise, or has another size, in its own "
            "header"
        )
    start = names + name_size + extra_size
    if start + entry.length > directory:
        raise ValueError(
            f"the member {shown(entry.name)} of {entry.length} bytes reaches out of the file"
        )
    return Member(start, entry.length)
