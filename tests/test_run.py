"""The consequences of a configuration: the channels of the network, and its bridge everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from i2sb_jax.data.channels import PairedDegradation
from i2sb_jax.learning.losses import bridge_loss
from i2sb_jax.run import Run
from i2sb_jax.training import create_state, make_optimizer
from tests.training.tiny import make_batch, make_config

pytest.importorskip("ml_collections")


def pairs(source, target, cond):
    data = {"source_channels": source, "target_channels": target, "cond_x1": cond}
    folders = {"source": "pairs", "path": "sources", "target_path": "targets"}
    return {"corruption": "pairs", "data": {**folders, **data}}


@pytest.mark.parametrize(
    "changes, inputs, outputs",
    [
        ({}, 3, 3),
        ({"corruption": "colorize"}, 6, 3),
        (pairs(3, 3, False), 3, 3),
        (pairs(3, 3, True), 6, 3),
        (pairs(2, 1, True), 3, 1),
        (pairs(1, 4, False), 4, 4),
    ],
)
def test_channels(changes, inputs, outputs):
    config = make_config(**changes)
    assert config.image_channels == outputs and config.cond_channels == inputs - outputs
    params = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    assert params["conv_in"]["kernel"].shape[2] == inputs
    assert params["conv_out"]["kernel"].shape[3] == outputs
    corruption = Run(config).corruption
    assert corruption.has_cond == bool(config.cond_channels) and not corruption.has_mask
    assert isinstance(corruption, PairedDegradation) == config.has_pairs

    count, size = 2, config.image_size
    shapes = [(count, size, size, c) for c in (outputs, inputs - outputs)]
    x1, cond = (np.zeros(shape, np.float32) if shape[-1] else None for shape in shapes)
    keys = jax.random.split(jax.random.key(0), count)
    sample = Run(config).sample_fn()
    restored = jax.eval_shape(lambda params: sample(keys, params, x1, None, cond), params)
    assert restored.x0.shape == shapes[0]


@pytest.mark.parametrize("name", bridge.BRIDGES)
def test_a_bridge_by_its_name_reaches_loss_and_sampler(monkeypatch, name):
    """A network that always gives 0.1 and every sampler: X̂_0 is by the bridge's own scale."""
    config = make_config(bridge={"name": name, "num_steps": 50})
    made = bridge.make_bridge(name, num_steps=50, beta_max=0.3)

    class Constant:
        def apply(self, variables, x, noise_level, cond=None, **options):
            return jnp.full_like(x, 0.1) + 0 * variables["params"]

    monkeypatch.setattr(Run, "network", Constant())
    x1, keys = np.zeros((2, 16, 16, 3), np.float32), jax.random.split(jax.random.key(0), 2)
    for sampler in bridge.SAMPLERS:
        sampling = config.choose_sampling(nfe=4, sampler=sampler, spacing="lambda")
        samples = Run(config).sample_fn(sampling, record=(3,))(keys, 0.0, x1, None, None)
        np.testing.assert_allclose(samples.x0_path, -0.1 * made.scale[-1], rtol=1e-5)
        assert np.isfinite(samples.x0).all()

    batch, tx = make_batch(4), make_optimizer(config.optimizer, num_steps=1)
    state = create_state(np.float32(0), tx)
    _, metrics = Run(config).step(state, batch, jax.random.key(0))
    key = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))[0]
    expected = bridge_loss(key, made, lambda xt, *_: jnp.full_like(xt, 0.1), batch)
    assert float(metrics["loss"]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("prediction", bridge.PREDICTIONS)
def test_what_the_run_predicts_reaches_loss_and_sampler(monkeypatch, prediction):
    """A network that always gives 0.25: one evaluation ends near the X̂_0 that this stands for."""
    config = make_config(
        bridge={"prediction": prediction, "weighting": "x0"}, sampling={"sampler": "ode"}
    )
    schedule = Run(config).bridge

    class Constant:
        def apply(self, variables, x, noise_level, cond=None, **options):
            return 0.25 + variables["params"] * x

    monkeypatch.setattr(Run, "network", Constant())
    x1 = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 2)
    sample_fn = Run(config).sample_fn(config.choose_sampling(nfe=1), record=(0,))
    samples = sample_fn(keys, 0.0, x1, None, None)
    expected = bridge.predict_x0(schedule, 999, x1, np.full_like(x1, 0.25), prediction=prediction)
    np.testing.assert_allclose(samples.x0_path[0], expected, atol=1e-6)
    others = [name for name in bridge.PREDICTIONS if name != prediction]
    for other in others:
        wrong = bridge.predict_x0(schedule, 999, x1, np.full_like(x1, 0.25), prediction=other)
        assert np.abs(np.asarray(wrong - expected)).max() > 0.01

    batch, root = make_batch(4), jax.random.key(0)
    tx = make_optimizer(config.optimizer, num_steps=config.training.num_steps)
    _, metrics = Run(config).step(create_state(np.float32(0), tx), batch, root)

    def predict_fn(xt, step, cond):
        return np.float32(0.25) + 0 * xt

    key = jax.random.split(jax.random.fold_in(root, 0))[0]
    expected = bridge_loss(key, schedule, predict_fn, batch, prediction=prediction, weighting="x0")
    assert float(metrics["loss"]) == pytest.approx(float(expected), rel=1e-5)
