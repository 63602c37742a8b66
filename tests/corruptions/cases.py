"""The ways to run a corruption that every test of a value goes through."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.corruptions import Corrupted, make_corruption

DETERMINISTIC = (
    "sr4x-pool",
    "sr4x-bicubic",
    "jpeg-1",
    "jpeg-5",
    "jpeg-10",
    "jpeg-75",
    "jpeg-100",
    "blur-uni",
    "blur-gauss",
    "blur-uni-exact",
    "blur-gauss-exact",
)
INPAINTING = ("inpaint-center", "inpaint-freeform1020", "inpaint-freeform2030")
JPEG_FILES = ("jpeg-file", "jpeg-file-10-10", "jpeg-told")
PHOTOGRAPHIC = ("blur-photo", "noise", "noise-float", "sr2x-photo", "sr4x-photo", "real")
RANDOM = (*INPAINTING, *JPEG_FILES, *PHOTOGRAPHIC, "mixture", "colorize")
EVERY = (*DETERMINISTIC, *RANDOM)
# One of each operator, for the tests that compile; names of one operator differ in constants only.
KINDS = (
    "sr4x-bicubic",
    "jpeg-10",
    "blur-uni",
    "blur-gauss-exact",
    "inpaint-center",
    "inpaint-freeform1020",
    "jpeg-file",
    "jpeg-told",
    "blur-photo",
    "noise",
    "noise-float",
    "sr2x-photo",
    "real",
    "mixture",
    "colorize",
)

BACKENDS = ("numpy", "jax", "jit", "vmap", "tf.data", "tf.data of one")

cached_corruption = functools.cache(make_corruption)


def import_tensorflow():
    return pytest.importorskip("tensorflow")


def degrade(backend, corruption, images):
    """`corruption.degrade` on a NumPy batch through one backend, image i with index i."""
    index = np.arange(len(images), dtype=np.int32)

    def one(image, number):
        return corruption.degrade(image[None], index=number[None])[0]

    def batch(images, index):
        return corruption.degrade(images, index=index)

    return np.asarray(_dispatch(backend, batch, one, images, index))


def corrupt(backend, corruption, seed, images, index=None):
    """A call on a NumPy batch through one backend; NumPy results."""
    count = len(images)
    rest = () if index is None else (np.asarray(index, np.int32),)
    batch, one = _callers(corruption)
    if backend == "numpy":
        result = batch(np.random.default_rng(seed), images, *rest)
    elif backend == "jax":
        result = batch(jax.random.key(seed), jnp.asarray(images), *rest)
    elif backend == "jit":
        result = _jitted(batch)(jax.random.key(seed), images, *rest)
    elif backend == "vmap":
        keys = jax.random.split(jax.random.key(seed), count)
        result = _jitted(_vmapped(one))(keys, images, *rest)
    else:
        seeds = np.stack([np.full(count, seed), np.arange(count)], 1).astype(np.int32)
        return _tf_data(
            backend,
            batch,
            lambda seed, *elements: one(seed[None], *elements),
            seeds,
            images,
            *rest,
        )
    kind = np.ndarray if backend == "numpy" else jax.Array
    assert all(part is None or isinstance(part, kind) for part in result)
    return Corrupted(*(None if part is None else np.asarray(part) for part in result))


@functools.cache  # the same functions again, so that JAX compiles them once
def _callers(corruption):
    def batch(key, images, *index):
        return corruption(key, images, index=index[0] if index else None)

    def one(key, image, *index):
        result = batch(key, image[None], *(number[None] for number in index))
        return Corrupted(*(None if part is None else part[0] for part in result))

    return batch, one


_jitted = functools.cache(jax.jit)
_vmapped = functools.cache(jax.vmap)


def _dispatch(backend, batch, one, *arrays):
    if backend == "numpy":
        return batch(*arrays)
    if backend == "jax":
        return batch(*map(jnp.asarray, arrays))
    if backend == "jit":
        return jax.jit(batch)(*map(jnp.asarray, arrays))
    if backend == "vmap":
        return jax.vmap(one)(*map(jnp.asarray, arrays))
    return _tf_data(backend, batch, one, *arrays)


def _tf_data(backend, batch, one, *arrays):
    tf = import_tensorflow()
    fill = {}

    def packed(fn):  # tf.data knows no None
        def mapped(*elements):
            result = fn(*elements)
            if not isinstance(result, Corrupted):
                return result
            fill["missing"] = {
                name: None for name, part in result._asdict().items() if part is None
            }
            return {name: part for name, part in result._asdict().items() if part is not None}

        return mapped

    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    if backend == "tf.data of one":
        dataset = dataset.map(packed(one)).batch(len(arrays[0]))
    else:
        dataset = dataset.batch(len(arrays[0])).map(packed(batch))
    (result,) = dataset.as_numpy_iterator()
    return Corrupted(**result, **fill["missing"]) if fill else result
