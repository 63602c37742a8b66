"""The backend functions in TensorFlow; `backend.py` says what each one means.

The only module of the operators that imports TensorFlow. All of it traces inside
`tf.data.Dataset.map`, keeps static shapes, and draws only stateless random numbers.
"""

import tensorflow as tf
from tensorflow import (
    abs,
    argsort,
    cast,
    concat,
    cos,
    cumsum,
    floor,
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

_PHILOX = "philox"  # named, for the default may differ between machines

asarray = tf.convert_to_tensor
einsum = tf.einsum
min = tf.reduce_min


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


def map_images(fn, elements, shape):
    """`fn` on one image at a time; float32 [batch, *shape]."""
    signature = tf.TensorSpec(shape, tf.float32)
    return tf.map_fn(lambda element: fn(*element), elements, fn_output_signature=signature)


def map_on_host(fn, elements, shape):
    """`fn` in NumPy on one image at a time; float32 [batch, *shape]."""

    def batch(*arrays):
        return numpy_backend.map_on_host(fn, arrays, shape)

    images = tf.numpy_function(batch, elements, tf.float32, stateful=False)
    images.set_shape([elements[0].shape[0], *shape])
    return images


def switch(choice, branches):
    """branches[choice](); the others are not computed."""
    return tf.switch_case(choice, branches)


def _draw(sampler, keys, stream, shape):
    def one(key):
        seed = tf.random.experimental.stateless_fold_in(key, stream, alg=_PHILOX)
        return sampler(shape, seed, alg=_PHILOX)

    return map_images(one, (keys,), shape)


def _fits(shape, batch):
    return shape.is_compatible_with(batch.concatenate([2]))
