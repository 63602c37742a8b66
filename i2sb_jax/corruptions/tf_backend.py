"""The backend functions in TensorFlow; `backend.py` says what each one means.

The only module of the operators that imports TensorFlow. All of it traces inside
`tf.data.Dataset.map`, keeps static shapes, and draws only stateless random numbers.
"""

import functools

import tensorflow as tf
from tensorflow import (
    abs,
    cast,
    concat,
    cos,
    cumsum,
    floor,
    matmul,
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
    "asarray",
    "batch_positions",
    "cast",
    "concat",
    "cos",
    "cumsum",
    "floor",
    "image_keys",
    "map_exact",
    "map_on_host",
    "matmul",
    "matrix_transpose",
    "minimum",
    "normal",
    "repeat",
    "reshape",
    "round",
    "sin",
    "stack",
    "switch_images",
    "take",
    "uniform",
    "where",
    "zeros_like",
]

_PHILOX = "philox"  # named, for the default may differ between machines

asarray = tf.convert_to_tensor
matrix_transpose = tf.linalg.matrix_transpose


def take(x, indices):
    """x[index] along axis 0."""
    # Lifted out of the graph being traced: 10,000 masks inside a GraphDef would be copied around.
    with tf.init_scope():
        table = tf.convert_to_tensor(x)
    return tf.gather(table, indices)


def batch_positions(x):
    """int32 [batch]: 0, 1, 2, …"""
    return tf.range(tf.shape(x)[0])


def image_keys(key, images):
    """Stateless seeds, one an image: int [batch, 2]."""
    if not tf.is_tensor(key) or not key.dtype.is_integer or not _fits(key.shape, images.shape[:1]):
        raise ValueError(
            "tensorflow images need stateless seeds, an int tensor [batch, 2], as key; got "
            + (f"{key.dtype.name} {key.shape}" if tf.is_tensor(key) else type(key).__name__)
        )
    return key


def normal(keys, stream, shape):
    """N(0, 1), float32 [batch, *shape]; each image from its own key."""
    return _draw(tf.random.stateless_normal, keys, stream, shape)


def uniform(keys, stream, shape):
    """U[0, 1), float32 [batch, *shape]; each image from its own key."""
    return _draw(tf.random.stateless_uniform, keys, stream, shape)


def map_exact(fn, elements, shape):
    """`fn(numpy_backend, *element)` on one image at a time; float32 [batch, *shape]."""
    return map_on_host(functools.partial(fn, numpy_backend), elements, shape)


def map_on_host(fn, elements, shape):
    """`fn` in NumPy on one image at a time; float32 [batch, *shape]."""

    def batch(*arrays):
        return numpy_backend.map_on_host(fn, arrays, shape)

    images = tf.numpy_function(batch, elements, tf.float32, stateful=False)
    images.set_shape([elements[0].shape[0], *shape])
    return images


def switch_images(choice, branches, elements, shape):
    """`branches[choice[i]](*elements)` for image i; float32 [batch, *shape]."""
    count = len(branches)
    parts = [tf.dynamic_partition(element, choice, count) for element in elements]
    images = [branch(*mine) for branch, *mine in zip(branches, *parts, strict=True)]
    places = tf.dynamic_partition(batch_positions(choice), choice, count)
    images = tf.dynamic_stitch(places, images)
    images.set_shape([choice.shape[0], *shape])
    return images


def _draw(sampler, keys, stream, shape):
    def one(key):
        seed = tf.random.experimental.stateless_fold_in(key, stream, alg=_PHILOX)
        return sampler(shape, seed, alg=_PHILOX)

    return tf.map_fn(one, keys, fn_output_signature=tf.TensorSpec(shape, tf.float32))


def _fits(shape, batch):
    return shape.is_compatible_with(batch.concatenate([2]))
