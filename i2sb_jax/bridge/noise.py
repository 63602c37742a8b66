"""White noise on an endless grid of pixels, of which any window can be drawn by itself.

A large picture is sampled window by window. Where windows overlap they must see the same noise, or
blending them would average two different samples into a blur. So the noise of a pixel is a function
of the key and the pixel's place, drawn in blocks of 16×16.
"""

import jax
import jax.numpy as jnp

from i2sb_jax.types import Array, PRNGKey

BLOCK = 16  # pixels; windows start at multiples of it


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
