"""Convolutions and dense layers over feature maps, with derivatives written for a CPU.

With taps t of a kernel W and x_t the map shifted by a tap,

    y = Σ_t x_t W_t,     ∂L/∂W_t = x_tᵀ (∂L/∂y)     (1)

Both gradients are convolutions, too. XLA's CPU backend has a fast one for the order NHWC, HWIO
alone. Outside of loops it reorders others into that; inside, as in gradients accumulated over
micro-batches, it does not, and they take 25 to 200 times as long. So the tangents are written such
that reverse mode, which transposes them, meets that order. Forward mode does not, and is slow in
loops on a CPU. The weight gradient is fast only if no zeros are left to the convolution to imagine.
"""

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero


def conv(x: jax.Array, kernel: jax.Array, before: tuple[int, int] | None = None) -> jax.Array:
    """Convolves with stride 1 and keeps the size; zeros lie beyond the borders.

    Args:
        x: [batch, h, w, c].
        kernel: [k, k, c, d], of the type of `x`.
        before: taps above and left of a pixel, each below k; None: (k - 1) / 2 of an odd k.

    Returns:
        [batch, h, w, d].
    """
    size = kernel.shape[0]
    return _conv(x, kernel, (size // 2, size // 2) if before is None else before)


def dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies over [positions, c], lest the weight gradient transpose a map of more axes first.

    Args:
        x: [..., c].
        kernel: [c, d], of the type of `x`.

    Returns:
        [..., d].
    """
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], -1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    return _plain(x, kernel, before)


def _plain(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), _borders(kernel, before), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _by_map(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    """Computes `_plain` as a map of x, whose transpose is a convolution NHWC with HWIO."""
    return jax.lax.conv_general_dilated(
        x, kernel.swapaxes(2, 3), (1, 1), _borders(kernel, before),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )  # fmt: skip


def _by_kernel(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    """Computes `_plain` as a map of the kernel, whose transpose is Eq. 1, NHWC with HWIO.

    Its batch are the channels of x, its channels the pictures, its window is as large as ∂L/∂y.
    """
    padded = jnp.pad(x, ((0, 0), *_borders(kernel, before), (0, 0)))
    # barrier: padded and transposed in one pass, a map takes three times as long as in two
    padded = jax.lax.optimization_barrier(padded)
    y = jax.lax.conv_general_dilated(
        padded.transpose(3, 1, 2, 0), kernel.transpose(2, 0, 1, 3), (1, 1), "VALID",
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
    )  # fmt: skip
    return y.transpose(2, 0, 1, 3)


def _borders(kernel: jax.Array, before: tuple[int, int]) -> list[tuple[int, int]]:
    """Returns the rows of zeros above and below, and the columns left and right."""
    return [(first, len(kernel) - 1 - first) for first in before]


def _conv_jvp(before, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _plain(x, kernel, before)  # not `conv`, unknown to policies of rematerialisation
    dy = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        dy = _by_map(dx, kernel, before)
    if not isinstance(dkernel, SymbolicZero):
        change = _by_kernel(x, dkernel, before)
        dy = change if isinstance(dx, SymbolicZero) else dy + change
    return y, dy


_conv.defjvp(_conv_jvp, symbolic_zeros=True)


def conv_of_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves a map doubled by nearest neighbour, with 4/9 of the products.

    Each place in the 2x2 square of a pixel has a kernel of its own, since taps share pixels.

    Args:
        x: [batch, h, w, c].
        kernel: [3, 3, c, d], of the type of `x`.

    Returns:
        [batch, 2h, 2w, d].
    """
    batch, height, width, _ = x.shape
    quarters = [
        [conv(x, taps.swapaxes(0, 1), (above, left)) for left, taps in _shared(row.swapaxes(0, 1))]
        for above, row in _shared(kernel)
    ]
    y = jnp.stack([jnp.stack(row, axis=3) for row in quarters], axis=2)
    return y.reshape(batch, 2 * height, 2 * width, -1)


def _shared(taps: jax.Array) -> tuple[tuple[int, jax.Array], ...]:
    """Sums taps that meet the same pixel, for each of two equal pixels along the first axis.

    Returns:
        (taps before the pixel, the two taps): the first of the pair reaches the pixel before it
        by one tap, the second the pixel behind it.
    """
    first = jnp.stack([taps[0], taps[1] + taps[2]])
    second = jnp.stack([taps[0] + taps[1], taps[2]])
    return (1, first), (0, second)
