"""Embedding, normalisation, resampling and attention against direct formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.models.attention import AttentionBlock
from i2sb_jax.models.blocks import downsample, upsample
from i2sb_jax.models.embeddings import timestep_embedding
from i2sb_jax.models.norm import GroupNorm


@pytest.fixture(autouse=True)
def no_implicit_conversions():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def normal(*shape, seed=0):
    rng = np.random.Generator(np.random.PCG64(seed))
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def test_embedding_is_cosines_then_sines():
    t = np.array([0.0, 0.1, 1000.0])
    angles = t[:, None] * 10_000.0 ** (-np.arange(4) / 4)
    got = timestep_embedding(jnp.asarray(t, jnp.float32), 8)
    np.testing.assert_allclose(got[:, :4], np.cos(angles), atol=1e-4)
    np.testing.assert_allclose(got[:, 4:], np.sin(angles), atol=1e-4)


@pytest.mark.parametrize("dim", [0, 7])
def test_embedding_of_odd_length_is_refused(dim):
    with pytest.raises(ValueError, match=f"dim is {dim}"):
        timestep_embedding(jnp.zeros(1), dim)


@pytest.mark.parametrize("modulated", [False, True])
def test_group_norm(modulated):
    # A mean far from zero: E[x²] - mean² would lose four digits here.
    x = normal(2, 6, 4, 8) + 100 * normal(1, 1, 1, 8, seed=1).round()
    weight, bias = normal(8, seed=2), normal(8, seed=3)
    extra = (normal(2, 8, seed=4), normal(2, 8, seed=5)) if modulated else ()
    got = GroupNorm(4).apply({"params": {"scale": weight, "bias": bias}}, x, *extra)

    wide = np.asarray(x, np.float64).reshape(2, 24, 4, 2)
    centred = wide - wide.mean((1, 3), keepdims=True)
    y = centred / np.sqrt(wide.var((1, 3), keepdims=True) + 1e-5)
    expected = y.reshape(x.shape) * np.asarray(weight) + np.asarray(bias)
    if modulated:
        scale, shift = (np.asarray(array)[:, None, None, :] for array in extra)
        expected = expected * (1 + scale) + shift
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_group_norm_statistics_are_float32():
    x = (normal(1, 8, 8, 4) + 30).astype(jnp.bfloat16)
    variables = {"params": {"scale": jnp.ones(4), "bias": jnp.zeros(4)}}
    got = GroupNorm(2).apply(variables, x)
    expected = GroupNorm(2).apply(variables, x.astype(jnp.float32))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got, expected.astype(jnp.bfloat16))


def test_resampling():
    x = normal(2, 4, 6, 3)
    twice = np.repeat(np.repeat(x, 2, axis=1), 2, axis=2)
    np.testing.assert_array_equal(upsample(x), twice)
    np.testing.assert_allclose(downsample(upsample(x)), x, rtol=1e-6)
    quarters = [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(downsample(x), sum(quarters) / 4, atol=1e-6)


def test_new_attention_block_is_the_identity():
    block, x = AttentionBlock(4, 2, jnp.dtype(jnp.float32)), normal(2, 4, 4, 8)
    output, variables = block.init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(output, x)
    assert variables["params"]["qkv"]["kernel"].shape == (8, 24)
