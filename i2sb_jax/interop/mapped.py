"""A file of weights as one read-only map: its arrays are views, and none is read until used.

The files come from strangers. Whatever they say about themselves is checked here against the
bytes that are there, in Python's unbounded integers, before numpy sees any of it.
"""

import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from i2sb_jax.files import is_remote

T = TypeVar("T")

_MAX_DIMS = 32  # numpy takes 64
_MAX_BYTES = 1 << 48  # of one array: what an address can reach
_MAX_NAME = 1000
_SHOWN = 80  # characters of a stranger's text in a message


def read_mapped(path: epath.PathLike, read: Callable[[mmap.mmap], T]) -> T:
    """Maps a file and reads it.

    A local file must not be cut or rewritten in place while arrays made from it are in use; one in
    a bucket is copied to a temporary file first.

    Args:
        path: local or gs://.
        read: makes the result from the map; a ValueError of it says in a few words what is wrong.

    Returns:
        What `read` returned.

    Raises:
        ValueError: the file is missing or empty, or `read` refused it; one line that names it.
    """
    source = epath.Path(path)
    if not source.is_file():
        raise ValueError(f"no file of weights at {path}")
    if is_remote(source):
        with tempfile.TemporaryFile() as file, source.open("rb") as remote:
            shutil.copyfileobj(remote, file, 1 << 24)
            file.flush()
            buffer = _map(path, file)
    else:
        with source.open("rb") as file:
            buffer = _map(path, file)
    try:
        return read(buffer)
    except ValueError as error:
        raise ValueError(f"{path} is refused: {error}") from None


def _map(path: epath.PathLike, file: IO[bytes]) -> mmap.mmap:
    if os.fstat(file.fileno()).st_size == 0:
        raise ValueError(f"{path} is empty")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def array_view(
    buffer: mmap.mmap,
    *,
    start: int,
    length: int,
    dtype: np.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
) -> np.ndarray:
    """An array within `length` bytes of the map, read-only; nothing is read or copied.

    Args:
        buffer: the map.
        start: where the bytes begin; `start` and `length` lie within the map.
        length: how many there are.
        dtype: of the array.
        shape: of the array.
        strides: in elements, as PyTorch counts; None: contiguous.
        offset: of the first element, in elements.

    Returns:
        The view.

    Raises:
        ValueError: the array reaches outside of its bytes, or is no array.
    """
    check_axes(shape)  # first: all that follows computes with every one of them
    strides = contiguous_strides(shape) if strides is None else strides
    if len(strides) != len(shape):
        raise ValueError(f"a tensor has {len(shape)} axes and {len(strides)} strides")
    numbers = (*shape, *strides, offset)
    if any(type(number) is not int for number in numbers):
        raise ValueError("a tensor's shape, strides or offset is not made of integers")
    view = f"a tensor of shape {shown(shape)}, strides {shown(strides)}, offset {shown(offset)}"
    if min(numbers) < 0:
        raise ValueError(f"{view} has a negative number")
    if math.prod(max(size, 1) for size in shape) * dtype.itemsize > _MAX_BYTES:
        raise ValueError(f"{view} is larger than any memory")
    if 0 in shape:
        return _read_only(np.empty(shape, dtype))
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if (last + 1) * dtype.itemsize > length:
        raise ValueError(
            f"{view} reaches {shown((last + 1) * dtype.itemsize)} bytes into a storage of {length}"
        )
    # an axis of length one may have any stride, one too large for numpy among them
    steps = tuple(
        step * dtype.itemsize if n > 1 else dtype.itemsize
        for n, step in zip(shape, strides, strict=True)
    )
    begin = start + offset * dtype.itemsize
    return _read_only(np.ndarray(shape, dtype, buffer, begin, steps))


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a C-ordered array, in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def check_axes(shape: Sequence[Any]) -> None:
    """Raises ValueError where a shape has more axes than any tensor of weights."""
    if len(shape) > _MAX_DIMS:
        raise ValueError(f"a tensor has {len(shape)} axes, at most {_MAX_DIMS}")


def float_array(name: str, value: Any) -> np.ndarray:
    """A value of a state dict as an array; ValueError unless it is one, of floats of any width."""
    if not isinstance(value, np.ndarray | jax.Array):
        raise ValueError(f"{name} is no tensor but of type {type(value).__name__}")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"{name} holds {value.dtype}, and weights are floating-point numbers")
    return np.asarray(value)


def check_name(name: str) -> None:
    """Raises ValueError unless a tensor's name can be part of a message, on one line and short."""
    if len(name) > _MAX_NAME or not name.isprintable():
        raise ValueError(
            f"the name {shown(name)} is not printable text of at most {_MAX_NAME} characters"
        )


def shown(value: object) -> str:
    """A stranger's text or number for a message: on one line, and short."""
    text = repr(value[: _SHOWN + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
