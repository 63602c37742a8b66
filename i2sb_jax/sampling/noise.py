"""White noise on an endless grid of pixels, of which any window can be drawn by itself.

A large picture is sampled window by window. Where windows overlap they must see the same noise, or
blending them would average two different samples into a blur. So the noise of a pixel is a function
of the key and the pixel's place, drawn in blocks of 16×16. The key is a function of the picture's
name, so that the same picture meets the same noise in any company.
"""

import functools
import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.types import Array, PRNGKey

BLOCK = 16  # pixels; windows start at multiples of it
# what a picture's keys are for: the sampler's noise, and that of X_1 in holes or over a condition
SAMPLER, START = 0, 1


def picture_key(seed: int, name: str, *, use: int = SAMPLER, sample: int = 0) -> np.ndarray:
    """Key data, uint32 [2], from the seed, what it is for, the picture's name and the sample."""
    key = _key_of_hash(seed, np.uint32(name_hash(name)), use=use, sample=sample)
    return np.asarray(jax.random.key_data(key))


def picture_keys(seed: int, names: Sequence[str]) -> np.ndarray:
    """Returns the sampler's `picture_key` of each name, uint32 [names, 2]."""
    hashes = np.array([name_hash(name) for name in names], np.uint32)
    return np.asarray(_keys_of_hashes(np.uint32(seed), hashes))


@jax.jit
def _keys_of_hashes(seed: Array, hashes: Array) -> jax.Array:
    return jax.vmap(lambda each: jax.random.key_data(_key_of_hash(seed, each)))(hashes)


def _key_of_hash(seed: int, name_hash: Array, *, use: int = SAMPLER, sample: int = 0) -> PRNGKey:
    key = jax.random.key(seed)
    for number in (use, name_hash, sample):
        key = jax.random.fold_in(key, number)
    return key


def name_hash(name: str) -> int:
    """32 bits of a picture's name, which may be no valid Unicode."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape"))


def window_normal(
    key: PRNGKey, shape: tuple[int, ...], dtype: jnp.dtype, *, origin: Array
) -> jax.Array:
    """N(0, 1) in a window of the grid; like `jax.random.normal` but for where the window lies.

    Args:
        key: random key of the whole grid.
        shape: [..., h, w, c]; leading axes must be of length one.
        dtype: of the result.
        origin: int32 [2], the window's first row and column, multiples of `BLOCK` (not checked:
            it may be traced).

    Returns:
        The noise of that shape. Windows that overlap agree where they do.
    """
    height, width, channels = shape[-3:]
    rows = origin[0] // BLOCK + jnp.arange(-(-height // BLOCK))
    columns = origin[1] // BLOCK + jnp.arange(-(-width // BLOCK))

    def block(row, column):
        block_key = jax.random.fold_in(jax.random.fold_in(key, row), column)
        return jax.random.normal(block_key, (BLOCK, BLOCK, channels), dtype)

    blocks = jax.vmap(lambda row: jax.vmap(lambda column: block(row, column))(columns))(rows)
    plane = blocks.swapaxes(1, 2).reshape(rows.size * BLOCK, columns.size * BLOCK, channels)
    return plane[:height, :width].reshape(shape)


def normal_each(
    keys: PRNGKey, shape: tuple[int, ...], dtype: jnp.dtype, *, origin: Array | None = None
) -> jax.Array:
    """Returns N(0, 1) of a batch, each picture's by its own key; this alone is mapped.

    Args:
        keys: [batch].
        shape: [batch, h, w, c].
        dtype: of the result.
        origin: int32 [batch, 2], where each is a window of a picture, as for `window_normal`.
    """
    if origin is None:
        return jax.vmap(lambda key: jax.random.normal(key, shape[1:], dtype))(keys)
    return jax.vmap(lambda key, origin: window_normal(key, shape[1:], dtype, origin=origin))(
        keys, origin
    )


def start_noise(
    seed: int,
    name: str,
    shape: tuple[int, int, int],
    *,
    sample: int = 0,
    origin: tuple[int, int] = (0, 0),
) -> np.ndarray:
    """Returns N(0, 1) [h, w, c] that X_1 has in holes or over its condition, in a window's place.

    Args:
        seed: of all noise.
        name: of the picture.
        shape: [h, w, c] of the window.
        sample: number of the restoration.
        origin: the window's first row and column, multiples of `BLOCK`.
    """
    key = picture_key(seed, name, use=START, sample=sample)
    return np.asarray(_window_noise(key, np.asarray(origin, np.int32), shape=shape))


@functools.partial(jax.jit, static_argnames="shape")
def _window_noise(key_data: Array, origin: Array, *, shape: tuple[int, int, int]) -> jax.Array:
    return window_normal(jax.random.wrap_key_data(key_data), shape, np.float32, origin=origin)
