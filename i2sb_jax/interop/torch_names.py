"""Meanings of the names in PyTorch's pickles: a closed list, and none of them is PyTorch's own.

Each function here takes what a pickle calls it with, checks all of it and makes plain data: a dict,
a tuple, a text, or an array that is a view of the file.
"""

import functools
import itertools
import mmap
from dataclasses import dataclass
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from i2sb_jax.interop.mapped import array_view, shown
from i2sb_jax.interop.torch_pickle import Builder, Marker, fill_dict
from i2sb_jax.interop.zip_members import Member

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
# What trainers save beside weights. Such a name may be called, and gives a marker, whatever it is
# called with: nothing of it is built. Bytes, those of NumPy's scalars, are text and a codec in
# protocol 2.
_INERT = frozenset(
    (
        *("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *("_codecs.encode", "argparse.Namespace"),
        *(
            f"{module}.{kind}{flavour}Path"
            for module in ("pathlib", "pathlib._local")
            for kind in ("", "Pure")
            for flavour in ("", "Posix", "Windows")
        ),
    )
)
_UNSUPPORTED = {
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without data",
}


class StorageType(NamedTuple):
    """A name such as torch.FloatStorage."""

    name: str
    dtype: np.dtype


@dataclass(frozen=True, eq=False)
class Storage:
    """Bytes in the file, and what they are said to be."""

    member: Member
    dtype: np.dtype


def find_name(buffer: mmap.mmap, module: str, name: str) -> Any:
    """Returns the meaning of a name in a pickle.

    Args:
        buffer: the file, which the tensors are views of.
        module: the first part of the name.
        name: the second.

    Returns:
        A Builder, a StorageType or a numpy dtype.

    Raises:
        ValueError: the name is not on the list.
    """
    full = f"{module}.{name}"
    if module == "torch" and name in _STORAGES:
        return StorageType(full, _DTYPES[_STORAGES[name]])
    if module == "torch" and name in _DTYPES:
        return _DTYPES[name]
    match full:
        case "collections.OrderedDict":
            return Builder(full, _ordered_dict)
        case (
            "torch._utils._rebuild_tensor"
            | "torch._utils._rebuild_tensor_v2"
            | "torch._utils._rebuild_tensor_v3"
        ):
            return Builder(full, functools.partial(_tensor, buffer, full))
        case "torch._utils._rebuild_parameter" | "torch.nn.parameter.Parameter":
            return Builder(full, _parameter)
        case "torch.storage.UntypedStorage":
            return StorageType(full, _DTYPES["uint8"])
        case "torch.Size":
            return Builder(full, _size)
        case "torch.device":
            return Builder(full, _device)
    if full in _INERT:
        return Builder(full, functools.partial(_marker, full), is_inert=True)
    if full in _UNSUPPORTED:
        raise ValueError(f"it holds {_UNSUPPORTED[full]} ({full})")
    raise refused_name(module, name)


def refused_name(module: str, name: str) -> ValueError:
    """The error for a name that is not on the list."""
    return ValueError(
        f"it asks for {shown(f'{module}.{name}')}, not one of the names a file of weights may use; "
        "nothing of it was run"
    )


def _marker(full: str, arguments: tuple[Any, ...]) -> Marker:
    """Stands for what a call would have made. A codec makes nothing but bytes of a text."""
    if full == "_codecs.encode":
        match arguments:
            case (str(), "latin1"):
                pass
            case _:
                raise refused_name(*full.rsplit(".", 1))
    return Marker(full)


def _ordered_dict(arguments: tuple[Any, ...]) -> dict:
    """An empty dict; under Python 2 one of the [key, value] of a list.

    The list is spoilt, so that whatever meets it again is refused: a short pickle could make many
    large dicts of one.
    """
    made: dict = {}
    match arguments:
        case ():
            return made
        case (list(pairs),) if all(type(pair) is list and len(pair) == 2 for pair in pairs):
            fill_dict(made, list(itertools.chain.from_iterable(pairs)))
            pairs[:] = [Builder("collections.OrderedDict", _ordered_dict)]
            return made
    raise ValueError("its pickle makes an OrderedDict from something")


def _tensor(buffer: mmap.mmap, full: str, arguments: tuple[Any, ...]) -> np.ndarray:
    """A tensor: (storage, offset, shape, strides, requires_grad, hooks[, dtype][, flags])."""
    if full.endswith("_rebuild_tensor"):
        arguments = (*arguments, False, None)  # before version 0.4 tensors had no gradient
    match arguments:
        case (Storage() as storage, offset, tuple(shape), tuple(strides), _, _, *rest):
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
    """A parameter: (data, requires_grad, hooks), or before version 0.4 (data[, requires_grad])."""
    match arguments:
        case (
            (np.ndarray() as data,)
            | (np.ndarray() as data, bool())
            | (np.ndarray() as data, bool(), None | dict())
        ):
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
