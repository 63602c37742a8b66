"""The backend functions in NumPy; `backend.py` says what each one means."""

import functools
import sys

import numpy as np
from numpy import (
    abs,
    cos,
    cumsum,
    floor,
    matmul,
    matrix_transpose,
    minimum,
    repeat,
    reshape,
    round,
    sin,
    stack,
    sum,
    where,
    zeros_like,
)

__all__ = [
    "abs",
    "asarray",
    "batch_positions",
    "cast",
    "concat",
    "cos",
    "cumsum",
    "floor",
    "image_keys",
    "kth_smallest",
    "map_exact",
    "map_on_host",
    "matmul",
    "matrix_transpose",
    "min_plus",
    "minimum",
    "normal",
    "repeat",
    "reshape",
    "round",
    "sin",
    "stack",
    "sum",
    "switch_images",
    "take",
    "uniform",
    "where",
    "zeros_like",
]

asarray = np.asarray
concat = np.concatenate
take = functools.partial(np.take, axis=0)


def cast(x, dtype):
    """The same values as "float32" or "int32"."""
    return np.asarray(x, dtype)


def batch_positions(x):
    """int32 [batch]: 0, 1, 2, …"""
    return np.arange(x.shape[0], dtype=np.int32)


def image_keys(key, images):
    """A Generator becomes one row of seeds an image: int64 [batch, 2]."""
    if not isinstance(key, np.random.Generator):
        raise ValueError(
            f"numpy images need a numpy.random.Generator as key, got {type(key).__name__}"
        )
    return key.integers(0, 2**63, size=(images.shape[0], 2))


def normal(keys, stream, shape):
    """N(0, 1), float32 [batch, *shape]; each image from its own key."""
    draws = [_generator(key, stream).standard_normal(shape, np.float32) for key in keys]
    return np.stack(draws)


def uniform(keys, stream, shape):
    """U[0, 1), float32 [batch, *shape]; each image from its own key."""
    return np.stack([_generator(key, stream).random(shape, np.float32) for key in keys])


def map_exact(fn, elements, shape):
    """`fn(xp, *element)` on one image at a time; float32 [batch, *shape]."""
    return map_on_host(functools.partial(fn, sys.modules[__name__]), elements, shape)


def min_plus(rows, columns):
    """The least rows[d, y] + columns[d, x] of any d: int32 [d, h] and [d, w] to [h, w]."""
    # As products (row, 1)·(1, column)ᵀ the sums come three times as fast as by broadcasting, and
    # are exact in float32 below 2²⁴; one d after the other, they stay in the processor's cache.
    left, right = (
        np.stack([x, np.ones_like(x)], axis=2).astype(np.float32) for x in (rows, columns)
    )
    right = right[:, :, ::-1].transpose(0, 2, 1)
    nearest = left[0] @ right[0]
    sums = np.empty_like(nearest)
    for row, column in zip(left[1:], right[1:], strict=True):
        np.minimum(nearest, np.matmul(row, column, out=sums), out=nearest)
    return nearest.astype(np.int32)


def kth_smallest(values, k):
    """The k-th smallest of values [n], from k = 1."""
    return np.partition(values, k - 1)[k - 1]


def map_on_host(fn, elements, shape):
    """`fn` on one image at a time; float32 [batch, *shape]."""
    images = np.empty((len(elements[0]), *shape), np.float32)  # of no images too
    for image, *element in zip(images, *elements, strict=True):
        image[...] = fn(*element)
    return images


def switch_images(choice, branches, elements, shape):
    """`branches[choice[i]](*elements)` for image i; float32 [batch, *shape]."""
    images = np.empty((len(choice), *shape), np.float32)
    for number, branch in enumerate(branches):
        if (mine := np.flatnonzero(choice == number)).size:
            images[mine] = branch(*(element[mine] for element in elements))
    return images


def _generator(key, stream):
    return np.random.default_rng([*key.tolist(), stream])
