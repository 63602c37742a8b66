"""The network against numbers of the reference implementation, and what it promises besides."""

import dataclasses
from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.interop.adm import params_from_state_dict
from i2sb_jax.models import UNet, UNetConfig, adm_256
from tests.models.networks import (
    COND,
    DEEP,
    FLAT,
    GOLDEN,
    SMALL,
    TINY,
    golden_state_dict,
    hashed_params,
)


@pytest.fixture(autouse=True)
def no_implicit_conversions():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "unet_tiny.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def small_inputs():
    rng = np.random.Generator(np.random.PCG64(0))
    x = rng.standard_normal((2, 8, 8, 3)).astype(np.float32)
    return jnp.asarray(x), jnp.array([0.1, 700.0], jnp.float32)


def apply(config, params, *inputs, **kwargs):
    return UNet(config).apply({"params": params}, *inputs, **kwargs)


def jit_apply(config, params, *inputs):
    return jax.jit(lambda p, *a: apply(config, p, *a))(params, *inputs)


def vmap_apply(config, params, *inputs):
    def one(*image):
        return apply(config, params, *(array[None] for array in image))[0]

    return jax.jit(jax.vmap(one))(*inputs)


def cheap_key(seed):
    # The default generator is inlined for every parameter and every dropout, and slow to compile.
    return jax.random.key(seed, impl="rbg")


def relative_error(got, expected):
    assert got.shape == expected.shape
    return float(np.abs(np.asarray(got) - expected).max() / expected.std())


GOLDEN_CASES = {
    "uncond": (TINY, "unet_tiny", ("x", "t")),
    "cond_out": (COND, "unet_tiny", ("x", "t", "cond")),
    "deep": (DEEP, "unet_deep", ("x", "t")),
}


@pytest.mark.parametrize(
    ("case", "call"),
    [
        ("uncond", jit_apply),
        ("uncond", vmap_apply),
        ("cond_out", jit_apply),
        ("deep", jit_apply),
    ],
)
def test_agrees_with_the_reference_implementation(golden, case, call):
    config, names, keys = GOLDEN_CASES[case]
    state_dict = golden_state_dict(names, in_channels=config.in_channels)
    params = params_from_state_dict(state_dict, config)
    got = call(config, params, *(jnp.asarray(golden[key]) for key in keys))
    assert got.dtype == jnp.float32
    assert relative_error(got, golden[case]) < 1e-4


def swap_query_and_value(params):
    kernel = params["mid_attention"]["qkv"]["kernel"]
    split = kernel.reshape(kernel.shape[0], -1, 3, TINY.head_channels)
    params["mid_attention"]["qkv"]["kernel"] = split[:, :, ::-1].reshape(kernel.shape)


def projections_before_heads(params):
    # The order of the "new" attention: all queries, then all keys, then all values.
    kernel = params["mid_attention"]["qkv"]["kernel"]
    split = kernel.reshape(kernel.shape[0], 3, -1, TINY.head_channels)
    params["mid_attention"]["qkv"]["kernel"] = split.swapaxes(1, 2).reshape(kernel.shape)


