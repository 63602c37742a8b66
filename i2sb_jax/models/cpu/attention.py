"""Softmax attention one head of one picture at a time, with derivatives written out."""

import jax
import jax.numpy as jnp
import numpy as np


def attention_by_heads(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Computes softmax attention, one head of one picture at a time; softmax in float32.

    The logits of one head stay in the cache, and are computed again on the way back instead of
    kept. Keys and values are [d, T], so that no product of the way back contracts the leading axes
    of both of its factors, which takes three times as long.

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
    """Maps [heads, T, d], divided by √d, and twice [heads, d, T] to [heads, T, d]."""
    return jax.lax.map(_one_head, (query, key, value))[0]


@_heads.defjvp
def _heads_jvp(primals, tangents):
    mixed, normalizer = jax.lax.map(_one_head, primals)
    # checkpoint: else the weights of all heads would be kept for the way back; in a loop it needs
    # no barriers
    one_head_tangent = jax.checkpoint(_one_head_tangent, prevent_cse=False)
    return mixed, jax.lax.map(one_head_tangent, (*primals, mixed, normalizer, *tangents))


def _one_head(folded: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    """Returns the mixed values, and the logarithm of the softmax's denominator."""
    query, key, value = folded
    logits = _product("qd,dk->qk", query, key)
    largest = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = weights.sum(axis=-1, keepdims=True)
    # Divided after the product: d numbers a query instead of T.
    mixed = _product("qk,dk->qd", weights.astype(value.dtype), value) / total
    return mixed.astype(value.dtype), largest + jnp.log(total)


def _one_head_tangent(folded: tuple[jax.Array, ...]) -> jax.Array:
    """Computes d(PV) = EV - (E1) ∘ PV + P dV, with P the weights and E = P ∘ d(logits).

    Transposed, the middle term reduces [T, d] instead of [T, T] (arXiv 2205.14135, appendix B.2).
    """
    query, key, value, mixed, normalizer, dquery, dkey, dvalue = folded
    weights = jnp.exp(_product("qd,dk->qk", query, key) - normalizer)
    change = _product("qd,dk->qk", dquery, key) + _product("qd,dk->qk", query, dkey)
    change = weights * change
    # barrier: else the library that sums [T, d] on the way back is given [T, T], too
    total = jax.lax.optimization_barrier(change.sum(axis=-1, keepdims=True))
    by_weights = _product("qk,dk->qd", change.astype(value.dtype), value)
    by_value = _product("qk,dk->qd", weights.astype(value.dtype), dvalue)
    return (by_weights - total * mixed.astype(jnp.float32) + by_value).astype(value.dtype)


def _product(subscripts: str, a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum(subscripts, a, b, preferred_element_type=jnp.float32)
