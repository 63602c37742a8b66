"""Writes files as `torch.save` does or did, without PyTorch: for tests only."""

import collections
import itertools
import os
import pickle
import struct
import zlib
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype(kind): name
    for kind, name in (
        *(("f8", "Double"), ("f4", "Float"), ("f2", "Half"), (ml_dtypes.bfloat16, "BFloat16")),
        *(("i8", "Long"), ("i4", "Int"), ("i2", "Short"), ("i1", "Char"), ("u1", "Byte")),
        *(("?", "Bool"), ("c8", "ComplexFloat"), ("c16", "ComplexDouble")),
    )
}

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
WIDE = 2**32 - 1  # from here on a number is in the zip64 field


class Zeros(NamedTuple):
    """A tensor of zeros that takes no memory, and in the file a hole that takes no disk."""

    shape: tuple[int, ...]
    dtype: Any = np.float32


class Parameter(NamedTuple):
    """A tensor saved as an nn.Parameter."""

    data: np.ndarray


def write_torch_file(path, value, *, root="archive", protocol=2):
    """Writes a zip-format .pt file.

    Args:
        path: local.
        value: nested dicts, lists and tuples of arrays, Zeros, Parameters, numbers, strings, None.
            An OrderedDict is saved as one, with its `_metadata` if it has any. Arrays that are
            views of one array share its storage.
        root: the folder within the zip.
        protocol: 2 or 3 as PyTorch's default, or 4 or 5 with their ways to write the same.
    """
    program = Pickler(protocol)
    body = program.file(value)
    members = [("data.pkl", body), (".format_version", b"1"), (".storage_alignment", b"64")]
    members += [("byteorder", b"little")]
    members += [(f"data/{key}", data) for key, data in enumerate(program.storages)]
    members += [("version", b"3\n"), (".data/serialization_id", b"0" * 40)]
    with open(path, "wb") as file:
        write_zip(file, [(f"{root}/{name}", data) for name, data in members])


def write_legacy_file(path, value, *, protocol=2):
    """Writes a .pt file of a PyTorch before 1.6; the arguments are `write_torch_file`'s."""
    program = Pickler(protocol, legacy=True)
    object_ = program.file(value)
    keys = sorted(map(str, range(len(program.storages))))
    with open(path, "wb") as file:
        file.write(legacy_head(object_, program.file(keys), protocol=protocol))
        for key in keys:
            owner = program.storages[int(key)]
            file.write(struct.pack("<q", int(np.prod(owner.shape, dtype=object))))
            write_data(file, owner)


def legacy_head(*pickles, protocol=2):
    """The pickles that such a file begins with, `pickles` after the three that never differ."""
    made = Pickler(protocol)
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}
    return b"".join([*map(made.file, (LEGACY_MAGIC, 1001, system)), *pickles])


class Saved(NamedTuple):
    """A Python object, saved by the instructions that Python itself writes."""

    value: Any


