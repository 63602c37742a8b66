"""Convolutions and dense layers, as Flax's modules call them."""

from typing import Any

import jax
import jax.numpy as jnp

from i2sb_jax.models.cpu import conv as cpu
from i2sb_jax.models.cpu import on_cpu


def conv(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves with stride 1 and keeps the size; zeros lie beyond the borders.

    Args:
        x: [batch, h, w, c].
        kernel: [k, k, c, d] of odd k, of the type of `x`.

    Returns:
        [batch, h, w, d].
    """
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def upsample(x: jax.Array) -> jax.Array:
    """Doubles a map by nearest neighbour, [batch, h, w, c] -> [batch, 2h, 2w, c]."""
    batch, height, width, channels = x.shape
    shape = (batch, height, 2, width, 2, channels)
    x = jnp.broadcast_to(x[:, :, None, :, None, :], shape)
    return x.reshape(batch, 2 * height, 2 * width, channels)


def conv_of_upsampled(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves the doubled map: [batch, h, w, c] with [3, 3, c, d] -> [batch, 2h, 2w, d]."""
    return conv(upsample(x), kernel)


def dense(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Multiplies the channels: [..., c] with [c, d] -> [..., d]."""
    return x @ kernel


def flax_conv(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """`conv` as `nn.Conv(conv_general_dilated=…)` calls it, which pads and strides as it does."""
    del args, kwargs
    return on_cpu(cpu.conv, conv)(x, kernel)


def flax_conv_of_upsampled(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """`conv_of_upsampled` as `nn.Conv(conv_general_dilated=…)` calls it."""
    del args, kwargs
    return on_cpu(cpu.conv_of_upsampled, conv_of_upsampled)(x, kernel)


def flax_conv1x1(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """`dense` as `nn.Conv(conv_general_dilated=…)` calls a convolution of [1, 1, c, d]."""
    del args, kwargs
    return flax_dense(x, kernel[0, 0])


def flax_dense(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
    """`dense` as `nn.Dense(dot_general=…)` calls it."""
    del args, kwargs
    return on_cpu(cpu.dense, dense)(x, kernel)
