"""The backend functions in JAX; `backend.py` says what each one means.

All of it traces: `jit`, `vmap` and `grad` see pure functions. Products are taken in full float32
("highest"), since TPUs and recent GPUs would otherwise round the images to bfloat16 or TF32.
"""

import functools
import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.numpy import (
    abs,
    cos,
    cumsum,
    floor,
    min,
    minimum,
    repeat,
    reshape,
    round,
    sin,
    stack,
    where,
    zeros_like,
)

from i2sb_jax.corruptions import numpy_backend

__all__ = [
    "abs",
    "argsort",
    "asarray",
    "batch_positions",
    "cast",
    "concat",
    "cos",
    "cumsum",
    "einsum",
    "floor",
    "image_keys",
    "map_images",
    "map_on_host",
    "min",
    "minimum",
    "normal",
    "repeat",
    "reshape",
    "round",
    "sin",
    "stack",
    "switch",
    "take",
    "uniform",
    "where",
    "zeros_like",
]

argsort = functools.partial(jnp.argsort, stable=True)
asarray = jnp.asarray
concat = jnp.concatenate
einsum = functools.partial(jnp.einsum, precision="highest")


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


def map_images(fn, elements, shape):
    """`fn` on one image at a time; float32 [batch, *shape]."""
    del shape  # JAX sees it in the values
    return jax.lax.map(lambda element: fn(*element), elements)


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
            "a codec that runs on the host has no gradient (its output moves in steps): put "
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
                "a codec inside JAX hangs where the process has one CPU: set NPROC=2 in its "
                "environment, or pass numpy arrays"
            )


def switch(choice, branches):
    """branches[choice](); the others are not computed."""
    return jax.lax.switch(choice, branches)