class Pickler:
    """The instructions for a value, and the storages it refers to."""

    def __init__(self, protocol=2, *, legacy=False):
        self.protocol, self.legacy = protocol, legacy
        self.storages = []
        self.keys = {}
        self.memo = itertools.count()

    def file(self, value):
        body = self.value(value) + b"."
        frame = b"\x95" + struct.pack("<Q", len(body)) if self.protocol >= 4 else b""
        return b"\x80" + bytes([self.protocol]) + frame + body

    def value(self, value):
        match value:
            case None | bool():
                return {None: b"N", True: b"\x88", False: b"\x89"}[value]
            case int():
                return integer(value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                return self.text(value)
            case collections.OrderedDict():
                made = self.name("collections", "OrderedDict") + b")R" + self.put()
                attributes = {"_metadata": value._metadata} if hasattr(value, "_metadata") else None
                built = self.value(attributes) + b"b" if attributes else b""
                return made + self.items(value) + built
            case dict():
                return b"}" + self.put() + self.items(value)
            case list():
                return b"](" + b"".join(map(self.value, value)) + b"e"
            case Saved(kept):
                return pickle.dumps(kept, protocol=2)[2:-1]
            case Parameter(data):
                hooks = self.value(collections.OrderedDict())
                return (
                    self.name("torch._utils", "_rebuild_parameter")
                    + (b"(" + self.tensor(data) + b"\x88" + hooks + b"t")
                    + b"R"
                )
            case np.ndarray() | Zeros():
                return self.tensor(value)
            case tuple():
                return b"(" + b"".join(map(self.value, value)) + b"t"
        raise TypeError(type(value))

    def items(self, value):
        pairs = (self.value(key) + self.value(item) for key, item in value.items())
        return b"(" + b"".join(pairs) + b"u"

    def put(self):
        number = next(self.memo)
        return b"\x94" if self.protocol >= 4 else b"r" + struct.pack("<I", number)

    def text(self, value):
        raw = value.encode()
        if self.protocol >= 4 and len(raw) < 256:
            return b"\x8c" + bytes([len(raw)]) + raw
        return b"X" + struct.pack("<I", len(raw)) + raw

    def name(self, module, name):
        if self.protocol >= 4:
            return self.text(module) + self.text(name) + b"\x93"
        return f"c{module}\n{name}\n".encode()

    def tensor(self, value):
        owner, offset, strides = layout(value)
        key = self.keys.setdefault(id(owner), len(self.storages))
        if key == len(self.storages):
            self.storages.append(owner)
        kind = np.dtype(value.dtype)
        count = np.prod(owner.shape, dtype=object)
        storage = (
            b"("
            + self.text("storage")
            + self.name("torch", f"{STORAGES[kind]}Storage")
            + (self.text(str(key)) + self.text("cpu") + integer(int(count)))
            + (b"NtQ" if self.legacy else b"tQ")
        )
        numbers = integer(offset) + self.value(tuple(value.shape)) + self.value(tuple(strides))
        hooks = self.value(collections.OrderedDict())
        call = self.name("torch._utils", "_rebuild_tensor_v2")
        return call + b"(" + storage + numbers + b"\x89" + hooks + b"tR"


def integer(value):
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def layout(value):
    """(what holds the bytes, offset and strides within it in elements)."""
    if isinstance(value, Zeros):
        strides = np.cumprod((1, *value.shape[:0:-1]), dtype=object)[::-1] if value.shape else ()
        return value, 0, [int(step) for step in strides]
    owner = value
    while isinstance(owner.base, np.ndarray) and owner.base.dtype == value.dtype:
        owner = owner.base
    begin = value.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    assert owner.flags.c_contiguous and begin % value.itemsize == 0
    return owner, begin // value.itemsize, [step // value.itemsize for step in value.strides]


def write_zip(file, members):
    """Writes members as PyTorch does: stored, aligned to 64 bytes, with a zip64 end.

    Args:
        file: open for writing.
        members: (name, bytes, array or Zeros).
    """
    directory = b""
    for name, data in members:
        header, raw = file.tell(), name.encode()
        padding = 4 + -(header + 34 + len(raw)) % 64
        local = struct.pack("<4s5HIIIHH", b"PK\3\4", 0, 0x808, 0, 0, 0, 0, 0, 0, len(raw), padding)
        file.write(local + raw + b"FB" + struct.pack("<H", padding - 4) + b"Z" * (padding - 4))
        size, check = write_data(file, data)
        file.write(b"PK\7\x08" + struct.pack("<IQQ" if size >= WIDE else "<III", check, size, size))
        directory += directory_entry(raw, header, size, check)
    start = file.tell()
    file.write(directory + end_records(len(members), len(directory), start))


def directory_entry(raw, header, size, check=0, *, flags=0x808, method=0):
    """A member's entry in the directory of a zip."""
    wide = struct.pack("<QQ", size, size) if size >= WIDE else b""
    wide += struct.pack("<Q", header) if header >= WIDE else b""
    extra = struct.pack("<HH", 1, len(wide)) + wide if wide else b""
    short = min(size, WIDE)
    lengths = (len(raw), len(extra), 0, 0, 0, 0, min(header, WIDE))
    numbers = (0, 0, flags, method, 0, 0, check, short, short, *lengths)
    return struct.pack("<4s6H3I5HII", b"PK\1\2", *numbers) + raw + extra


def end_records(count, size, start):
    """The last records of a zip, with a zip64 record as PyTorch writes it."""
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 798, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, start + size, 1)
    few, short = min(count, 2**16 - 1), (min(size, WIDE), min(start, WIDE))
    return wide + locator + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, few, few, *short, 0)


def write_data(file, data):
    """(bytes written, their check sum); a hole's check sum is left out."""
    if isinstance(data, Zeros):
        size = int(np.prod(data.shape, dtype=object)) * np.dtype(data.dtype).itemsize
        if size:
            file.seek(size - 1, os.SEEK_CUR)
            file.write(b"\0")
        return size, 0
    raw = data if isinstance(data, bytes) else np.ascontiguousarray(data).tobytes()
    file.write(raw)
    return len(raw), zlib.crc32(raw)
