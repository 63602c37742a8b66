"""The Gaussian conditionals against the reference's numbers, eager, jitted and vmapped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from tests.golden import load

GOLDEN = load("bridge")
SCHEDULE = bridge.make_symmetric_schedule(num_steps=1000, beta_max=0.3)
X0, X1, STEP, NOISE = (GOLDEN[k] for k in ("x0", "x1", "step", "noise"))


def xt_sde(step, x0, x1, noise):
    mean, std = bridge.marginal(SCHEDULE, step, x0, x1)
    return mean + std * noise


def xt_ode(step, x0, x1, noise):
    return bridge.q_sample(None, SCHEDULE, step, x0, x1, deterministic=True)


def label(step, x0, xt, _):
    return bridge.regression_target(SCHEDULE, step, xt, x0)


def pred_x0(step, xt, output, _):
    return bridge.predict_x0(SCHEDULE, step, xt, output)


# golden name: the function, and what it is given beside the steps
CASES = {
    "xt": (xt_sde, ("x0", "x1", "noise")),
    "xt_ot": (xt_ode, ("x0", "x1", "noise")),
    "label": (label, ("x0", "xt", "noise")),
    "pred_x0": (pred_x0, ("xt", "label", "noise")),
}


def one_by_one(f):
    return lambda step, *arrays: jax.vmap(f)(jnp.asarray(step), *arrays)


@pytest.mark.parametrize(
    "transform", [lambda f: f, jax.jit, one_by_one], ids=["eager", "jit", "vmap"]
)
@pytest.mark.parametrize("name", CASES)
def test_conditionals_match_golden(name, transform):
    function, inputs = CASES[name]
    out = transform(function)(STEP, *(GOLDEN[key] for key in inputs))
    scale = max(1.0, np.abs(GOLDEN[name]).max())
    np.testing.assert_allclose(out, GOLDEN[name], atol=1e-5 * scale)


@pytest.mark.parametrize("pair", ["0_1", "100_101", "0_999", "499_750"])
def test_posterior_matches_golden(pair):
    step_prev, step = map(int, pair.split("_"))
    mean, std = bridge.posterior(SCHEDULE, step_prev, step, X1, X0)
    np.testing.assert_allclose(mean, GOLDEN[f"posterior_ot/{pair}"], atol=1e-5)
    np.testing.assert_allclose(mean + std * NOISE, GOLDEN[f"posterior/{pair}"], atol=1e-5)
    batched = bridge.posterior(SCHEDULE, np.full(3, step_prev), np.full(3, step), X1, X0)
    np.testing.assert_allclose(batched.mean, mean, rtol=1e-6, atol=1e-7)
    assert (step_prev == 0) == (float(std.max()) == 0.0)


def test_marginal_and_posterior_are_consistent():
    """∫ p(X_m | X_0, X_n) q(X_n | X_0, X_1) dX_n = q(X_m | X_0, X_1) up to the doubled β_n.

    With both sums counting β_n, the exact identity holds for σ̄² lowered by β_n; so the marginal's
    variance may be off by the relative size of β_n / (σ² + σ̄²), and no more.
    """
    std_fwd = SCHEDULE.std_fwd.astype(np.float64)
    betas = np.diff(std_fwd**2, prepend=0.0)
    tolerance = 2 * betas.max() / std_fwd[-1] ** 2
    one, zero = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    for step_prev, step in [(100, 101), (300, 600), (499, 900), (10, 998)]:
        outer = bridge.marginal(SCHEDULE, step, zero, one)
        inner = bridge.posterior(SCHEDULE, step_prev, step, one, zero)  # mean = weight of X_n
        expected = bridge.marginal(SCHEDULE, step_prev, zero, one)
        weight = float(inner.mean[0, 0])
        variance = weight**2 * float(outer.std[0, 0]) ** 2 + float(inner.std[0, 0]) ** 2
        relative = variance / float(expected.std[0, 0]) ** 2 - 1
        assert abs(relative) < tolerance
        assert weight * float(outer.mean[0, 0]) == pytest.approx(
            float(expected.mean[0, 0]), rel=tolerance
        )


def test_draws_have_the_moments():
    key = jax.random.key(0)
    x0, x1 = jnp.full((4096, 2), 0.5), jnp.full((4096, 2), -0.25)
    mean, std = bridge.marginal(SCHEDULE, 500, x0, x1)
    draws = bridge.q_sample(key, SCHEDULE, 500, x0, x1)
    error = 5 * float(std.max()) / 8192**0.5
    assert abs(float(draws.mean() - mean[0, 0])) < error
    assert float(draws.std()) == pytest.approx(float(std.max()), rel=5 / (2 * 8192) ** 0.5)
    post = bridge.posterior_sample(key, SCHEDULE, 300, 500, x1, x0)
    moments = bridge.posterior(SCHEDULE, 300, 500, x1, x0)
    assert float(post.std()) == pytest.approx(float(moments.std.max()), rel=5 / (2 * 8192) ** 0.5)


def test_predict_x0_inverts_the_target_and_clips():
    target = bridge.regression_target(SCHEDULE, STEP, X1, X0)
    np.testing.assert_allclose(
        bridge.predict_x0(SCHEDULE, STEP, X1, target), X0, rtol=1e-5, atol=1e-5
    )
    clipped = bridge.predict_x0(SCHEDULE, STEP, X1, 100 * target, clip=True)
    assert float(jnp.abs(clipped).max()) == 1.0


def test_any_rank():
    for shape in [(3,), (3, 2), (3, 4, 5, 6, 7)]:
        x = jnp.ones(shape)
        assert bridge.marginal(SCHEDULE, jnp.arange(3), x, -x).mean.shape == shape
        assert bridge.posterior(SCHEDULE, 3, 7, x, -x).mean.shape == shape
