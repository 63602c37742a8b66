"""Predictions and weightings: one network's error, told in other units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from i2sb_jax.learning.losses import bridge_losses
from i2sb_jax.types import Batch

N = 100
SCHEDULE = bridge.make_symmetric_schedule(num_steps=N, beta_max=1.0)
BRIDGES = {
    "i2sb": SCHEDULE,
    "exact": bridge.i2sb_bridge(SCHEDULE),
    "brownian": bridge.brownian_bridge(num_steps=N),
    "vp": bridge.vp_bridge(num_steps=N),
}
RNG = np.random.default_rng(0)
STEP = np.array([0, 7, 50, N - 1])
XT, X0, GUESS = (RNG.uniform(-1, 1, (4, 5)).astype(np.float32) for _ in range(3))


@pytest.mark.parametrize("prediction", bridge.PREDICTIONS)
@pytest.mark.parametrize("name", BRIDGES)
def test_prediction_and_target_are_inverse(name, prediction):
    made = BRIDGES[name]
    target = bridge.regression_target(made, STEP, XT, X0, prediction=prediction)
    back = bridge.predict_x0(made, STEP, XT, target, prediction=prediction)
    np.testing.assert_allclose(back, X0, atol=2e-6)
    clipped = bridge.predict_x0(made, STEP, XT, 100 * target, prediction=prediction, clip=True)
    assert float(jnp.abs(clipped).max()) == 1.0


def test_targets_are_those_of_their_definitions():
    std = np.asarray(SCHEDULE.std_fwd, np.float64)[STEP, None]
    epsilon = (XT - X0) / std
    # v-prediction of the variance-preserving state α·x_0 + σ'·ε with α = 1/√(1+σ²), σ' = σ·α
    alpha = 1 / np.sqrt(1 + std**2)
    expected = {"epsilon": epsilon, "x0": X0, "v": alpha * epsilon - std * alpha * X0}
    for prediction, values in expected.items():
        ours = bridge.regression_target(SCHEDULE, STEP, XT, X0, prediction=prediction)
        np.testing.assert_allclose(ours, values, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prediction", bridge.PREDICTIONS)
def test_errors_differ_by_the_stated_factor(prediction):
    """One guess of X_0, as each network would have to give it."""

    def error(prediction):
        given = bridge.regression_target(SCHEDULE, STEP, XT, GUESS, prediction=prediction)
        target = bridge.regression_target(SCHEDULE, STEP, XT, X0, prediction=prediction)
        return np.sum((np.asarray(given, np.float64) - target) ** 2, axis=1)

    by_scale = 1 / np.asarray(SCHEDULE.std_fwd, np.float64)[STEP] ** 2
    factor = {"epsilon": by_scale, "x0": 1.0, "v": 1 + by_scale}[prediction]
    np.testing.assert_allclose(error(prediction), factor * error("x0"), rtol=1e-4)


BATCH = Batch(
    clean=RNG.uniform(-1, 1, (6, 4, 4, 3)).astype(np.float32),
    degraded=RNG.uniform(-1, 1, (6, 4, 4, 3)).astype(np.float32),
)
KEYS = jax.random.split(jax.random.key(3), 6)


def guess(made, prediction):
    """A network that guesses X̂_0 = 0.8·X_n, whatever it predicts."""

    def predict_fn(xt, step, cond):
        return bridge.regression_target(made, step, xt, 0.8 * xt, prediction=prediction)

    return predict_fn


def losses(made, prediction, weighting):
    return np.asarray(
        bridge_losses(
            KEYS, made, guess(made, prediction), BATCH, prediction=prediction, weighting=weighting
        )
    )


@pytest.mark.parametrize("weighting", bridge.WEIGHTINGS)
@pytest.mark.parametrize("name", BRIDGES)
def test_with_one_weighting_all_predictions_have_one_loss(name, weighting):
    made = BRIDGES[name]
    if name == "i2sb":  # a step apart, SNR differs
        assert not np.allclose(losses(made, "x0", "epsilon"), losses(made, "x0", "x0"), rtol=0.1)
    expected = losses(made, "epsilon", weighting)
    for prediction in ("x0", "v"):
        np.testing.assert_allclose(losses(made, prediction, weighting), expected, rtol=2e-4)


def test_weights_are_their_formulas():
    exact = BRIDGES["exact"]
    snr = np.zeros(N)
    snr[:-1] = (exact.b[:-1] / exact.c[:-1]) ** 2
    by_scale = 1 / exact.scale**2
    expected = {
        "epsilon": by_scale,
        "v": 1 + by_scale,
        "snr": snr,
        "min_snr": np.minimum(snr, 5),
        "truncated_snr": np.maximum(snr, 1),
    }
    for weighting, values in expected.items():
        ours = bridge.loss_weight(exact, prediction="x0", weighting=weighting)
        np.testing.assert_allclose(ours, values, rtol=1e-9)
    assert len({values.sum() for values in expected.values()}) == 5
    assert bridge.loss_weight(exact, prediction="v", weighting="v") is None
    np.testing.assert_allclose(bridge.signal_to_noise(exact), snr, rtol=1e-9)


def test_errors():
    with pytest.raises(ValueError, match="prediction='noise' is not known: choose of epsilon, x0"):
        bridge.regression_target(SCHEDULE, STEP, XT, X0, prediction="noise")
    with pytest.raises(ValueError, match="prediction='noise' is not known"):
        bridge.predict_x0(SCHEDULE, STEP, XT, X0, prediction="noise")
    with pytest.raises(ValueError, match="weighting='edm' is not known: choose of epsilon, x0, v"):
        bridge.loss_weight(SCHEDULE, prediction="x0", weighting="edm")
    few = {"a": [0.0, 0.5, 1.0], "b": [1.0, 0.5, 0.0], "c": [0.0, 0.3, 0.0], "scale": [1, 1, 1]}
    silent = bridge.make_gaussian_bridge(**few)
    with pytest.raises(ValueError, match="weighting='snr' is infinite at index 0"):
        bridge.loss_weight(silent, prediction="x0", weighting="snr")
    assert np.isfinite(bridge.loss_weight(silent, prediction="x0", weighting="min_snr")).all()
