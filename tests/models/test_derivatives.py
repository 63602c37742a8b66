"""Derivatives that layers write themselves, against those that JAX works out.

Each case: forwards and backwards, backwards then forwards, alone and in a batch.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.models.blocks import upsample
from i2sb_jax.models.cpu.attention import attention_by_heads
from i2sb_jax.models.cpu.conv import conv, conv_of_upsampled, dense
from i2sb_jax.models.norm import GroupNorm, normalize


def normal(*shape, seed=0):
    rng = np.random.Generator(np.random.PCG64(seed))
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)


def lax_conv(x, kernel, padding="SAME"):
    dims = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=dims)


def by_moments(x, gain, offset):
    wide = x.reshape(*x.shape[:3], 2, -1)
    centred = wide - wide.mean((1, 2, 4), keepdims=True)
    y = centred / jnp.sqrt((centred**2).mean((1, 2, 4), keepdims=True) + 1e-5)
    return y.reshape(x.shape) * gain[:, None, None] + offset[:, None, None]


CASES = {
    "dense": (dense, jnp.matmul, (normal(2, 6, 4, 3), normal(3, 5))),
    "3x3": (conv, lax_conv, (normal(2, 6, 4, 3), normal(3, 3, 3, 5))),
    "3x3, odd batch": (conv, lax_conv, (normal(3, 6, 4, 3), normal(3, 3, 3, 5))),
    "2x2, off the middle": (
        lambda x, kernel: conv(x, kernel, (0, 1)),
        lambda x, kernel: lax_conv(x, kernel, [(0, 1), (1, 0)]),
        (normal(2, 6, 4, 3), normal(2, 2, 3, 5)),
    ),
    "of an upsampled map": (
        conv_of_upsampled,
        lambda x, kernel: lax_conv(upsample(x), kernel),
        (normal(2, 3, 4, 3), normal(3, 3, 3, 5)),
    ),
    "normalisation": (
        lambda *arrays: normalize(*arrays, 2),
        by_moments,
        (3 + 2 * normal(2, 6, 4, 8), normal(2, 8), normal(2, 8, seed=1)),
    ),
    "attention": (
        attention_by_heads,
        jax.nn.dot_product_attention,
        tuple(normal(2, 6, 2, 4, seed=i) for i in range(3)),
    ),
}


def derivatives(function, arrays):
    """The value, and all that is told above of sin(function)'s sum, compiled."""
    everywhere = tuple(range(len(arrays)))

    def all_of(*arrays):
        def loss(*arrays):
            return jnp.sin(function(*arrays)).sum()

        gradient = jax.grad(loss, everywhere)
        towards = tuple(jnp.cos(3 * x) for x in arrays)
        along = jax.jvp(loss, arrays, towards)
        return function(*arrays), gradient(*arrays), along, jax.jvp(gradient, arrays, towards)

    batch = tuple(jnp.stack([x, -x[::-1]]) for x in arrays)
    return jax.tree.leaves((jax.jit(all_of)(*arrays), jax.jit(jax.vmap(all_of))(*batch)))


@pytest.mark.parametrize("name", CASES)
def test_derivatives_are_those_of_the_plain_formula(name):
    function, plain, arrays = CASES[name]
    both = derivatives(function, arrays), derivatives(plain, arrays)
    for got, expected in zip(*both, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize("which", range(3))
def test_bfloat16_attention_has_gradients_near_those_of_float32(which):
    half = tuple(x.astype(jnp.bfloat16) for x in CASES["attention"][2])
    gradient = jax.jit(jax.grad(lambda *x: attention_by_heads(*x).sum().astype(jnp.float32), which))
    got, expected = gradient(*half), gradient(*(x.astype(jnp.float32) for x in half))
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), expected, atol=0.03)


def test_the_way_back_keeps_no_map_that_a_normalisation_makes():
    """Of x it keeps x itself and [batch, c] moments, in bfloat16 as in float32."""
    norm = GroupNorm(2, jax.nn.silu)
    variables = norm.init(jax.random.key(0), jnp.zeros((1, 1, 1, 8)))

    def maps(run, x):
        kept = jax.tree.leaves(jax.vjp(run, x)[1])
        return [(leaf.dtype.name, leaf.shape) for leaf in kept if leaf.size >= x.size]

    x = normal(2, 6, 4, 8).astype(jnp.bfloat16)
    assert maps(lambda x: norm.apply(variables, x), x) == [("bfloat16", x.shape)]
    gain, offset = jnp.ones((2, 8)), jnp.zeros((2, 8))
    plain = lambda x: jax.nn.silu(by_moments(x.astype(jnp.float32), gain, offset))  # noqa: E731
    assert len(maps(plain, x)) > 1
