"""Convolutions and dense layers over feature maps, whose weight gradients suit the platform.

With taps t of a kernel W and x_t the map shifted by a tap,

    y = Σ_t x_t W_t,     ∂L/∂W_t = x_tᵀ (∂L/∂y)     (1)

XLA's CPU backend computes the weight gradient as a convolution with a window as large as the map,
three to seven times slower than the matrix products of Eq. 1. Only the tangent in W is written as
Eq. 1, which reverse mode transposes, so forward and second derivatives and `vmap` stay JAX's own.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero


def conv(x: jax.Array, kernel: jax.Array, before: tuple[int, int] | None = None) -> jax.Array:
    """Convolution with stride 1 that keeps the size; zeros lie beyond the borders.

    Of size 1 it is a matrix product, whose derivatives are JAX's own.

    Args:
        x: [batch, h, w, c].
        kernel: [k, k, c, d], of the type of `x`.
        before: taps above and left of a pixel, each below k; None: (k - 1) / 2 of an odd k.

    Returns:
        [batch, h, w, d].
    """
    size, channels = kernel.shape[0], x.shape[-1]
    if size == 1:
        # Over [positions, c]: of four axes, the weight gradient would transpose a map first.
        return (x.reshape(-1, channels) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)
    return _conv(x, kernel, (size // 2, size // 2) if before is None else before)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    return _plain(x, kernel, before)


def _plain(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), _borders(kernel, before), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _of_transposed(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    """`_plain` of a kernel [k, k, d, c].

    As a map of x its transpose is a convolution with the kernel [k, k, in, out]. XLA's CPU backend
    has a fast one of no other layout, and outside of loops alone it brings a kernel into that.
    """
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), _borders(kernel, before), dimension_numbers=("NHWC", "HWOI", "NHWC")
    )


def _borders(kernel: jax.Array, before: tuple[int, int]) -> list[tuple[int, int]]:
    """Rows of zeros above and below, columns left and right."""
    return [(first, len(kernel) - 1 - first) for first in before]


def _conv_jvp(before, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _plain(x, kernel, before)  # not `conv`, unknown to policies of rematerialisation
    dy = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        dy = _of_transposed(dx, kernel.swapaxes(2, 3), before)
    if not isinstance(dkernel, SymbolicZero):
        by_taps, plain = (functools.partial(f, before=before) for f in (_by_taps, _plain))
        by_kernel = jax.lax.platform_dependent(x, dkernel, cpu=by_taps, default=plain)
        dy = by_kernel if isinstance(dx, SymbolicZero) else dy + by_kernel
    return y, dy


_conv.defjvp(_conv_jvp, symbolic_zeros=True)


def _by_taps(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    """`_plain` by Eq. 1, a tap at a time: nine shifted copies at once would not fit a cache."""
    size, _, channels, features = kernel.shape
    padded = jnp.pad(x, ((0, 0), *_borders(kernel, before), (0, 0)))
    # Features before channels, and features first in the sum: transposed, these are products of
    # [d, positions] with [positions, c], the fastest of the four orders on a CPU.
    taps = kernel.swapaxes(2, 3).reshape(size * size, features, channels)
    # In two halves of the batch: Eigen uses cores badly where a product is small and its sum long.
    parts = 2 if x.shape[0] % 2 == 0 else 1
    rows, columns = np.divmod(np.arange(size * size, dtype=np.int32), size)

    # checkpoint: else the shifted copies would be kept for the way back; in a loop it needs no
    # barriers
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def add(total, tap):
        weights, row, column = tap
        zero = jnp.zeros_like(row)
        shifted = jax.lax.dynamic_slice(padded, (zero, row, column, zero), x.shape)
        weights = jnp.stack([weights] * parts)  # not broadcast: transposed, it is left to YNNPACK
        shifted = shifted.reshape(parts, -1, channels)
        return total + jnp.einsum("gdc,gpc->gdp", weights, shifted), None

    total = jnp.zeros((parts, features, x.size // channels // parts), x.dtype)
    total, _ = jax.lax.scan(add, total, (taps, rows, columns))
    return total.swapaxes(1, 2).reshape(*x.shape[:3], features)


def upsample(x: jax.Array) -> jax.Array:
    """Nearest-neighbour doubling, [batch, h, w, c] -> [batch, 2h, 2w, c]."""
    batch, height, width, channels = x.shape
    shape = (batch, height, 2, width, 2, channels)
    x = jnp.broadcast_to(x[:, :, None, :, None, :], shape)
    return x.reshape(batch, 2 * height, 2 * width, channels)


def conv_of_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """conv(upsample(x), kernel), on a CPU with 4/9 of its products.

    Args:
        x: [batch, h, w, c].
        kernel: [3, 3, c, d], of the type of `x`.

    Returns:
        [batch, 2h, 2w, d].
    """
    return jax.lax.platform_dependent(
        x, kernel, cpu=_by_quarters, default=lambda x, kernel: conv(upsample(x), kernel)
    )


def _by_quarters(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Each place in the 2x2 square of a pixel has a kernel of its own, since taps share pixels."""
    batch, height, width, _ = x.shape
    quarters = [
        [conv(x, taps.swapaxes(0, 1), (above, left)) for left, taps in _shared(row.swapaxes(0, 1))]
        for above, row in _shared(kernel)
    ]
    y = jnp.stack([jnp.stack(row, axis=3) for row in quarters], axis=2)
    return y.reshape(batch, 2 * height, 2 * width, -1)


def _shared(taps: jax.Array) -> tuple[tuple[int, jax.Array], ...]:
    """Along the first axis, for the first and the second of two equal pixels in a row.

    Returns:
        (taps before the pixel, the two taps): the first of the pair reaches the pixel before it
        by one tap, the second the pixel behind it.
    """
    first = jnp.stack([taps[0], taps[1] + taps[2]])
    second = jnp.stack([taps[0] + taps[1], taps[2]])
    return (1, first), (0, second)


def flax_conv(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """`conv` as `nn.Conv(conv_general_dilated=…)` calls it, which pads and strides as it does."""
    del args, kwargs
    return conv(x, kernel)


def flax_conv_of_upsampled(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """`conv_of_upsampled` as `nn.Conv(conv_general_dilated=…)` calls it."""
    del args, kwargs
    return conv_of_upsampled(x, kernel)


def flax_dense(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """A dense layer on the channels of [batch, h, w, c], as `nn.Dense(dot_general=…)` calls it."""
    del args, kwargs
    return conv(x, kernel[None, None])
