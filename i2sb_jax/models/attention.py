"""Self-attention over the positions of a feature map (arXiv 2105.05233, section 3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.models.conv import flax_dense
from i2sb_jax.models.initializers import fan_in_uniform
from i2sb_jax.models.norm import GroupNorm


def attention_by_heads(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Softmax attention, one head of one image at a time; softmax in float32.

    For CPUs: the logits of one head stay in the cache, and are computed again on the way back
    instead of kept. Keys and values are [d, T], so that no product of the way back contracts the
    leading axes of both of its factors, which takes three times as long.

    Args:
        query: [batch, T, heads, d].
        key: [batch, T, heads, d].
        value: [batch, T, heads, d].

    Returns:
        [batch, T, heads, d], of the type of `value`.
    """
    batch, length, heads, dim = query.shape
    scale = np.float32(dim**-0.5)

    @jax.checkpoint
    def one_head(folded):
        query, key, value = folded  # [T, d], [d, T], [d, T]
        logits = jnp.einsum("qd,dk->qk", query, key, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(logits * scale, axis=-1).astype(value.dtype)
        return jnp.einsum("qk,dk->qd", weights, value)

    query = query.transpose(0, 2, 1, 3).reshape(-1, length, dim)
    key, value = (x.transpose(0, 2, 3, 1).reshape(-1, dim, length) for x in (key, value))
    mixed = jax.lax.map(one_head, (query, key, value))
    return mixed.reshape(batch, heads, length, dim).transpose(0, 2, 1, 3)


def attention(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Softmax attention in the form that suits the platform it is compiled for.

    The platform is settled when the computation is lowered, not by the default backend: a program
    compiled ahead of time for a TPU on a host without one, or run under
    `jax.default_device(cpu)` beside a GPU, gets the right one.

    Args:
        query: [batch, T, heads, d].
        key: [batch, T, heads, d].
        value: [batch, T, heads, d].

    Returns:
        [batch, T, heads, d].
    """
    return jax.lax.platform_dependent(
        query, key, value, cpu=attention_by_heads, default=jax.nn.dot_product_attention
    )


class AttentionBlock(nn.Module):
    """[batch, h, w, c] -> [batch, h, w, c]: x + Project(Attention(Norm(x))).

    The 3c channels of the qkv projection are ordered head by head and, inside a head, query, key,
    value. The output projection starts at zero, so a new block is the identity.

    Attributes:
        head_channels: channels a head; divides c.
        norm_groups: groups of the normalisation; divides c.
        dtype: of the computation.
    """

    head_channels: int
    norm_groups: int
    dtype: np.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        h = GroupNorm(self.norm_groups, name="norm")(x)
        qkv = nn.Dense(
            3 * channels, dtype=self.dtype, kernel_init=fan_in_uniform, dot_general=flax_dense,
            name="qkv",
        )(h)  # fmt: skip
        qkv = qkv.reshape(batch, height * width, -1, 3, self.head_channels)
        h = attention(qkv[..., 0, :], qkv[..., 1, :], qkv[..., 2, :])
        h = nn.Dense(
            channels, dtype=self.dtype, kernel_init=nn.initializers.zeros, dot_general=flax_dense,
            name="proj_out",
        )(h.reshape(x.shape))  # fmt: skip
        return x + h
