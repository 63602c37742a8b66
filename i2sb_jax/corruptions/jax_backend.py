"""The backend functions in JAX; `backend.py` says what each one means.

All of it traces: `jit`, `vmap` and `grad` see pure functions. Products are taken in full float32
("highest"), since TPUs and recent GPUs would otherwise round the images to bfloat16 or TF32.
"""

import functools

import jax
import jax.numpy as jnp
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


def switch(choice, branches):
    """branches[choice](); the others are not computed."""
    return jax.lax.switch(choice, branches)
