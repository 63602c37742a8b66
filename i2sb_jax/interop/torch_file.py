"""PyTorch's weight files (.pt, .pth: a zip with a pickle in it) as numpy, without PyTorch.

Such a file is a program, and this reader runs none of it: it knows the few instructions and names
that state dicts, optimizers and schedulers are saved with, and refuses all others by name.

A tensor is a view of the mapped file, read-only, with its own offset and strides. Tensors that
share a storage in the file share it here too, and an expanded tensor (stride 0) stays one. As
whoever copies them gets every element, all tensors together may take four times the bytes of the
file, which leaves room for tied weights, and a little more for small files.
"""

import functools
import mmap
from dataclasses import dataclass
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from etils import epath

from i2sb_jax.interop.mapped import array_view, read_mapped, shown
from i2sb_jax.interop.torch_pickle import MAX_PICKLE, Builder, run_pickle
from i2sb_jax.interop.zip_members import Member, list_members

_MAX_DEPTH = 64  # of dicts within dicts
_MAX_VALUES = 2_000_000  # when what is shared is counted each time it is met
_COPIES, _SMALL = 4, 1 << 26  # bytes of all tensors: so many times the file's, plus so many

_DTYPES = {
    **{"float64": np.dtype("<f8"), "float32": np.dtype("<f4"), "float16": np.dtype("<f2")},
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    **{"int64": np.dtype("<i8"), "int32": np.dtype("<i4"), "int16": np.dtype("<i2")},
    **{"int8": np.dtype("i1"), "uint8": np.dtype("u1"), "bool": np.dtype("?")},
    **{"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4"), "uint64": np.dtype("<u8")},
    **{"complex64": np.dtype("<c8"), "complex128": np.dtype("<c16")},
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
_STORAGES = {
    **{"DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16"},
    **{"BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32"},
    **{"ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8"},
    **{"BoolStorage": "bool", "ComplexFloatStorage": "complex64"},
    "ComplexDoubleStorage": "complex128",
}
_UNSUPPORTED = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data",
}


class _StorageType(NamedTuple):
    """A name such as torch.FloatStorage."""

    name: str
    dtype: np.dtype


@dataclass(frozen=True, eq=False)
class _Storage:
    """Bytes in the file, and what they are said to be."""

    member: Member
    dtype: np.dtype


class _Extent(NamedTuple):
    """What a part of the result comes to with all that is shared counted each time."""

    depth: int
    values: int
    bytes: int


def read_torch_file(path: epath.PathLike) -> Any:
    """Reads a file written by `torch.save`, of PyTorch 1.6 or later.

    Args:
        path: local or gs://. A local file must not change while the arrays are in use.

    Returns:
        What was saved, mostly nested dicts and lists: every tensor and parameter a
        read-only numpy array, mapped and not read until it is used; float16 as it is, bfloat16 and
        float8 with ml_dtypes' types; numbers, strings, None and tuples as they are, a torch.Size
        as a tuple, a torch.dtype as a numpy one, a torch.device as its name. Attributes of a
        state dict (its modules' versions) are left out.

    Raises:
        ValueError: there is no file, or it is damaged, of another format or asks for what a file
            of weights does not need; one line that names the file and what was refused.
    """
    return read_mapped(path, torch_values)


def torch_values(buffer: mmap.mmap) -> Any:
    """What `read_torch_file` returns, from the map of a file."""
    if buffer[:4] != b"PK\x03\x04":
        raise ValueError("not a zip as PyTorch writes it since version 1.6")
    members = list_members(buffer)
    root = _root(buffer, members)
    start, length = members[f"{root}/data.pkl"]
    if length > MAX_PICKLE:
        raise ValueError(f"its pickle has {length} bytes, at most {MAX_PICKLE}")
    value = run_pickle(
        buffer[start : start + length],
        functools.partial(_find, buffer),
        functools.partial(_load, members, root),
    )
    size = _measure(value, 0, {}).bytes
    if size > _COPIES * len(buffer) + _SMALL:
        raise ValueError(
            f"its tensors overlap: {size} bytes if copied, from {len(buffer)} in the file"
        )
    return value


def _root(buffer: mmap.mmap, members: dict[str, Member]) -> str:
    """The folder that holds everything: named after the file in most versions."""
    roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0]:
        raise ValueError("a zip without one data.pkl in its folder: not written by torch.save")
    (root,) = roots
    if f"{root}/constants.pkl" in members:
        raise ValueError("a TorchScript program: save the module's state_dict() instead")
    order = members.get(f"{root}/byteorder", Member(0, 0))
    told = buffer[order.start : order.start + min(order.length, 16)]
    if told not in (b"", b"little"):
        raise ValueError(f"its byte order is {shown(told.decode('latin-1'))}, not little")
    return root


