"""Group normalisation, optionally modulated by the time embedding.

Over the positions of an image and the channels of a group,

    y = (x - mean) / sqrt(var + 1e-5) · weight + bias,     z = y · (1 + scale) + shift     (1)

z being ADM's adaptive group normalisation (arXiv 2105.05233, section 3.1).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from i2sb_jax.models.cpu import norm as cpu
from i2sb_jax.models.cpu import on_cpu

EPSILON = np.float32(1e-5)
MOMENTS = "moments"  # kept for the backward pass, beside the map that is normalised


def group_moments(x: jax.Array, groups: int) -> tuple[jax.Array, jax.Array]:
    """Computes mean and variance over the positions and over the channels of a group.

    Positions are reduced first, a channel at a time, which keeps channels contiguous (faster on
    a CPU than reducing [batch, h·w, groups, c/groups]); channels are then merged by
    the law of total variance, var = E[var_c] + var[mean_c]. Nothing cancels, as it would in
    E[x²] - mean².

    Args:
        x: float32 [batch, h, w, c].
        groups: divides c.

    Returns:
        Mean and variance, each float32 [batch, c], equal within a group.
    """
    mean = x.mean(axis=(1, 2))
    var = jnp.square(x - mean[:, None, None, :]).mean(axis=(1, 2))
    group_mean = _group_average(mean, groups)
    return group_mean, _group_average(var + jnp.square(mean - group_mean), groups)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def normalize(x: jax.Array, gain: jax.Array, offset: jax.Array, groups: int) -> jax.Array:
    """Computes (x - mean) / sqrt(var + 1e-5) · gain + offset, either half of Eq. 1.

    Args:
        x: [batch, h, w, c].
        gain: float32 [batch, c].
        offset: float32 [batch, c].
        groups: divides c.

    Returns:
        float32 [batch, h, w, c].
    """
    return _standardize(x, groups)[0] * _over_map(gain) + _over_map(offset)


def _standardize(x: jax.Array, groups: int) -> tuple[jax.Array, jax.Array]:
    """Returns the map of mean 0 and variance 1, and its [batch, c] divisor's reciprocal."""
    wide = x.astype(jnp.float32)
    mean, var = group_moments(wide, groups)
    factor = checkpoint_name(jax.lax.rsqrt(var + EPSILON), MOMENTS)
    return (wide - _over_map(checkpoint_name(mean, MOMENTS))) * _over_map(factor), factor


@normalize.defjvp
def _normalize_jvp(groups, primals, tangents):
    """Computes the tangent. With y of mean 0 and variance 1 and E the mean over a group,

        dz = (dx - E[dx] - y E[y dx]) / sqrt(var + 1e-5) · gain + y dgain + doffset

    The factor of y and the constant term are collected over [batch, c]: transposed, two sums over
    the map serve x, gain and offset, where differentiating the moments leads to six.
    """
    (x, gain, offset), (dx, dgain, doffset) = primals, tangents
    y, factor = _standardize(x, groups)
    dx, factor = dx.astype(jnp.float32), factor * gain
    mean, slope = (_group_average(z.mean(axis=(1, 2)), groups) for z in (dx, y * dx))
    slope, mean = dgain - slope * factor, doffset - mean * factor
    dz = dx * _over_map(factor) + y * _over_map(slope) + _over_map(mean)
    return y * _over_map(gain) + _over_map(offset), dz


def _over_map(x: jax.Array) -> jax.Array:
    return x[:, None, None, :]


def _group_average(x: jax.Array, groups: int) -> jax.Array:
    by_product = functools.partial(cpu.group_average, groups=groups)
    return on_cpu(by_product, functools.partial(group_average, groups=groups))(x)


def group_average(x: jax.Array, groups: int) -> jax.Array:
    """Returns each group's mean in place of its channels: [batch, c] -> [batch, c]."""
    means = x.reshape(x.shape[0], groups, -1).mean(axis=-1, keepdims=True)
    return jnp.broadcast_to(means, (x.shape[0], groups, x.shape[1] // groups)).reshape(x.shape)


class GroupNorm(nn.Module):
    """[batch, h, w, c] -> [batch, h, w, c], of the input's type; float32 inside (Eq. 1).

    Attributes:
        groups: divides c.
        activation: float32 -> float32, applied to the result element by element.
    """

    groups: int
    activation: Callable[[jax.Array], jax.Array] = lambda y: y

    @nn.compact
    def __call__(
        self, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None
    ) -> jax.Array:
        """Normalises.

        Args:
            x: [batch, h, w, c].
            scale: float32 [batch, c], or None for y of Eq. 1.
            shift: float32 [batch, c], given exactly when `scale` is.
        """
        channels = x.shape[-1]
        weight = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        gain, offset = (jnp.broadcast_to(each, (x.shape[0], channels)) for each in (weight, bias))
        if scale is not None:
            # Folded into the [batch, c] coefficients: the image is touched once.
            factor = 1 + scale
            gain, offset = gain * factor, offset * factor + shift

        return _modulated(x, gain, offset, self.groups, self.activation)


class Unnormalized(nn.Module):
    """`GroupNorm` without statistics, weight and bias: x or x · (1 + scale) + shift, activated.

    Attributes:
        activation: applied to the result element by element, in float32.
    """

    activation: Callable[[jax.Array], jax.Array] = lambda y: y

    @nn.compact
    def __call__(
        self, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None
    ) -> jax.Array:
        """Modulates; arguments as of `GroupNorm`."""
        y = x.astype(jnp.float32)
        if scale is not None:
            y = y * _over_map(1 + scale) + _over_map(shift)
        return self.activation(y).astype(x.dtype)


def make_norm(
    groups: int | None, activation: Callable[[jax.Array], jax.Array] = lambda y: y, *, name: str
) -> nn.Module:
    """Returns group normalisation, or `Unnormalized` where there are no groups."""
    if groups is None:
        return Unnormalized(activation, name=name)
    return GroupNorm(groups, activation, name=name)


# Traced once for all blocks of a shape, which halves the tracing of a training step; inlined, the
# program is the same.
@functools.partial(jax.jit, static_argnums=(3, 4), inline=True)
def _modulated(x, gain, offset, groups, activation):
    # From x and its moments the rest is cheap to compute again, while a map takes memory and time
    # to store.
    @functools.partial(
        jax.checkpoint, policy=jax.checkpoint_policies.save_only_these_names(MOMENTS)
    )
    def modulated(x, gain, offset):
        return activation(normalize(x, gain, offset, groups)).astype(x.dtype)

    return modulated(x, gain, offset)
