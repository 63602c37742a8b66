"""The residual block of ADM ("BigGAN" up- and downsampling; arXiv 2105.05233, section 3)."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.models.conv import (
    flax_conv,
    flax_conv1x1,
    flax_conv_of_upsampled,
    upsample,
)
from i2sb_jax.models.initializers import fan_in_uniform
from i2sb_jax.models.norm import make_norm


def conv3x3(
    features: int,
    dtype: np.dtype,
    name: str,
    *,
    zero: bool = False,
    conv: type[nn.Module] = nn.Conv,
    computed_by: Callable[..., jax.Array] = flax_conv,
) -> nn.Module:
    """Returns a 3x3 convolution that keeps the size, at zero if `zero`; `conv` may be lifted."""
    init = nn.initializers.zeros if zero else fan_in_uniform
    return conv(
        features, (3, 3), padding=1, dtype=dtype, kernel_init=init, name=name,
        conv_general_dilated=computed_by,
    )  # fmt: skip


def downsample(x: jax.Array) -> jax.Array:
    """Halves a map by 2x2 means, [batch, h, w, c] -> [batch, h/2, w/2, c]; h and w are even."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


RESAMPLERS = {"keep": lambda x: x, "down": downsample, "up": upsample}


class ResBlock(nn.Module):
    """[batch, h, w, c] -> [batch, h', w', features], modulated by the time embedding.

    The second convolution starts at zero, so a new block is its skip branch.

    Attributes:
        features: channels out.
        resample: "keep", "down" or "up", applied to both branches.
        norm_groups: groups of both normalisations; divides the channels in and out. None: none.
        dropout: rate, in [0, 1).
        dtype: of the convolutions.
    """

    features: int
    resample: str
    norm_groups: int | None
    dropout: float
    dtype: np.dtype

    @nn.compact
    def __call__(
        self, x: jax.Array, emb: jax.Array, train: bool, skip: jax.Array | None = None
    ) -> jax.Array:
        """Applies the block.

        Args:
            x: [batch, h, w, c].
            emb: float32 [batch, time channels].
            train: whether to drop activations (needs the "dropout" key when the rate is not 0).
            skip: [batch, h, w, c'], behind the channels of `x`: concatenated here, so that a block
                that is recomputed keeps the parts alone, which are kept anyway.
        """
        if skip is not None:
            x = jnp.concatenate([x, skip], axis=-1)
        resample = RESAMPLERS[self.resample]
        h = make_norm(self.norm_groups, nn.silu, name="norm_in")(x)
        if self.resample == "up":
            by = flax_conv_of_upsampled
            h = conv3x3(self.features, self.dtype, "conv_in", computed_by=by)(h)
        else:
            h = conv3x3(self.features, self.dtype, "conv_in")(resample(h))
        shortcut = resample(x)

        emb = nn.Dense(2 * self.features, kernel_init=fan_in_uniform, name="emb")(nn.silu(emb))
        scale, shift = jnp.split(emb, 2, axis=-1)
        h = make_norm(self.norm_groups, nn.silu, name="norm_out")(h, scale, shift)
        h = nn.Dropout(self.dropout, deterministic=not train)(h)
        h = conv3x3(self.features, self.dtype, "conv_out", zero=True)(h)

        if x.shape[-1] != self.features:
            shortcut = nn.Conv(
                self.features, (1, 1), dtype=self.dtype, kernel_init=fan_in_uniform, name="skip",
                conv_general_dilated=flax_conv1x1,
            )(shortcut)  # fmt: skip
        return shortcut + h
