"""Safetensors files as numpy, mapped: the header is read and checked, the arrays when used.

The `safetensors` library reads and writes the same format, but through numpy it copies each tensor
into memory, to write all of them at once, and has no bfloat16.
"""

import json
import math
import mmap
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from i2sb_jax.files import open_atomically
from i2sb_jax.interop.mapped import array_view, check_axes, check_name, read_mapped, shown

_MAX_HEADER = 1 << 23  # bytes; a tensor takes about 100. As Python objects up to 30 times that.
_MAX_DIGITS = 20

_DTYPES = {
    **{"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2")},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    **{
        "I64": np.dtype("<i8"),
        "I32": np.dtype("<i4"),
        "I16": np.dtype("<i2"),
        "I8": np.dtype("i1"),
    },
    **{
        "U64": np.dtype("<u8"),
        "U32": np.dtype("<u4"),
        "U16": np.dtype("<u2"),
        "U8": np.dtype("u1"),
    },
    **{"BOOL": np.dtype("?"), "C64": np.dtype("<c8")},
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def read_safetensors_file(path: epath.PathLike) -> dict[str, np.ndarray]:
    """Reads a .safetensors file.

    Args:
        path: local or gs://. A local file must not change while the arrays are in use.

    Returns:
        Name -> read-only array, mapped and not read until it is used.

    Raises:
        ValueError: there is no file, or its header is damaged or does not fit its bytes; one line
            that names the file and what was refused.
    """
    return read_mapped(path, safetensors_values)


def read_safetensors_metadata(path: epath.PathLike) -> dict[str, str]:
    """The texts that a .safetensors file carries beside its tensors; raises as its reader does."""
    return read_mapped(path, lambda buffer: _header(buffer)[2])


def write_safetensors_file(
    path: epath.PathLike,
    tensors: Mapping[str, np.ndarray],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a .safetensors file, all of it or nothing, and one tensor after the other.

    Args:
        path: local or gs://.
        tensors: name -> array, in any layout; they are written in this order.
        metadata: texts to carry along.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, tensor in tensors.items():
        end = position + tensor.nbytes
        kind = _NAMES[tensor.dtype]
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": (position, end)}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin where any number may
    with open_atomically(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


def safetensors_values(buffer: mmap.mmap) -> dict[str, np.ndarray]:
    """Returns `read_safetensors_file` of the map of a file."""
    header, start, _ = _header(buffer)
    size = len(buffer) - start
    spans = sorted((*_span(name, entry), name) for name, entry in header.items())
    position = 0
    for begin, end, name in spans:
        if begin != position:
            what = "overlaps another" if begin < position else "leaves a hole before it"
            raise ValueError(f"tensor {shown(name)} at byte {begin} {what}")
        position = end
    if position != size:
        short = ": it is cut short" if position > size else ""
        raise ValueError(f"its tensors take {shown(position)} bytes, and it has {size}{short}")
    return {name: _array(buffer, start, name, entry, size) for name, entry in header.items()}


def _header(buffer: mmap.mmap) -> tuple[dict[str, Any], int, dict[str, str]]:
    """The header without its metadata, where the bytes of the tensors begin, and the metadata."""
    length = int.from_bytes(buffer[:8], "little")
    if len(buffer) < 8 or length > len(buffer) - 8:
        raise ValueError(
            f"its header is said to have {length} bytes: cut short, or not safetensors"
        )
    if length > _MAX_HEADER:
        raise ValueError(f"its header has {length} bytes, at most {_MAX_HEADER}")
    raw = buffer[8 : 8 + length]
    if raw[:1] != b"{":
        raise ValueError("its header is not JSON: not safetensors")
    try:
        header = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_short_int,
        )
    except RecursionError:
        raise ValueError("its header nests too deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"its header is not JSON: {shown(str(error))}") from None
    metadata = header.pop("__metadata__", {})
    if type(metadata) is not dict or any(type(value) is not str for value in metadata.values()):
        raise ValueError("its __metadata__ is not a table of texts")
    return header, 8 + length, metadata


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"its header has {shown(twice)} twice")
    return table


def _no_constant(name: str) -> None:
    raise ValueError(f"its header has the number {name}")


def _short_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"its header has a number of {len(digits)} digits")
    return int(digits)


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Returns a tensor's first byte and its end, its entry checked on its own."""
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise ValueError(f"tensor {shown(name)} has no dtype, shape and two data_offsets")
    check_name(name)
    check_axes(shape)  # before it is multiplied: a header has room for a million axes
    if len(entry) > 3:
        raise ValueError(f"tensor {shown(name)} has more than dtype, shape and data_offsets")
    if kind not in _DTYPES:
        raise ValueError(f"tensor {shown(name)} has the dtype {shown(kind)}, which is not read")
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"tensor {shown(name)} has a shape that is not whole numbers")
    if not 0 <= begin <= end:
        raise ValueError(f"tensor {shown(name)} has the data_offsets {begin} to {end}")
    size = _DTYPES[kind].itemsize
    if math.prod(shape) * size != end - begin:
        raise ValueError(
            f"tensor {shown(name)} of shape {shown(shape)} and dtype {kind} has {end - begin} bytes"
        )
    return begin, end


def _array(
    buffer: mmap.mmap, start: int, name: str, entry: dict[str, Any], size: int
) -> np.ndarray:
    begin, end = entry["data_offsets"]
    if end > size:
        raise ValueError(
            f"tensor {shown(name)} ends at byte {end} of {size}: the file is cut short"
        )
    return array_view(
        buffer,
        start=start + begin,
        length=end - begin,
        dtype=_DTYPES[entry["dtype"]],
        shape=tuple(entry["shape"]),
    )
