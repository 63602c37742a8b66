"""Both forms of each layer: equal but for rounding, and each where it belongs."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.models import conv, norm
from i2sb_jax.models.attention import attention
from i2sb_jax.models.conv import flax_conv, flax_conv_of_upsampled, flax_dense
from i2sb_jax.models.cpu import attention as cpu_attention
from i2sb_jax.models.cpu import conv as cpu_conv
from i2sb_jax.models.cpu import norm as cpu_norm
from i2sb_jax.models.cpu import on_cpu

ACCELERATORS = ("cuda", "tpu")


def normal(*shape, seed=0):
    rng = np.random.Generator(np.random.PCG64(seed))
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


MAP = normal(2, 4, 6, 3)
QKV = tuple(normal(2, 16, 3, 8, seed=seed) for seed in range(3))
# name -> (on a CPU, elsewhere, arrays)
FORMS = {
    "convolution": (cpu_conv.conv, conv.conv, (MAP, normal(3, 3, 3, 5, seed=1))),
    "of an upsampled map": (
        cpu_conv.conv_of_upsampled,
        conv.conv_of_upsampled,
        (MAP, normal(3, 3, 3, 5, seed=1)),
    ),
    "dense": (cpu_conv.dense, conv.dense, (MAP, normal(3, 5, seed=1))),
    "group average": (
        functools.partial(cpu_norm.group_average, groups=2),
        functools.partial(norm.group_average, groups=2),
        (normal(3, 8),),
    ),
    "attention": (cpu_attention.attention_by_heads, jax.nn.dot_product_attention, QKV),
}


def value_and_gradients(form, arrays):
    def loss(*arrays):
        out = form(*arrays)
        return jnp.sin(out.astype(jnp.float32)).sum(), out

    return jax.value_and_grad(loss, tuple(range(len(arrays))), has_aux=True)(*arrays)


def eager(form, arrays):
    return value_and_gradients(form, arrays)


def jitted(form, arrays):
    return jax.jit(lambda *arrays: value_and_gradients(form, arrays))(*arrays)


def vmapped(form, arrays):
    batch = (jnp.stack([x, -x[::-1]]) for x in arrays)
    return jax.jit(jax.vmap(lambda *arrays: value_and_gradients(form, arrays)))(*batch)


def forwards(form, arrays):
    return jax.jit(lambda *arrays: jax.jvp(form, arrays, arrays))(*arrays)


@pytest.mark.parametrize("call", [eager, jitted, vmapped, forwards])
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, jnp.float32) for name in FORMS),
        # statistics are float32
        *((name, jnp.bfloat16) for name in FORMS if name != "group average"),
    ],
)
def test_both_forms_are_one_function(name, dtype, call):
    tuned, plain, arrays = FORMS[name]
    arrays = tuple(x.astype(dtype) for x in arrays)
    # what rounds least is what both are near to
    exact = call(plain, tuple(x.astype(jnp.float32) for x in arrays))
    for form in (tuned, plain, on_cpu(tuned, plain)):
        got = call(form, arrays)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(exact), strict=True):
            error = np.abs(np.asarray(a.astype(jnp.float32)) - b).max()
            assert error <= 32 * jnp.finfo(dtype).eps * max(1, np.abs(b).max())


def test_another_function_is_noticed():
    """The bound tells a convolution from its mirror image."""
    tuned, plain, (x, kernel) = FORMS["convolution"]
    exact = plain(x, kernel)
    error = np.abs(tuned(x, kernel[::-1]) - exact).max()
    assert error > 32 * jnp.finfo(jnp.bfloat16).eps * np.abs(exact).max()


def test_the_platform_compiled_for_decides():
    """The default backend does not: these are compiled for devices that are not here."""
    chosen = jax.jit(on_cpu(jnp.sin, jnp.cos)).trace(jnp.ones(3))
    for platform, ours, other in (
        ("cpu", "sine", "cosine"),
        *((each, "cosine", "sine") for each in ACCELERATORS),
    ):
        text = chosen.lower(lowering_platforms=(platform,)).as_text()
        assert f"stablehlo.{ours} " in text and f"stablehlo.{other} " not in text


LAYERS = {
    "convolution": (flax_conv, FORMS["convolution"]),
    "of an upsampled map": (flax_conv_of_upsampled, FORMS["of an upsampled map"]),
    "dense": (flax_dense, FORMS["dense"]),
    "attention": (attention, FORMS["attention"]),
}


def operations(form, arrays, platform):
    """The operations of a gradient's program, in order of their names."""
    gradient = jax.jit(lambda *arrays: value_and_gradients(form, arrays))
    text = gradient.trace(*arrays).lower(lowering_platforms=(platform,)).as_text()
    # the other form is dropped by a case of one branch
    dropped = ("constant", "case", "return", "broadcast_in_dim")
    return sorted(name for name in re.findall(r"stablehlo\.(\w+)", text) if name not in dropped)


@pytest.mark.parametrize("name", LAYERS)
def test_accelerators_get_the_plain_form_alone(name):
    layer, (tuned, plain, arrays) = LAYERS[name]
    for platform in ACCELERATORS:
        assert operations(layer, arrays, platform) == operations(plain, arrays, platform)
    assert operations(layer, arrays, "cpu") == operations(tuned, arrays, "cpu")
    assert operations(tuned, arrays, "cpu") != operations(plain, arrays, "cpu")


def test_attention_on_a_cpu_holds_the_logits_of_one_head():
    for platform, by_heads in (("cpu", True), ("cuda", False), ("tpu", False)):
        text = jax.jit(attention).trace(*QKV).lower(lowering_platforms=(platform,)).as_text()
        assert ("tensor<16x16xf32>" in text) == by_heads
        assert text.count("dot_general") == 2


def test_a_cpus_weight_gradient_is_in_the_order_that_is_fast():
    """Its compiler reorders no convolution inside of loops, and is slow with any other order."""
    gradient = jax.jit(jax.grad(lambda kernel, x: flax_conv(x, kernel).sum()))
    arrays = normal(3, 3, 3, 5), normal(2, 6, 4, 3)
    for platform, fast in (("cpu", True), ("cuda", False), ("tpu", False)):
        lowered = gradient.trace(*arrays).lower(lowering_platforms=(platform,)).as_text()
        assert lowered.count("stablehlo.convolution") == 1
        assert ("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]" in lowered) == fast
        assert ("pad = [[0, 0], [0, 0]]" in lowered) == fast


def test_bfloat16_attention_has_a_float32_softmax():
    half = tuple(x.astype(jnp.bfloat16) for x in QKV)
    got = cpu_attention.attention_by_heads(*half)
    assert got.dtype == jnp.bfloat16
    expected = cpu_attention.attention_by_heads(*(array.astype(jnp.float32) for array in half))
    # One rounding of the weights, one of the result.
    np.testing.assert_allclose(got.astype(jnp.float32), expected, atol=2 * 2**-8)