def swap_scale_and_shift(params):
    kernel = params["up_0_0"]["emb"]["kernel"]
    params["up_0_0"]["emb"]["kernel"] = np.roll(kernel, kernel.shape[1] // 2, axis=1)


def sine_before_cosine(params):
    kernel = params["time_embed"]["dense_0"]["kernel"]
    params["time_embed"]["dense_0"]["kernel"] = np.roll(kernel, kernel.shape[0] // 2, axis=0)


def skip_before_features(params):
    kernel = params["up_1_0"]["conv_in"]["kernel"]
    params["up_1_0"]["conv_in"]["kernel"] = np.roll(kernel, kernel.shape[2] // 2, axis=2)


def transposed_kernel(params):
    params["conv_in"]["kernel"] = params["conv_in"]["kernel"].swapaxes(0, 1)


@pytest.fixture(scope="module")
def compiled_tiny():
    return jax.jit(lambda p, x, t: apply(TINY, p, x, t))


@pytest.mark.parametrize(
    "damage",
    [
        swap_query_and_value,
        projections_before_heads,
        swap_scale_and_shift,
        sine_before_cosine,
        skip_before_features,
        transposed_kernel,
    ],
)
def test_goldens_notice_a_wrong_order(golden, compiled_tiny, damage):
    params = params_from_state_dict(golden_state_dict("unet_tiny"), TINY)
    damage(params)
    got = compiled_tiny(params, jnp.asarray(golden["x"]), jnp.asarray(golden["t"]))
    assert relative_error(got, golden["uncond"]) > 1e-3


def test_bfloat16_is_close_to_float32(small_inputs):
    params = hashed_params(FLAT)
    half = dataclasses.replace(FLAT, dtype=jnp.bfloat16)
    expected = np.asarray(jit_apply(FLAT, params, *small_inputs))
    with jax.numpy_dtype_promotion("standard"):
        got = jit_apply(half, params, *small_inputs)
        fresh = jax.eval_shape(UNet(half).init, jax.random.key(0), *small_inputs)
    assert got.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(fresh))
    # Independent roundings of at most 2^-9: ten a residual block (activations and kernels), five
    # blocks, ten more for the attention and both ends.
    error = (np.asarray(got) - expected).std() / expected.std()
    assert 0 < error < 60**0.5 * 2**-9


def value_and_grad(config, inputs):
    """Loss, its gradients, and the program's text for an accelerator (a CPU has other barriers)."""

    def loss(params, *arrays):
        return jnp.square(apply(config, params, *arrays, train=True, rngs=rngs)).mean()

    rngs = {"dropout": cheap_key(1)}
    run = jax.jit(jax.value_and_grad(loss))
    text = run.trace(hashed_params(config), *inputs).lower(lowering_platforms=("tpu",)).as_text()
    return jax.tree.leaves(run(hashed_params(config), *inputs)), text


@pytest.fixture(scope="module")
def expected_gradients(small_inputs):
    return value_and_grad(dataclasses.replace(FLAT, dropout=0.5), small_inputs)


@pytest.mark.parametrize("remat", ["blocks", "dots"])
def test_remat_changes_nothing(small_inputs, expected_gradients, remat):
    expected, plain_text = expected_gradients
    got, text = value_and_grad(dataclasses.replace(FLAT, dropout=0.5, remat=remat), small_inputs)
    # The normalisation's own recomputing stands between barriers in both.
    barriers = [t.count("optimization_barrier") for t in (plain_text, text)]
    assert barriers[0] < barriers[1]
    # "blocks" runs the convolutions of 5 residual blocks a second time, "dots" none.
    convolutions = [t.count("stablehlo.convolution") for t in (plain_text, text)]
    assert (convolutions[0] < convolutions[1]) == (remat == "blocks")
    # Float32 sums in another order; gradients reach from 1e-3 to 10.
    scale = max(float(jnp.abs(leaf).max()) for leaf in expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * scale)


def test_dropout_acts_in_training_only(small_inputs):
    config = dataclasses.replace(FLAT, dropout=0.5)
    params = hashed_params(config)
    evaluate = jit_apply(config, params, *small_inputs)
    np.testing.assert_array_equal(evaluate, jit_apply(FLAT, params, *small_inputs))

    step = jax.jit(
        lambda key: apply(config, params, *small_inputs, train=True, rngs={"dropout": key})
    )
    first, second = step(cheap_key(0)), step(cheap_key(1))
    assert float(jnp.abs(first - second).max()) > 1e-2
    assert float(jnp.abs(first - evaluate).max()) > 1e-2
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        jax.eval_shape(lambda: apply(config, params, *small_inputs, train=True))


def test_fresh_network_returns_zero_and_its_blocks_add_nothing(small_inputs):
    params = jax.jit(UNet(SMALL).init)(cheap_key(0), *small_inputs)["params"]
    output = jit_apply(SMALL, params, *small_inputs)
    np.testing.assert_array_equal(output, np.zeros((2, 8, 8, 3), np.float32))
    for name, block in params.items():
        last = {"attention": "proj_out"}.get(name.rpartition("_")[2], "conv_out")
        if last in block:
            assert not np.any(block[last]["kernel"]), name
            assert not np.any(block[last]["bias"]), name
    # Not everything is zero: a kernel spreads as PyTorch's default does.
    kernel = params["mid_0"]["conv_in"]["kernel"]
    fan_in = np.prod(kernel.shape[:3])
    assert 0.9 < float(jnp.abs(kernel).max()) * fan_in**0.5 <= 1
    np.testing.assert_allclose(kernel.std(), (3 * fan_in) ** -0.5, rtol=0.05)


@pytest.mark.parametrize("in_channels", [3, 6])
def test_adm_256_has_the_published_size(in_channels):
    x = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    t = jax.ShapeDtypeStruct((1,), jnp.float32)
    network = UNet(adm_256(in_channels=in_channels))
    cond = x if in_channels == 6 else None
    params = jax.eval_shape(network.init, jax.random.key(0), x, t, cond)["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == 552_807_171 + (in_channels - 3) * 9 * 256
    output = jax.eval_shape(network.apply, {"params": params}, x, t, cond)
    assert output.shape == (1, 256, 256, 3)


IMAGE, LEVEL = (2, 8, 8, 3), (2,)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 9, 30, 3), LEVEL), "9x30, .* multiples of 2; the nearest right size is 10x30"),
        (((2, 0, 8, 3), LEVEL), "nearest right size is 2x8"),
        ((IMAGE[1:], LEVEL), "x has shape"),
        ((IMAGE, (3,)), "noise_level has shape"),
        ((IMAGE, ()), "noise_level has shape"),
        ((IMAGE, LEVEL, IMAGE), "cond with 3, together they must have in_channels 3"),
        ((IMAGE, LEVEL, (2, 4, 4, 3)), "cond has shape"),
    ],
)
def test_wrong_inputs_are_named(shapes, message):
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(UNet(SMALL).init, jax.random.key(0), *arrays)


def test_missing_condition_is_named():
    x, t = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (IMAGE, LEVEL))
    config = dataclasses.replace(SMALL, in_channels=6)
    with pytest.raises(ValueError, match="no cond, together they must have in_channels 6"):
        jax.eval_shape(UNet(config).init, jax.random.key(0), x, t)


def test_equal_configs_are_one_static_argument(small_inputs):
    again = UNetConfig(**{**dataclasses.asdict(SMALL), "dtype": "float32", "channel_mult": [1, 2]})
    assert again == SMALL
    assert hash(again) == hash(SMALL)
    traces = []

    @partial(jax.jit, static_argnums=0)
    def area(config, x):
        traces.append(config)
        return x.sum()

    for config in (SMALL, again):
        area(config, small_inputs[0])
    assert len(traces) == 1
