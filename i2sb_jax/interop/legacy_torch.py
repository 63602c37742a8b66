"""PyTorch's weight files from before version 1.6: five pickles, and the storages behind them.

The pickles are a magic number, a version, what the writer's machine was like, the object, and the
storages' keys in the order of their data: for each an eight-byte count, then the elements. No
pickle tells its length, and the object comes before what tells where its data lie. So the object's
pickle is run twice: once for where it ends and for the storages that it refers to, all taken to be
at the file's start, and again when each has its place.
"""

import functools
import mmap
import struct
from typing import Any, NamedTuple, NoReturn

from i2sb_jax.interop.mapped import shown
from i2sb_jax.interop.torch_names import Storage, StorageType, find_name, refused_name
from i2sb_jax.interop.torch_pickle import run_next_pickle
from i2sb_jax.interop.zip_members import Member

_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # LONG1 0x1950a86a20f9469cfc6c, STOP
_BEGINNINGS = (
    *(b"\x80" + bytes([protocol]) + _MAGIC for protocol in (2, 3)),
    *(b"\x80" + bytes([n]) + b"\x95" + struct.pack("<Q", len(_MAGIC)) + _MAGIC for n in (4, 5)),
)
_VERSION = 1001  # of the format: there never was another
_COUNT = struct.Struct("<q")


class _Declared(NamedTuple):
    """The type and size that the pickle gives a storage."""

    kind: StorageType
    count: int

    @property
    def length(self) -> int:
        """In bytes."""
        return self.count * self.kind.dtype.itemsize


def is_legacy(buffer: mmap.mmap) -> bool:
    """Whether the first pickle is the magic number."""
    return buffer[: max(map(len, _BEGINNINGS))].startswith(_BEGINNINGS)


def legacy_values(buffer: mmap.mmap) -> Any:
    """Returns the argument of `torch.save`, from the map of a file that `is_legacy`.

    Args:
        buffer: the whole file.

    Returns:
        The object, its tensors views of the map.

    Raises:
        ValueError: the file is damaged, of another version, or asks for what it must not.
    """
    start = buffer.find(_MAGIC) + len(_MAGIC)
    version, start = _plain(buffer, start)
    if type(version) is not int or version != _VERSION:
        number = shown(version) if type(version) is int else "none"
        raise ValueError(f"its format is of version {number}, not {_VERSION}")
    machine, start = _plain(buffer, start)
    if type(machine) is not dict or machine.get("little_endian") is not True:
        raise ValueError("its numbers are not said to be little-endian")
    find = functools.partial(find_name, buffer)
    declared: dict[str, _Declared] = {}
    _, end = run_next_pickle(buffer, start, find, functools.partial(_first_load, buffer, declared))
    members = _members(buffer, *_plain(buffer, end), declared)
    value, _ = run_next_pickle(buffer, start, find, functools.partial(_load, members))
    return value


def _plain(buffer: mmap.mmap, start: int) -> tuple[Any, int]:
    """(object, end) of a pickle that has no need of names or of data outside of it."""
    return run_next_pickle(buffer, start, _refuse_name, _refuse_load)


def _refuse_name(module: str, name: str) -> NoReturn:
    raise refused_name(module, name)


def _refuse_load(declared: Any) -> NoReturn:
    raise ValueError("it refers to a storage outside of its object")


def _first_load(buffer: mmap.mmap, declared: dict[str, _Declared], reference: Any) -> Storage:
    """Notes what is said of a storage; the bytes are any of the file, so many of them."""
    key, here = _read(reference)
    if declared.setdefault(key, here) != here:
        raise ValueError(f"storage {shown(key)} is said to be of two types or sizes")
    if not 0 <= here.length <= len(buffer):
        raise ValueError(
            f"storage {shown(key)} of {shown(here.count)} numbers of {here.kind.name} does not fit "
            f"into {len(buffer)} bytes"
        )
    return Storage(Member(0, here.length), here.kind.dtype)


def _load(members: dict[str, Member], reference: Any) -> Storage:
    """The storage itself."""
    key, here = _read(reference)
    return Storage(members[key], here.kind.dtype)


def _read(reference: Any) -> tuple[str, _Declared]:
    """(key, type and size) of the storage that a reference out of the pickle means."""
    match reference:
        case ("storage", StorageType() as kind, str(key), str(), int(count), None):
            return key, _Declared(kind, count)
        case ("storage", StorageType(), str(key), str(), int(), _):
            raise ValueError(
                f"storage {shown(key)} is part of another, as early versions of PyTorch wrote: "
                "load it with PyTorch where you trust it, and save it again"
            )
    raise ValueError("its pickle refers to data that is not a tensor's storage")


def _members(
    buffer: mmap.mmap, keys: Any, start: int, declared: dict[str, _Declared]
) -> dict[str, Member]:
    """Returns each storage's place; together they take all that is left of the file."""
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise ValueError("its storages' keys are not a list of texts")
    members: dict[str, Member] = {}
    for key in keys:
        if key not in declared or key in members:
            reason = "twice" if key in members else "that no tensor refers to"
            raise ValueError(f"it has a storage {shown(key)} {reason}")
        if start + _COUNT.size > len(buffer):
            raise ValueError(f"it is cut short before storage {shown(key)}")
        (count,) = _COUNT.unpack_from(buffer, start)
        if count != declared[key].count:
            raise ValueError(
                f"storage {shown(key)} has {count} numbers, not {shown(declared[key].count)} of "
                f"{declared[key].kind.name}"
            )
        members[key] = Member(start + _COUNT.size, declared[key].length)
        start = members[key].start + members[key].length
        if start > len(buffer):
            raise ValueError(f"it is cut short within storage {shown(key)}")
    if len(members) < len(declared):
        absent = next(key for key in declared if key not in members)
        raise ValueError(f"there is no storage {shown(absent)} in it")
    if start != len(buffer):
        raise ValueError(f"it goes on for {len(buffer) - start} bytes after its last storage")
    return members