def _find(buffer: mmap.mmap, module: str, name: str) -> Any:
    """What a name stands for: the closed list."""
    full = f"{module}.{name}"
    if module == "torch" and name in _STORAGES:
        return _StorageType(full, _DTYPES[_STORAGES[name]])
    if module == "torch" and name in _DTYPES:
        return _DTYPES[name]
    match full:
        case "collections.OrderedDict":
            return Builder(full, _ordered_dict)
        case "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor_v3":
            return Builder(full, functools.partial(_tensor, buffer, full))
        case "torch._utils._rebuild_parameter":
            return Builder(full, _parameter)
        case "torch.storage.UntypedStorage":
            return _StorageType(full, _DTYPES["uint8"])
        case "torch.Size":
            return Builder(full, _size)
        case "torch.device":
            return Builder(full, _device)
    if full in _UNSUPPORTED:
        raise ValueError(f"it holds {_UNSUPPORTED[full]} ({full})")
    raise ValueError(
        f"it asks for {shown(full)}, not one of the names a file of weights may use; nothing of it "
        "was run"
    )


def _load(members: dict[str, Member], root: str, told: Any) -> _Storage:
    """The storage that a reference out of the pickle means."""
    match told:
        case ("storage", _StorageType() as kind, str(key), str(), int(count)):
            pass
        case _:
            raise ValueError("its pickle refers to data that is not a tensor's storage")
    member = members.get(f"{root}/data/{key}")
    if member is None or "/" in key:
        raise ValueError(f"there is no storage {shown(key)} in it")
    if count * kind.dtype.itemsize != member.length:
        raise ValueError(
            f"storage {shown(key)} has {member.length} bytes, not {shown(count)} numbers of "
            f"{kind.name}"
        )
    return _Storage(member, kind.dtype)


def _ordered_dict(arguments: tuple[Any, ...]) -> dict:
    if arguments:
        raise ValueError("its pickle makes an OrderedDict from something")
    return {}


def _tensor(buffer: mmap.mmap, full: str, arguments: tuple[Any, ...]) -> np.ndarray:
    """A tensor: (storage, offset, shape, strides, requires_grad, hooks[, dtype][, flags])."""
    match arguments:
        case (_Storage() as storage, offset, tuple(shape), tuple(strides), _, _, *rest):
            dtype = storage.dtype
        case _:
            raise ValueError(f"its pickle calls {full} with other arguments than a tensor's")
    if full.endswith("_v3"):
        if not rest or not isinstance(rest[0], np.dtype):
            raise ValueError(f"its pickle calls {full} without the tensor's dtype")
        dtype, *rest = rest
    match rest:
        case [] | [None]:
            pass
        case [dict(flags)] if not flags:
            pass
        case _:
            raise ValueError("a tensor is marked as conjugated or negated: save .resolve_conj()")
    return array_view(
        buffer,
        start=storage.member.start,
        length=storage.member.length,
        dtype=dtype,
        shape=shape,
        strides=strides,
        offset=offset,
    )


def _parameter(arguments: tuple[Any, ...]) -> np.ndarray:
    match arguments:
        case (np.ndarray() as data, bool(), dict()):
            return data
    raise ValueError("its pickle makes a parameter of something that is not a tensor")


def _size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    match arguments:
        case (tuple(sizes),) if all(type(size) is int for size in sizes):
            return sizes
    raise ValueError("its pickle makes a torch.Size of something that is not whole numbers")


def _device(arguments: tuple[Any, ...]) -> str:
    match arguments:
        case (str(kind),):
            return kind
        case (str(kind), int(index)):
            return f"{kind}:{index}"
    raise ValueError("its pickle makes a torch.device of something else")


def _measure(value: Any, depth: int, known: dict[int, _Extent | None]) -> _Extent:
    """What a part of the result comes to; each container is looked into once.

    Args:
        value: what the pickle made.
        depth: containers around it.
        known: id of a container -> its extent, or None while it is being measured.

    Returns:
        The extent.

    Raises:
        ValueError: it is too deep, holds itself, comes to too much, or is no value.
    """
    match value:
        case np.ndarray():
            return _Extent(0, 1, value.nbytes)
        case str():
            return _Extent(0, 1, len(value))
        case None | bool() | int() | float() | np.dtype():
            return _Extent(0, 1, 0)
        case Builder(name) | _StorageType(name):
            raise ValueError(f"its pickle leaves {name} as it is, which is not a value")
        case _Storage():
            raise ValueError("it holds a storage without a tensor: save the tensor")
    if id(value) not in known:
        if depth == _MAX_DEPTH:
            raise ValueError(f"its pickle nests more than {_MAX_DEPTH} deep")
        known[id(value)] = None
        keyed = type(value) is dict
        parts = [_measure(item, depth + 1, known) for item in (value.values() if keyed else value)]
        names = (len(key) for key in value if type(key) is str) if keyed else ()
        known[id(value)] = _Extent(
            1 + max((part.depth for part in parts), default=0),
            1 + sum(part.values for part in parts),
            sum(names) + sum(part.bytes for part in parts),
        )
    extent = known[id(value)]
    if extent is None:
        raise ValueError("its pickle makes something that holds itself")
    if depth + extent.depth > _MAX_DEPTH:
        raise ValueError(f"its pickle nests more than {_MAX_DEPTH} deep")
    if extent.values > _MAX_VALUES:
        raise ValueError(f"its pickle repeats itself into more than {_MAX_VALUES} values")
    return extent
