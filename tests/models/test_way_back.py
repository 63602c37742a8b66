"""What is kept for the way back, and in which order accelerators go it."""

import dataclasses
import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.models import UNet
from i2sb_jax.models.way_back import gradients_together, one_at_a_time
from tests.models.networks import FLAT, hashed_params


def lowered(function, arrays, platform):
    return jax.jit(function).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()


def barriers(text):
    """How many arrays each barrier holds."""
    found = re.findall(r"optimization_barrier (.*) :", text)
    return sorted(len(operands.split(",")) for operands in found)


@pytest.mark.parametrize("remat", ["blocks", "none"])
def test_a_recomputed_block_keeps_the_parts_of_a_concatenation_alone(remat):
    """All maps of this network have 8 channels, but for concatenations."""
    config = dataclasses.replace(FLAT, remat=remat)
    x = jnp.ones((1, 8, 8, 3))

    def loss(params):
        return UNet(config).apply({"params": params}, x, jnp.ones(1), train=True).sum()

    params = hashed_params(config)
    kept = jax.tree.leaves(jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params))
    widths = {leaf.shape[3] for leaf in kept if leaf.shape[:3] == (1, 8, 8)}
    assert 8 in widths
    assert (16 in widths) == (remat == "none")


def test_a_network_goes_back_in_order_where_it_is_told_to():
    def loss(params, *, ordered):
        network = UNet(FLAT, ordered=ordered)
        return network.apply({"params": params}, jnp.ones((1, 8, 8, 3)), jnp.ones(1)).sum()

    params = (hashed_params(FLAT),)
    grads = {flag: jax.grad(functools.partial(loss, ordered=flag)) for flag in (True, False)}
    held = {flag: barriers(lowered(grad, params, "cuda")) for flag, grad in grads.items()}
    assert len(held[True]) > len(held[False])


@pytest.fixture(scope="module")
def dense():
    """A layer, its gradients by parameters and input, and what they are taken at."""
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32))
    variables = nn.Dense(4).init(jax.random.key(0), x)

    def gradients(module):
        def loss(variables, x):
            return jnp.sin(module(4).apply(variables, x)).sum()

        return jax.grad(loss, (0, 1))

    return gradients, (variables, x)


def test_on_accelerators_gradients_of_a_module_leave_one_barrier(dense):
    gradients, arrays = dense
    for platform in ("cuda", "rocm", "tpu"):
        assert barriers(lowered(gradients(one_at_a_time(nn.Dense)), arrays, platform)) == [3]
        assert barriers(lowered(gradients(nn.Dense), arrays, platform)) == []
    assert barriers(lowered(gradients(one_at_a_time(nn.Dense)), arrays, "cpu")) == []


def test_gradients_are_those_of_the_module(dense):
    gradients, arrays = dense
    got, expected = (jax.jit(gradients(m))(*arrays) for m in (one_at_a_time(nn.Dense), nn.Dense))
    jax.tree.map(np.testing.assert_array_equal, got, expected)


def test_what_has_no_gradient_is_not_given_one():
    def loss(x, y):
        x, y = gradients_together(x, y)
        return (x * y).sum()

    three = jnp.arange(3.0)
    assert barriers(lowered(jax.grad(loss), (three, three), "cuda")) == [1]
    assert barriers(lowered(jax.grad(loss, (0, 1)), (three, three), "cuda")) == [2]


def test_forward_mode_and_batches(dense):
    batch = jnp.arange(6.0).reshape(2, 3)
    value, along = jax.jvp(lambda x: gradients_together(x, 2 * x)[1], (batch,), (jnp.ones((2, 3)),))
    np.testing.assert_array_equal(value, 2 * batch)
    np.testing.assert_array_equal(along, jnp.full((2, 3), 2.0))
    each = jax.vmap(jax.grad(lambda x: (gradients_together(x, x)[0] ** 2).sum()))(batch)
    np.testing.assert_array_equal(each, 2 * batch)
