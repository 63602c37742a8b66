"""The pure training step: gradients, accumulation, averaging, schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from i2sb_jax.bridge import marginal
from i2sb_jax.config import OptimizerConfig
from i2sb_jax.learning.losses import bridge_loss
from i2sb_jax.learning.state import ema_decay_at
from i2sb_jax.training import create_state, make_optimizer, make_schedule, make_train_step
from tests.training.tiny import SCHEDULE, linear_apply, linear_params, make_batch

KEY = jax.random.key(7)


def make_step(tx, **options):
    options = {"ema_decay": 0.99, **options}
    return make_train_step(apply_fn=linear_apply, tx=tx, schedule=SCHEDULE, **options)


@pytest.mark.parametrize(
    "learnt", [{}, {"prediction": "x0"}, {"prediction": "v", "weighting": "min_snr"}], ids=str
)
def test_step_descends_along_the_loss_gradient(learnt):
    tx = optax.sgd(0.1)
    state = create_state(linear_params(), tx)
    batch = make_batch(4)
    new, metrics = make_step(tx, **learnt)(state, batch, KEY)

    def loss(params):
        def predict_fn(xt, step, cond):
            level = jnp.asarray(SCHEDULE.noise_level)[step]
            return linear_apply({"params": params}, xt, level, cond)

        return bridge_loss(jax.random.split(KEY)[0], SCHEDULE, predict_fn, batch, **learnt)

    value, grads = jax.value_and_grad(loss)(state.params)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-6)
    assert float(metrics["grad_norm"]) == pytest.approx(float(optax.tree.norm(grads)), rel=1e-6)
    for name in "ab":
        expected = state.params[name] - 0.1 * grads[name]
        assert float(new.params[name]) == pytest.approx(float(expected), rel=1e-6)
    assert int(new.step) == 1


@pytest.mark.parametrize("deterministic", [False, True])
def test_accumulation_changes_nothing(deterministic):
    tx = optax.sgd(1.0)
    batch = make_batch(16)
    states = [
        jax.jit(make_step(tx, accumulation_steps=count, deterministic=deterministic))(
            create_state(linear_params(), tx), batch, KEY
        )
        for count in (1, 4)
    ]
    (one, one_metrics), (four, four_metrics) = states
    for name in "ab":
        np.testing.assert_allclose(four.params[name], one.params[name], rtol=1e-5)
    np.testing.assert_allclose(four_metrics["loss"], one_metrics["loss"], rtol=1e-5)


def test_masked_batches_accumulate_too():
    batch = make_batch(4)
    mask = np.zeros((4, 16, 16, 1), np.float32)
    mask[:2, 4:12] = 1
    tx = optax.sgd(1.0)
    losses = [
        make_step(tx, accumulation_steps=count)(
            create_state(linear_params(), tx), batch._replace(mask=mask), KEY
        )[1]["loss"]
        for count in (1, 2)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    unmasked = make_step(tx)(create_state(linear_params(), tx), batch, KEY)[1]["loss"]
    assert float(losses[0]) < 0.5 * float(unmasked)


def run_step(scale, *, tx=None, **options):
    """(state before, state after, metrics) of one step on a loss that is `scale` times as steep."""
    tx = tx or optax.sgd(0.1)

    def steep(variables, *args, **kwargs):
        return scale * linear_apply(variables, *args, **kwargs)

    before = create_state(linear_params(), tx)
    step = make_train_step(apply_fn=steep, tx=tx, schedule=SCHEDULE, ema_decay=0.99, **options)
    return before, *jax.jit(step)(before, make_batch(4), KEY)


def test_a_long_gradient_is_skipped_and_a_short_one_is_not():
    _, _, metrics = run_step(10.0)
    assert "skipped" not in metrics
    norm = float(metrics["grad_norm"])
    before, after, metrics = run_step(10.0, skip_norm=0.9 * norm, tx=optax.adam(0.1))
    assert float(metrics["skipped"]) == 1 and float(metrics["grad_norm"]) == pytest.approx(norm)
    assert int(after.step) == 1
    jax.tree.map(np.testing.assert_array_equal, after._replace(step=before.step), before)
    before, after, metrics = run_step(10.0, skip_norm=1.1 * norm)
    assert float(metrics["skipped"]) == 0 and float(after.params["a"]) != float(before.params["a"])


def test_a_skipped_update_does_not_hide_a_loss_that_is_not_finite():
    _, _, metrics = run_step(float("inf"), skip_norm=1.0)
    assert not np.isfinite(float(metrics["grad_norm"]))


def test_a_long_gradient_is_clipped_to_the_norm_and_a_short_one_is_not():
    gradient = {"a": jnp.float32(3.0), "b": jnp.float32(4.0)}
    plain = make_optimizer(optimizer_config(eps=1.0), num_steps=10)
    for norm, factor in ((1.0, 0.2), (50.0, 1.0)):
        tx = make_optimizer(optimizer_config(eps=1.0, clip_norm=norm), num_steps=10)
        clipped, _ = tx.update(gradient, tx.init(gradient), gradient)
        scaled = jax.tree.map(lambda x, factor=factor: factor * x, gradient)
        expected, _ = plain.update(scaled, plain.init(gradient), gradient)
        for name in "ab":  # eps is not small here, or Adam would undo any scale
            assert float(clipped[name]) == pytest.approx(float(expected[name]), rel=1e-5)


def test_ema_follows_the_warmup_then_the_decay():
    decays = [float(ema_decay_at(jnp.int32(k), 0.99)) for k in (1, 2, 1000, 10**6)]
    np.testing.assert_allclose(decays, [2 / 11, 3 / 12, 0.99, 0.99], rtol=1e-6)
    tx = optax.sgd(0.1)
    state = create_state(linear_params(), tx)
    new, _ = make_step(tx)(state, make_batch(2), KEY)
    expected = 2 / 11 * state.params["a"] + 9 / 11 * new.params["a"]
    assert float(new.ema_params["a"]) == pytest.approx(float(expected), rel=1e-6)


def test_eager_and_jit_agree_and_the_key_matters():
    tx = optax.adamw(1e-3)
    step, batch = make_step(tx), make_batch(4)
    eager = step(create_state(linear_params(), tx), batch, KEY)
    jitted = jax.jit(step)(create_state(linear_params(), tx), batch, KEY)
    other = step(create_state(linear_params(), tx), batch, jax.random.key(8))
    np.testing.assert_allclose(jitted[1]["loss"], eager[1]["loss"], rtol=1e-5)
    assert float(other[1]["loss"]) != float(eager[1]["loss"])


def test_names_and_labels_do_not_reach_the_device():
    tx = optax.sgd(0.1)
    batch = make_batch(2)._replace(name=np.array([b"x", b"y"]), label=np.array([-1, 3]))
    new, _ = make_step(tx)(create_state(linear_params(), tx), batch, KEY)
    assert int(new.step) == 1


def optimizer_config(**changes):
    values = dict(
        learning_rate=1.0, schedule="step", warmup_steps=0, decay_every=10, decay_rate=0.5,
        b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0,
            clip_norm=0.0, skip_norm=0.0,
    )  # fmt: skip
    return OptimizerConfig(**(values | changes))


def test_step_decay_and_warmup():
    rate = make_schedule(optimizer_config(), num_steps=100)
    assert [float(rate(k)) for k in (0, 9, 10, 19, 20)] == [1, 1, 0.5, 0.5, 0.25]
    warm = make_schedule(optimizer_config(warmup_steps=4), num_steps=100)
    assert [float(warm(k)) for k in (0, 2, 4, 13, 14)] == [0, 0.5, 1, 1, 0.5]


def test_cosine_ends_at_zero():
    rate = make_schedule(optimizer_config(schedule="cosine", warmup_steps=10), num_steps=100)
    assert float(rate(0)) == 0
    assert float(rate(10)) == pytest.approx(1)
    assert float(rate(55)) == pytest.approx(0.5)
    assert float(rate(100)) == pytest.approx(0, abs=1e-7)


def test_weight_decay_is_decoupled():
    tx = make_optimizer(optimizer_config(weight_decay=0.1, decay_rate=1.0), num_steps=10)
    params = {"w": jnp.float32(2.0)}
    updates, _ = tx.update({"w": jnp.float32(0.0)}, tx.init(params), params)
    assert float(updates["w"]) == pytest.approx(-0.2)


# --- a bridge between two Gaussians in two dimensions, trained ----------------------------------

M0, M1 = np.array([0.5, -0.3], np.float32), np.array([-0.4, 0.2], np.float32)
S0, S1 = np.array([0.4, 0.25], np.float32), np.array([0.3, 0.5], np.float32)


def affine_apply(variables, x, noise_level, cond, *, train=False, rngs=None):
    """For each step its own affine map: the exact predictor of jointly Gaussian ends is one."""
    del cond, train, rngs
    step = jnp.searchsorted(jnp.asarray(SCHEDULE.noise_level), noise_level - 1e-4)
    params = variables["params"]
    return params["gain"][step] * x + params["bias"][step]


def gaussian_batch(key, count):
    k0, k1 = jax.random.split(key)
    x0 = M0[None] + S0[None] * jax.random.normal(k0, (count, 2))
    x1 = M1[None] + S1[None] * jax.random.normal(k1, (count, 2))
    return x0, x1


@pytest.mark.usefixtures("fully_optimized")  # millions of draws: running is what takes long
def test_trained_bridge_transports_gaussians():
    """Independent Gaussian ends: a trained affine predictor carries X_1 to X_0's moments."""
    from i2sb_jax import bridge
    from i2sb_jax.types import Batch

    # the loss of a step is a least-squares problem of its own: Adam on all 100 at once
    tx = optax.adam(optax.cosine_decay_schedule(0.1, 3000))
    step_fn = make_train_step(apply_fn=affine_apply, tx=tx, schedule=SCHEDULE, ema_decay=0.99)

    def update(state, key):
        key_data, key_step = jax.random.split(key)
        state, metrics = step_fn(state, Batch(*gaussian_batch(key_data, 2048)), key_step)
        return state, metrics["loss"]

    params = {"gain": jnp.zeros((100, 2)), "bias": jnp.zeros((100, 2))}
    state, _ = jax.jit(lambda s, k: jax.lax.scan(update, s, k))(
        create_state(params, tx), jax.random.split(jax.random.key(0), 3000)
    )

    def predict_x0_fn(xt, step):
        level = jnp.broadcast_to(jnp.asarray(SCHEDULE.noise_level)[step], xt.shape[:1])
        return bridge.predict_x0(
            SCHEDULE, step, xt, affine_apply({"params": state.ema_params}, xt, level, None)
        )

    _, x1 = gaussian_batch(jax.random.key(1), 20000)
    run = jax.jit(
        lambda key, x1: bridge.sample(key, SCHEDULE, predict_x0_fn, x1, steps=range(100)).x0
    )
    x0 = np.asarray(run(jax.random.key(2), x1))
    # at index 0 the marginal keeps a trace of X_1 and noise
    one, zero = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    w0 = float(marginal(SCHEDULE, 0, one, zero).mean[0, 0])
    end = marginal(SCHEDULE, 0, zero, one)
    w1, std = float(end.mean[0, 0]), float(end.std[0, 0])
    cov = np.diag(w0**2 * S0**2 + w1**2 * S1**2 + std**2)
    # five standard errors of 20,000 draws
    np.testing.assert_allclose(x0.mean(0), w0 * M0 + w1 * M1, atol=5 * (cov.max() / len(x0)) ** 0.5)
    np.testing.assert_allclose(np.cov(x0.T), cov, atol=5 * cov.max() * (2 / len(x0)) ** 0.5)
    untrained = np.asarray(x1)
    assert np.abs(untrained.mean(0) - M0).max() > 0.2  # the control: X_1 itself is far away
