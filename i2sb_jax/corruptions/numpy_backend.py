"""The backend functions in NumPy; `backend.py` says what each one means."""

import functools

import numpy as np
from numpy import (
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

argsort = functools.partial(np.argsort, kind="stable")
asarray = np.asarray
einsum = functools.partial(np.einsum, optimize=True)  # without it NumPy does not call BLAS
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


def map_images(fn, elements, shape):
    """`fn` on one image at a time; float32 [batch, *shape]."""
    del shape  # NumPy sees it in the values
    return np.stack([fn(*element) for element in zip(*elements, strict=True)])


def map_on_host(fn, elements, shape):
    """`fn` on one image at a time; float32 [batch, *shape]."""
    images = np.empty((len(elements[0]), *shape), np.float32)  # of no images too
    for image, *element in zip(images, *elements, strict=True):
        image[...] = fn(*element)
    return images


def switch(choice, branches):
    """branches[choice](); the others are not computed."""
    return branches[int(choice)]()


def _generator(key, stream):
    return np.random.default_rng([*key.tolist(), stream])
