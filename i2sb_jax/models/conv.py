"""Convolutions and dense layers over feature maps, whose gradients suit the platform.

With taps t of a kernel W and x_t the map shifted by a tap,

    y = Σ_t x_t W_t,     ∂L/∂W_t = x_tᵀ (∂L/∂y)     (1)

Both gradients are convolutions, too. XLA's CPU backend has a fast one for the order NHWC, HWIO
alone. Outside of loops it reorders others into that; inside, as in gradients accumulated over
micro-batches, it does not, and they take 25 to 200 times as long. So the tangents are written such
that reverse mode, which transposes them, meets that order. Forward mode does not, and is slow in
loops on a CPU. The weight gradient is fast only if no zeros are left to the convolution to imagine.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
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


def _by_map(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    """`_plain` as a map of x, whose transpose is a convolution NHWC with HWIO."""
    return jax.lax.conv_general_dilated(
        x, kernel.swapaxes(2, 3), (1, 1), _borders(kernel, before),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )  # fmt: skip


def _by_kernel(x: jax.Array, kernel: jax.Array, before: tuple[int, int]) -> jax.Array:
    """`_plain` as a map of the kernel, whose transpose is Eq. 1 as a convolution NHWC with HWIO.

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
    """Rows of zeros above and below, columns left and right."""
    return [(first, len(kernel) - 1 - first) for first in before]


def _conv_jvp(before, primals, tangents):
    (x, kernel), (dx, dkernel) = primals, tangents
    y = _plain(x, kernel, before)  # not `conv`, unknown to policies of rematerialisation
    dy = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        dy = _by_map(dx, kernel, before)
    if not isinstance(dkernel, SymbolicZero):
        change = jax.lax.platform_dependent(
            x,
            dkernel,
            cpu=functools.partial(_by_kernel, before=before),
            default=functools.partial(_plain, before=before),
        )
        dy = change if isinstance(dx, SymbolicZero) else dy + change
    return y, dy


_conv.defjvp(_conv_jvp, symbolic_zeros=True)


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
