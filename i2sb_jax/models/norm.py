"""Group normalisation, optionally modulated by the time embedding.

Over the positions of an image and the channels of a group,

    y = (x - mean) / sqrt(var + 1e-5) · weight + bias,     z = y · (1 + scale) + shift     (1)

z being ADM's adaptive group normalisation (arXiv 2105.05233, section 3.1).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

EPSILON = np.float32(1e-5)


def group_moments(x: jax.Array, groups: int) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over the positions and over the channels of a group.

    Positions are reduced first, a channel at a time, which keeps channels contiguous (faster on
    a CPU than reducing [batch, h·w, groups, c/groups]); channels are then merged by
    the law of total variance, var = E[var_c] + var[mean_c]. Nothing cancels, as it would in
    E[x²] - mean².

    Args:
        x: float32 [batch, h, w, c].
        groups: divides c.

    Returns:
        Mean and variance, each float32 [batch, 1, 1, c], equal within a group.
    """
    batch, _, _, channels = x.shape
    grouped = (batch, 1, groups, channels // groups)
    mean = x.mean(axis=(1, 2), keepdims=True)
    var = jnp.square(x - mean).mean(axis=(1, 2), keepdims=True).reshape(grouped)
    mean = mean.reshape(grouped)
    group_mean = mean.mean(axis=-1, keepdims=True)
    group_var = (var + jnp.square(mean - group_mean)).mean(axis=-1, keepdims=True)

    def spread(moment: jax.Array) -> jax.Array:
        return jnp.broadcast_to(moment, grouped).reshape(batch, 1, 1, channels)

    return spread(group_mean), spread(group_var)


class GroupNorm(nn.Module):
    """[batch, h, w, c] -> [batch, h, w, c], of the input's type; float32 inside (Eq. 1).

    Attributes:
        groups: divides c.
    """

    groups: int

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
        gain, offset = weight[None, None, None, :], bias[None, None, None, :]
        if scale is not None:
            # Folded into the [batch, 1, 1, c] coefficients: the image is touched once.
            factor = 1 + scale[:, None, None, :]
            gain, offset = gain * factor, offset * factor + shift[:, None, None, :]
        wide = x.astype(jnp.float32)
        mean, var = group_moments(wide, self.groups)
        y = (wide - mean) * (jax.lax.rsqrt(var + EPSILON) * gain) + offset
        return y.astype(x.dtype)
