"""Convolutions and dense layers over feature maps, whose weight gradients suit the platform.

With taps t of a kernel W and x_t the map shifted by a tap,

    y = Σ_t x_t W_t,     ∂L/∂W_t = x_tᵀ (∂L/∂y)     (1)

XLA's CPU backend computes the weight gradient as a convolution with a window as large as the map,
three to seven times slower than the matrix products of Eq. 1. Only the tangent in W is written as
Eq. 1, which reverse mode transposes, so forward and second derivatives and `vmap` stay JAX's own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero


@jax.custom_jvp
def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution with stride 1 that keeps the size; zeros lie beyond the borders.

    Args:
        x: [batch, h, w, c].
        kernel: [k, k, c, d] with odd k, of the type of `x`.

    Returns:
        [batch, h, w, d].
    """
    return _plain(x, kernel)


def _plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    if kernel.shape[0] == 1:
        return jnp.einsum("bhwc,cd->bhwd", x, kernel[0, 0])
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv_jvp(primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _plain(x, kernel)  # not `conv`, which a policy of rematerialisation would not know
    dy = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        dy = _plain(dx, kernel)
    if not isinstance(dkernel, SymbolicZero):
        by_kernel = jax.lax.platform_dependent(x, dkernel, cpu=_by_taps, default=_plain)
        dy = by_kernel if isinstance(dx, SymbolicZero) else dy + by_kernel
    return y, dy


conv.defjvp(_conv_jvp, symbolic_zeros=True)


def _by_taps(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`conv` by Eq. 1, a tap at a time: nine shifted copies at once would not fit a cache."""
    size, _, channels, features = kernel.shape
    border = (size // 2, size // 2)
    padded = jnp.pad(x, ((0, 0), border, border, (0, 0)))
    # Features before channels, and features first in the sum: transposed, these are products of
    # [d, positions] with [positions, c], the fastest of the four orders on a CPU.
    taps = kernel.swapaxes(2, 3).reshape(size * size, features, channels)
    rows, columns = np.divmod(np.arange(size * size, dtype=np.int32), size)

    @jax.checkpoint  # else the shifted copies would be kept for the way back
    def add(total, tap):
        weights, row, column = tap
        zero = jnp.zeros_like(row)
        shifted = jax.lax.dynamic_slice(padded, (zero, row, column, zero), x.shape)
        return total + jnp.einsum("dc,bhwc->dbhw", weights, shifted), None

    total = jnp.zeros((features, *x.shape[:3]), x.dtype)
    total, _ = jax.lax.scan(add, total, (taps, rows, columns))
    return total.transpose(1, 2, 3, 0)


def flax_conv(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """`conv` as `nn.Conv(conv_general_dilated=…)` calls it, which pads and strides as it does."""
    del args, kwargs
    return conv(x, kernel)


def flax_dense(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """A dense layer on the channels of [batch, h, w, c], as `nn.Dense(dot_general=…)` calls it."""
    del args, kwargs
    return conv(x, kernel[None, None])
