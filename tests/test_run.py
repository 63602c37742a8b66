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


def test_on_cpu_devices_no_order_of_gradients_is_asked_for():
    """Whose compiler would undo it, and sum a loss in another order by the way."""
    assert not Run(make_config()).network.ordered


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
    gamma = 0.2 if name == "linear" else 0.0
    config = make_config(bridge={"name": name, "num_steps": 50, "gamma": gamma})
    made = bridge.make_bridge(name, num_steps=50, beta_max=0.3, gamma=gamma)

    class Constant:
        def apply(self, variables, x, noise_level, cond=None, **options):
            return jnp.full_like(x, 0.1) + 0 * variables["params"]

    monkeypatch.setattr(Run, "network", Constant())
    x1, keys = np.zeros((2, 16, 16, 3), np.float32), jax.random.split(jax.random.key(0), 2)
    for sampler in bridge.SAMPLERS:
        if made.start_std and sampler in bridge.WITHOUT_NOISE:
            with pytest.raises(ValueError, match="trained to start with noise around it"):
                config.choose_sampling(sampler=sampler)
            continue
        sampling = config.choose_sampling(nfe=4, sampler=sampler, spacing="lambda")
        samples = Run(config).sample_fn(sampling, record=(3,))(keys, 0.0, x1, None, None)
        x0 = samples.x0_path + 0.1 * np.float32(made.scale[-1])  # X_T, which is 0, and noise
        assert np.std(x0) == pytest.approx(made.start_std, rel=5 / 3072**0.5, abs=1e-7)
        assert np.abs(np.mean(x0)) <= 5 * made.start_std / 1536**0.5 + 1e-7
        assert np.isfinite(samples.x0).all()

    batch, tx = make_batch(4), make_optimizer(config.optimizer, num_steps=1)
    state = create_state(np.float32(0), tx)
    _, metrics = Run(config).step(state, batch, jax.random.key(0))
    key = jax.random.split(jax.random.fold_in(jax.random.key(0), 0))[0]
    expected = bridge_loss(key, made, lambda xt, *_: jnp.full_like(xt, 0.1), batch)
    assert float(metrics["loss"]) == pytest.approx(float(expected), rel=1e-5)


def with_x1_beside(name, **overrides):
    """A run of the bridge whose network sees X_1, sampled by two evaluations a step."""
    options = {"name": name, "num_steps": 50, "x1_input": True}
    sampling = {"sampler": "heun", "nfe": 4}
    small = {"norm": "none", "middle_attention": False}
    return Run(make_config(bridge=options, sampling=sampling, model=small, **overrides))


def test_shapes_with_x1_beside_the_state():
    run, batch = with_x1_beside("nadb"), make_batch(2)
    state = jax.eval_shape(run.init_state, jax.random.key(0))
    assert state.params["conv_in"]["kernel"].shape[2] == 6 and run.config.cond_channels == 0
    new, metrics = jax.eval_shape(run.step, state, batch, jax.random.key(0))
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
    assert metrics["loss"].shape == ()
    keys = jax.random.split(jax.random.key(0), 2)
    sample = jax.eval_shape(run.sample_fn(), keys, state.params, batch.degraded, None, None)
    assert sample.x0.shape == batch.degraded.shape


def test_a_student_sees_x1_and_then_its_noise():
    run, batch = with_x1_beside("irsde", teacher="a run"), make_batch(2)
    state = jax.eval_shape(run.init_state, jax.random.key(0))
    assert state.params["conv_in"]["kernel"].shape[2] == 9
    teacher = jax.eval_shape(run.teacher.init_params, jax.random.key(0))
    assert teacher["conv_in"]["kernel"].shape[2] == 6
    new, _ = jax.eval_shape(run.step, state, batch, jax.random.key(0), teacher)
    assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
    with pytest.raises(ValueError, match=r"distill\.method='regression' is on the end"):
        with_x1_beside("irsde", teacher="a run", distill={"method": "regression"})


@pytest.mark.parametrize("x1_input", [True, False])
@pytest.mark.parametrize("cond_channels", [0, 2])
def test_what_the_network_sees_beside_the_state(monkeypatch, x1_input, cond_channels):
    run = Run(make_config(bridge={"x1_input": x1_input}))
    batch, seen = make_batch(2), []
    cond = np.ones((2, 16, 16, cond_channels), np.float32) if cond_channels else None

    class Watching:
        def apply(self, variables, x, noise_level, cond=None, **options):
            seen.append(cond)
            return 0 * x

    monkeypatch.setattr(Run, "network", Watching())
    bridge_loss(
        jax.random.key(0), run.bridge, lambda xt, step, cond: run.network.apply({}, xt, step, cond),
        batch._replace(cond=cond),
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(0), 2)
    run.sample_fn()(keys, {}, batch.degraded, None, cond)
    parts = ([] if cond is None else [cond]) + [batch.degraded] * x1_input
    assert len(seen) >= 2  # by the loss, and by the one step that is traced
    for beside in seen:
        if parts:
            np.testing.assert_array_equal(beside, np.concatenate(parts, axis=-1))
        else:
            assert beside is None


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
