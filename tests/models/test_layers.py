"""Embedding, normalisation, resampling and attention against direct formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.models.attention import AttentionBlock, attention, attention_by_heads
from i2sb_jax.models.blocks import downsample, upsample
from i2sb_jax.models.conv import conv
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


def qkv(dtype=jnp.float32):
    return tuple(normal(2, 16, 3, 8, seed=i).astype(dtype) for i in range(3))


PATHS = {
    "by heads": attention_by_heads,
    "chosen": attention,
    "accelerator": jax.nn.dot_product_attention,
}


@pytest.mark.parametrize("path", ["by heads", "chosen"])
@pytest.mark.parametrize("wrap", ["jit", "vmap"])
def test_attention_paths_agree(path, wrap):
    def value_and_grads(attend):
        def loss(*arrays):
            out = attend(*arrays)
            return jnp.sin(out).sum(), out

        run = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
        if wrap == "vmap":
            batched = jax.jit(jax.vmap(run))(*(array[:, None] for array in qkv()))
            return jax.tree.leaves(batched)[1:]
        return jax.tree.leaves(jax.jit(run)(*qkv()))[1:]

    got, expected = value_and_grads(PATHS[path]), value_and_grads(PATHS["accelerator"])
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_bfloat16_attention_has_a_float32_softmax():
    half = qkv(jnp.bfloat16)
    got = attention_by_heads(*half)
    assert got.dtype == jnp.bfloat16
    expected = attention_by_heads(*(array.astype(jnp.float32) for array in half))
    # One rounding of the weights, one of the result.
    np.testing.assert_allclose(got.astype(jnp.float32), expected, atol=2 * 2**-8)


@pytest.mark.parametrize(("platform", "by_heads"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_attention_is_chosen_by_the_platform_compiled_for(platform, by_heads):
    lowered = jax.jit(attention).trace(*qkv()).lower(lowering_platforms=(platform,))
    # Logits of one head at a time, and none of the path not taken.
    assert ("tensor<16x16xf32>" in lowered.as_text()) == by_heads
    assert lowered.as_text().count("dot_general") == 2


@pytest.mark.parametrize(("platform", "fast"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_only_a_cpu_is_told_how_to_lay_out_weight_gradients(platform, fast):
    """Its compiler reorders no convolution inside of loops, and is slow with any other order."""
    gradient = jax.jit(jax.grad(lambda kernel, x: conv(x, kernel).sum()))
    arrays = normal(3, 3, 3, 5), normal(2, 6, 4, 3)
    lowered = gradient.trace(*arrays).lower(lowering_platforms=(platform,)).as_text()
    assert lowered.count("stablehlo.convolution") == 1
    assert ("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in lowered) == fast
    assert ("pad = [[0, 0], [0, 0]]" in lowered) == fast


def test_new_attention_block_is_the_identity():
    block, x = AttentionBlock(4, 2, jnp.dtype(jnp.float32)), normal(2, 4, 4, 8)
    output, variables = block.init_with_output(jax.random.key(0), x)
    np.testing.assert_array_equal(output, x)
    assert variables["params"]["qkv"]["kernel"].shape == (8, 24)
