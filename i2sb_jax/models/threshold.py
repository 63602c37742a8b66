r"""Cosine thresholding, a classical repair of noise, whose answers a network weighs.

With C the orthonormal cosine transform of a block of 8×8 pixels, the mean over the blocks of
pixels y at all shifts by multiples of two is

    x̂ = Σ w C⁻¹ [ C y · 1(|C y| > k σ) ] / Σ w,   w = 1 / (coefficients kept)                  (1)

of Coifman and Donoho 1995 with the weights of Guleryuz, IEEE TIP 16 (2007); σ is what the noise
around a block is estimated to be. An orthonormal cosine transform along the channels comes first,
which of colours makes luma and two chromas. A small network learns slowly to leave nothing in what
is smooth, where (1) leaves nothing; given both, it has only to choose at each pixel.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

BLOCK = 8  # pixels
STEP = 2  # pixels between shifts; divides the block, and the places where tiles begin
_SHIFTS = BLOCK // STEP
BEFORE = 8  # pixels on each side of a block that its noise is estimated from, too
_BEHIND = BLOCK + BEFORE  # the same, from where the block begins
RADIUS = BLOCK - 1 + BEFORE  # pixels on each side that a pixel's answer depends on
MEAN_SIZE = np.sqrt(2 / np.pi)  # of the size of a standard normal number


def thresholded(x: jax.Array, factors: tuple[float, ...]) -> jax.Array:
    """Returns each threshold's change of a picture, x̂ - x of (1), borders mirrored.

    Args:
        x: [batch, h, w, c].
        factors: k.

    Returns:
        float32 [batch, h, w, c · len(factors)], the factors of a channel together.
    """
    batch, height, width, channels = x.shape
    x = x.astype(jnp.float32)
    # whole blocks at any shift
    rows, columns = (-(-side // BLOCK) + 1 for side in (height, width))
    after = (BLOCK * count - side for count, side in ((rows, height), (columns, width)))
    beside = ((BEFORE + BLOCK, pixels + _BEHIND) for pixels in after)
    layers = jnp.pad(x @ cosines(channels).T, ((0, 0), *beside, (0, 0)), mode="symmetric")
    noise = block_noise(layers)
    layers = layers[:, BEFORE:-_BEHIND, BEFORE:-_BEHIND]
    to_waves = np.kron(cosines(BLOCK), cosines(BLOCK))
    is_mean = (np.arange(BLOCK**2) == 0)[None, None]
    limits = jnp.asarray(factors, jnp.float32)[None, :, None]
    window = (batch, rows * BLOCK, columns * BLOCK)

    def add(total, shift):
        start = (0, *shift, 0)
        blocks = jax.lax.dynamic_slice(layers, start, (*window, channels))
        blocks = blocks.reshape(batch, rows, BLOCK, columns, BLOCK, channels)
        waves = blocks.transpose(0, 1, 3, 5, 2, 4).reshape(-1, 1, BLOCK**2) @ to_waves.T
        sigma = jax.lax.dynamic_slice(noise, start, (*window, 1))[:, ::BLOCK, ::BLOCK]
        sigma = jnp.broadcast_to(sigma, (batch, rows, columns, channels)).reshape(-1, 1, 1)
        is_kept = (jnp.abs(waves) > limits * sigma) | is_mean
        weight = 1 / jnp.sum(is_kept, axis=-1, keepdims=True, dtype=jnp.float32)
        smooth = jnp.where(is_kept, waves, 0.0) @ to_waves * weight
        total = _add_at(total, _joined(smooth, rows, columns, batch), (*start, 0))
        return total, weight.reshape(batch, rows, columns, channels, len(factors))

    total = jnp.zeros((*layers.shape, len(factors)))
    shifts = jnp.asarray(list(np.ndindex(_SHIFTS, _SHIFTS))) * STEP
    total, weights = jax.lax.scan(add, total, shifts)
    total = total[:, BLOCK : BLOCK + height, BLOCK : BLOCK + width]
    smooth = total / _at_pixels(weights)[:, :height, :width]
    smooth = jnp.einsum("bhwlk,lc->bhwck", smooth, cosines(channels))
    return (smooth - x[..., None]).reshape(batch, height, width, channels * len(factors))


def block_noise(layers: jax.Array) -> jax.Array:
    """Estimates the standard deviation of white noise around the block that begins at a pixel.

    From the mean size of the finest diagonal differences, in the layer where it is least: texture
    hardly has colours.

    Args:
        layers: luma and chromas, [b, 8 + h + 16, 8 + w + 16, c].

    Returns:
        [b, h, w, 1], in the units of `layers`.
    """
    side, x = BEFORE + _BEHIND, layers
    x = jnp.abs(x[:, 1:, 1:] - x[:, 1:, :-1] - x[:, :-1, 1:] + x[:, :-1, :-1]) / 2
    for shape in ((1, side - 1, 1, 1), (1, 1, side - 1, 1)):
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, shape, (1, 1, 1, 1), "VALID") / (side - 1)
    return jnp.min(x[:, :-1, :-1], axis=-1, keepdims=True) / MEAN_SIZE


def _joined(blocks: jax.Array, rows: int, columns: int, batch: int) -> jax.Array:
    """Blocks [b · rows · columns · c, k, 64] as the map that they tile, [b, h, w, c, k]."""
    many = blocks.shape[1]
    blocks = blocks.reshape(batch, rows, columns, -1, many, BLOCK, BLOCK)
    blocks = blocks.transpose(0, 1, 5, 2, 6, 3, 4)
    return blocks.reshape(batch, rows * BLOCK, columns * BLOCK, -1, many)


def _at_pixels(weights: jax.Array) -> jax.Array:
    """The sum of the weights of the blocks that cover a pixel, [b, h, w, c, k], whole blocks.

    Args:
        weights: [shifts, b, rows, columns, c, k], a shift after the other; the first row and column
            of blocks lie before the picture.
    """
    shifts = weights.reshape(_SHIFTS, _SHIFTS, *weights.shape[1:])
    cells = shifts.transpose(2, 3, 0, 4, 1, 5, 6)  # squares of STEP pixels, where blocks begin
    batch, rows, _, columns, *_ = cells.shape
    cells = cells.reshape(batch, rows * _SHIFTS, columns * _SHIFTS, *cells.shape[5:])
    for axis in (1, 2):
        count = cells.shape[axis] - _SHIFTS
        parts = (
            jax.lax.slice_in_dim(cells, i, i + count, axis=axis) for i in range(1, _SHIFTS + 1)
        )
        cells = sum(parts)
    return jnp.repeat(jnp.repeat(cells, STEP, axis=1), STEP, axis=2)


def _add_at(total: jax.Array, part: jax.Array, start: tuple) -> jax.Array:
    before = jax.lax.dynamic_slice(total, start, part.shape)
    return jax.lax.dynamic_update_slice(total, before + part, start)


def cosines(size: int) -> np.ndarray:
    """The orthonormal cosine transform, [size, size]; a row a frequency."""
    return scipy.fft.dct(np.eye(size), axis=0, norm="ortho").astype(np.float32)
