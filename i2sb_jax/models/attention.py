"""Self-attention over the positions of a feature map (arXiv 2105.05233, section 3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.models.conv import flax_dense
from i2sb_jax.models.initializers import fan_in_uniform
from i2sb_jax.models.norm import make_norm


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
    query = query * np.asarray(dim**-0.5, query.dtype)
    query = query.transpose(0, 2, 1, 3).reshape(-1, length, dim)
    key, value = (x.transpose(0, 2, 3, 1).reshape(-1, dim, length) for x in (key, value))
    mixed = _heads(query, key, value)
    return mixed.reshape(batch, heads, length, dim).transpose(0, 2, 1, 3)


@jax.custom_jvp
def _heads(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """[heads, T, d], divided by √d, and twice [heads, d, T] -> [heads, T, d]."""
    return jax.lax.map(_one_head, (query, key, value))[0]


@_heads.defjvp
def _heads_jvp(primals, tangents):
    mixed, normalizer = jax.lax.map(_one_head, primals)
    # checkpoint: else the weights of all heads would be kept for the way back; in a loop it needs
    # no barriers
    one_head_tangent = jax.checkpoint(_one_head_tangent, prevent_cse=False)
    return mixed, jax.lax.map(one_head_tangent, (*primals, mixed, normalizer, *tangents))


def _one_head(folded: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    """(query, key, value) -> what is mixed, and the logarithm of the softmax's denominator."""
    query, key, value = folded
    logits = _product("qd,dk->qk", query, key)
    largest = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = weights.sum(axis=-1, keepdims=True)
    # Divided after the product: d numbers a query instead of T.
    mixed = _product("qk,dk->qd", weights.astype(value.dtype), value) / total
    return mixed.astype(value.dtype), largest + jnp.log(total)


def _one_head_tangent(folded: tuple[jax.Array, ...]) -> jax.Array:
    """With P the weights and E = P ∘ d(logits): d(PV) = EV - (E1) ∘ PV + P dV.

    Transposed, the middle term reduces [T, d] instead of [T, T] (arXiv 2205.14135, appendix B.2).
    """
    query, key, value, mixed, normalizer, dquery, dkey, dvalue = folded
    weights = jnp.exp(_product("qd,dk->qk", query, key) - normalizer)
    change = _product("qd,dk->qk", dquery, key) + _product("qd,dk->qk", query, dkey)
    change = weights * change
    # barrier: else the compiler hands [T, T] on the way back to the library that sums [T, d]
    total = jax.lax.optimization_barrier(change.sum(axis=-1, keepdims=True))
    by_weights = _product("qk,dk->qd", change.astype(value.dtype), value)
    by_value = _product("qk,dk->qd", weights.astype(value.dtype), dvalue)
    return (by_weights - total * mixed.astype(jnp.float32) + by_value).astype(value.dtype)


def _product(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)


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
        norm_groups: groups of the normalisation; divides c. None: none.
        dtype: of the computation.
    """

    head_channels: int
    norm_groups: int | None
    dtype: np.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        h = make_norm(self.norm_groups, name="norm")(x)
        qkv = nn.Dense(
            3 * channels, dtype=self.dtype, kernel_init=fan_in_uniform, dot_general=flax_dense,
            name="qkv",
        )(h)  # fmt: skip
        qkv = qkv.reshape(batch, height * width, -1, 3 * self.head_channels)
        h = attention(*jnp.split(qkv, 3, axis=-1))
        h = nn.Dense(
            channels, dtype=self.dtype, kernel_init=nn.initializers.zeros, dot_general=flax_dense,
            name="proj_out",
        )(h.reshape(x.shape))  # fmt: skip
        return x + h
