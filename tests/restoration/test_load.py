"""A trained bridge for samplers of one's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from i2sb_jax.interop import save_model
from i2sb_jax.restoration import Restorer, load_model
from tests.models.networks import hashed_params
from tests.training.tiny import make_config

# as small as it gets: called as it is, the network compiles each of its operations
MODEL = {"channel_mult": (1.0,)}
KEY = jax.random.key(0)
XT = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)


def saved(folder, **overrides):
    config = make_config(model=MODEL, **overrides)
    save_model(folder, config, hashed_params(config.unet))
    return config


def test_it_is_what_a_sampler_takes(tmp_path):
    config = saved(tmp_path, bridge={"deterministic": True}, sampling={"sampler": "ode"})
    predict_x0_fn, schedule, loaded = load_model(tmp_path)
    assert loaded == config and schedule.num_steps == config.bridge.num_steps
    steps = bridge.step_grid(schedule.num_steps, 3)
    samples = bridge.sample(None, schedule, predict_x0_fn, XT, steps=steps, deterministic=True)
    expected = Restorer.from_workdir(tmp_path)(XT, nfe=3)
    assert np.abs(np.clip(samples.x0, -1, 1) - expected).max() < 1e-5


def test_it_travels_into_jit_as_an_argument(tmp_path):
    saved(tmp_path)
    predict_x0_fn, _, _ = load_model(tmp_path)
    assert len(jax.tree.leaves(predict_x0_fn)) > 10
    compiled = jax.jit(lambda f, xt, step: f(xt, step))
    steps = jnp.array([3, 700])
    first, second = compiled(predict_x0_fn, XT, steps), predict_x0_fn(XT, steps)
    np.testing.assert_allclose(first, second, atol=1e-5)
    alone = predict_x0_fn(XT[1:], 700)
    np.testing.assert_allclose(second[1:], alone, atol=1e-5)


def test_a_conditional_bridge_takes_its_condition(tmp_path):
    saved(tmp_path, corruption="colorize")
    predict_x0_fn, schedule, _ = load_model(tmp_path)
    cond = -XT
    bound = functools.partial(predict_x0_fn, cond=cond)
    steps = bridge.step_grid(schedule.num_steps, 2)
    assert np.isfinite(bridge.sample(KEY, schedule, bound, XT, steps=steps).x0).all()
    np.testing.assert_array_equal(bound(XT, 5), predict_x0_fn(XT, 5, cond))
    assert np.any(np.asarray(predict_x0_fn(XT, 5, XT)) != np.asarray(bound(XT, 5)))
    with pytest.raises(ValueError, match="no cond, together they must have in_channels 6"):
        predict_x0_fn(XT, 5)


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match="is not a run's folder"):
        load_model(tmp_path)
