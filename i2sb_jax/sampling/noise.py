"""White noise on an endless grid of pixels, of which any window can be drawn by itself.

A large picture is sampled window by window. Where windows overlap they must see the same noise, or
blending them would average two different samples into a blur. So the noise of a pixel is a function
of the key and the pixel's place, drawn in blocks of 16×16. The key is a function of the picture's
name, so that the same picture meets the same noise in any company.
"""

import zlib

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.types import Array, PRNGKey

BLOCK = 16  # pixels; windows start at multiples of it
# what a picture's keys are for: the sampler's noise, and that of X_1 in holes or over a condition
SAMPLER, START = 0, 1


def picture_key(seed: int, name: str, *, use: int = SAMPLER, sample: int = 0) -> np.ndarray:
    """Key data, uint32 [2], from the seed, what it is for, the picture's name and the sample."""
    key = key_of_hash(seed, np.uint32(name_hash(name)), use=use, sample=sample)
    return np.asarray(jax.random.key_data(key))


def key_of_hash(seed: int, name_hash: Array, *, use: int = SAMPLER, sample: int = 0) -> PRNGKey:
    """Returns `picture_key` of a name's uint32 hash, which may be traced."""
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
