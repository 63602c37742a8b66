"""PyTorch's weight files (.pt, .pth) as numpy, without PyTorch.

They are zips with a pickle in them, or, from before version 1.6, pickles with the data behind.
Such a file is a program, and this reader runs none of it: it knows the few instructions and names
that state dicts, optimizers and schedulers are saved with, passes over a few more that trainers
leave beside them, and refuses all others by name.

A tensor is a view of the mapped file, read-only, with its own offset and strides. Tensors that
share a storage in the file share it here too, and an expanded tensor (stride 0) stays one. As
whoever copies them gets every element, all tensors together may take four times the bytes of the
file, which leaves room for tied weights, and a little more for small files.
"""

import functools
import mmap
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from i2sb_jax.interop.legacy_torch import is_legacy, legacy_values
from i2sb_jax.interop.mapped import read_mapped, shown
from i2sb_jax.interop.torch_names import Storage, StorageType, find_name, refused_name
from i2sb_jax.interop.torch_pickle import MAX_PICKLE, Builder, Marker, run_pickle
from i2sb_jax.interop.zip_members import Member, list_members

_ZIP = b"PK\x03\x04"
_MAX_DEPTH = 64  # of dicts within dicts
_MAX_VALUES = 2_000_000  # when what is shared is counted each time it is met
_COPIES, _SMALL = 4, 1 << 26  # bytes of all tensors: so many times the file's, plus so many


class _Extent(NamedTuple):
    """The size of a part of the result, all that is shared counted each time."""

    depth: int
    values: int
    bytes: int


def read_torch_file(path: epath.PathLike) -> Any:
    """Reads a file written by `torch.save`, in the format of PyTorch 1.6 or the one before.

    Args:
        path: local or gs://. A local file must not change while the arrays are in use.

    Returns:
        What was saved, mostly nested dicts and lists: every tensor and parameter a
        read-only numpy array, mapped and not read until it is used; float16 as it is, bfloat16 and
        float8 with ml_dtypes' types; numbers, strings, None and tuples as they are, a torch.Size
        as a tuple, a torch.dtype as a numpy one, a torch.device as its name. Attributes of a
        state dict (its modules' versions) are left out. In place of NumPy's scalars and dtypes,
        of argparse's Namespace and of pathlib's paths stands a `Marker` with the name.

    Raises:
        ValueError: there is no file, or it is damaged, of another format or asks for what a file
            of weights does not need; one line that names the file and what was refused.
    """
    return read_mapped(path, torch_values)


def torch_values(buffer: mmap.mmap) -> Any:
    """Returns `read_torch_file` of the map of a file."""
    if buffer[: len(_ZIP)] == _ZIP:
        value = _zip_values(buffer)
    elif is_legacy(buffer):
        value = legacy_values(buffer)
    else:
        raise ValueError(
            "not a zip as PyTorch writes it since version 1.6, nor what it wrote before"
        )
    if isinstance(value, Marker):
        raise refused_name(*value.name.rsplit(".", 1))
    size = _measure(value, 0, {}).bytes
    if size > _COPIES * len(buffer) + _SMALL:
        raise ValueError(
            f"its tensors overlap: {size} bytes if copied, from {len(buffer)} in the file"
        )
    return value


def is_torch(buffer: mmap.mmap) -> bool:
    """Whether a file begins as one of `torch.save` does."""
    return buffer[: len(_ZIP)] == _ZIP or is_legacy(buffer)


def _zip_values(buffer: mmap.mmap) -> Any:
    """Returns the argument of `torch.save`, from a zip."""
    members = list_members(buffer)
    root = _root(buffer, members)
    start, length = members[f"{root}/data.pkl"]
    if length > MAX_PICKLE:
        raise ValueError(f"its pickle has {length} bytes, at most {MAX_PICKLE}")
    return run_pickle(
        buffer[start : start + length],
        functools.partial(find_name, buffer),
        functools.partial(_load, members, root),
    )


def _root(buffer: mmap.mmap, members: dict[str, Member]) -> str:
    """The folder that holds everything: named after the file in most versions."""
    roots = [name.removesuffix("/data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0]:
        raise ValueError("a zip without one data.pkl in its folder: not written by torch.save")
    (root,) = roots
    if f"{root}/constants.pkl" in members:
        raise ValueError("a TorchScript program: save the module's state_dict() instead")
    order = members.get(f"{root}/byteorder", Member(0, 0))
    byte_order = buffer[order.start : order.start + min(order.length, 16)]
    if byte_order not in (b"", b"little"):
        raise ValueError(f"its byte order is {shown(byte_order.decode('latin-1'))}, not little")
    return root


def _load(members: dict[str, Member], root: str, reference: Any) -> Storage:
    """The storage that a reference out of the pickle means."""
    match reference:
        case ("storage", StorageType() as kind, str(key), str(), int(count)):
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
    return Storage(member, kind.dtype)


def _measure(value: Any, depth: int, known: dict[int, _Extent | None]) -> _Extent:
    """Returns the extent of a part of the result; each container is looked into once.

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
        case Marker(name):
            return _Extent(0, 1, len(name))
        case Builder(name, is_inert=True):
            raise refused_name(*name.rsplit(".", 1))
        case Builder(name) | StorageType(name):
            raise ValueError(f"its pickle leaves {name} as it is, which is not a value")
        case Storage():
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
