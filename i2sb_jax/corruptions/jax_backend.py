"""The backend functions in JAX; `backend.py` says what each one means.

All of it traces: `jit`, `vmap` and `grad` see pure functions. Products are taken in full float32
("highest"), since TPUs and recent GPUs would otherwise round the images to bfloat16 or TF32.
"""

import functools
import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.numpy import (
    abs,
    cos,
    cumsum,
    floor,
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

from i2sb_jax.corruptions import numpy_backend

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

asarray = jnp.asarray
concat = jnp.concatenate
matmul = functools.partial(jnp.matmul, precision="highest")


def take(x, indices):
    """x[index] along axis 0."""
    return jnp.asarray(x)[indices]


def cast(x, dtype):
    """The same values as "float32" or "int32"."""
    return jnp.asarray(x).astype(dtype)


def batch_positions(x):
    """int32 [batch]: 0, 1, 2, …"""
    return jnp.arange(x.shape[0], dtype=jnp.int32)


def image_keys(key, images):
    """One key for the batch becomes one an image: keys [batch]."""
    if not isinstance(key, jax.Array):
        raise ValueError(f"jax images need a jax.random key, got {type(key).__name__}")
    return jax.random.split(key, images.shape[0])


def normal(keys, stream, shape):
    """N(0, 1), float32 [batch, *shape]; each image from its own key."""
    return jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, stream), shape))(keys)


def uniform(keys, stream, shape):
    """U[0, 1), float32 [batch, *shape]; each image from its own key."""
    return jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, stream), shape))(keys)


def map_exact(fn, elements, shape):
    """`fn(xp, *element)` on one image at a time; float32 [batch, *shape]."""
    del shape  # JAX sees it in the values
    return jax.lax.map(lambda element: fn(sys.modules[__name__], *element), elements)


def min_plus(rows, columns):
    """The least rows[d, y] + columns[d, x] of any d: int32 [d, h] and [d, w] to [h, w]."""
    return jnp.min(rows[:, :, None] + columns[:, None, :], axis=0)


def kth_smallest(values, k):
    """The k-th smallest of values [n], from k = 1."""
    return jnp.sort(values)[k - 1]


def map_on_host(fn, elements, shape):
    """`fn` in NumPy on one image at a time; float32 [batch, *shape]."""

    def batch(*arrays):
        # under vmap all arrays come with the same axes in front of the batch
        front = arrays[0].shape[: arrays[0].ndim - elements[0].ndim + 1]
        flat = [
            np.asarray(array).reshape(-1, *element.shape[1:])
            for array, element in zip(arrays, elements, strict=True)
        ]
        return numpy_backend.map_on_host(fn, flat, shape).reshape(*front, *shape)

    result = jax.ShapeDtypeStruct((elements[0].shape[0], *shape), jnp.float32)

    @jax.custom_jvp
    def call(*arrays):
        return jax.pure_callback(batch, result, *arrays, vmap_method="broadcast_all")

    @call.defjvp
    def refuse(primals, tangents):
        del primals, tangents
        raise ValueError(
            "a corruption that runs on the host has no gradient (its output moves in steps): put "
            "jax.lax.stop_gradient around its images"
        )

    _require_second_thread()
    return call(*elements)


def _require_second_thread():
    """Raises where a callback would wait for ever: for copies by the thread that it occupies."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        alone = len(os.sched_getaffinity(0)) == jax.local_device_count() == 1
        if alone and jax.default_backend() == "cpu" and "NPROC" not in os.environ:
            raise ValueError(
                "a corruption on the host hangs inside JAX where the process has one CPU: set "
                "NPROC=2 in its environment, or pass numpy arrays"
            )


def switch_images(choice, branches, elements, shape):
    """`branches[choice[i]](*elements)` for image i; float32 [batch, *shape]."""
    del shape  # JAX sees it in the values

    def one(element):
        choice, *rest = element
        return jax.lax.switch(choice, branches, *(part[None] for part in rest))[0]

    return jax.lax.map(one, (choice, *elements))
