"""The sampler: golden rollouts, statistics with a negative control, and how it scales."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from i2sb_jax import bridge
from tests.golden import load

GOLDEN = load("bridge")
SCHEDULE = bridge.make_symmetric_schedule(num_steps=1000, beta_max=0.3)
X1 = GOLDEN["x1"]
HOLE = np.zeros((1, 16, 16, 1), np.float32)
HOLE[:, 4:12, 4:12] = 1


def golden_predictor(xt, step):
    return jnp.tanh(0.7 * xt + 0.1 * jnp.asarray(step, jnp.float32) / 1000)


def golden_draws():
    """Draw i of a reference rollout."""
    i = 0
    while True:
        rng = np.random.Generator(np.random.PCG64(1000 + i))
        yield rng.standard_normal((3, 16, 16, 3)).astype(np.float32)
        i += 1


def rollout_with_draws(nfe, deterministic, mask):
    """The sampler written out with the library's moments and the reference's noise."""
    draws = golden_draws()
    count, x, states, predictions = 0, X1, [], []
    steps = bridge.step_grid(1000, nfe)
    for step, step_prev in zip(steps[:0:-1], steps[-2::-1], strict=True):
        x0 = golden_predictor(x, step)
        mean, std = bridge.posterior(SCHEDULE, step_prev, step, x, x0)
        x = mean
        if not deterministic and step_prev > 0:
            x, count = mean + std * next(draws), count + 1
        if mask is not None:
            known = X1
            if not deterministic:
                known = X1 + bridge.marginal(SCHEDULE, step_prev, X1, X1).std * next(draws)
                count += 1
            x = (1 - mask) * known + mask * x
        states.append(x)
        predictions.append(x0)
    return x, states[::-1], predictions[::-1], count


@pytest.mark.parametrize("masked", [0, 1])
@pytest.mark.parametrize("deterministic", [0, 1])
@pytest.mark.parametrize("nfe", [1, 5, 20])
def test_rollouts_match_golden(nfe, deterministic, masked):
    at = f"rollout/nfe{nfe}_ot{deterministic}_mask{masked}/"
    x, states, predictions, count = rollout_with_draws(nfe, deterministic, HOLE if masked else None)
    np.testing.assert_allclose(x, GOLDEN[at + "final"], atol=1e-4)
    assert count == GOLDEN[at + "draws"]
    if at + "xs" in GOLDEN:
        np.testing.assert_allclose(np.stack(states, 1), GOLDEN[at + "xs"], atol=1e-4)
        np.testing.assert_allclose(np.stack(predictions, 1), GOLDEN[at + "pred_x0"], atol=1e-4)


@pytest.mark.parametrize("masked", [0, 1])
@pytest.mark.parametrize("nfe", [1, 5, 20])
@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
def test_sampler_matches_golden_ode_rollouts(nfe, masked, jitted):
    steps = bridge.step_grid(1000, nfe)
    record = tuple(range(nfe)) if nfe == 5 else ()
    run = functools.partial(
        bridge.sample, None, SCHEDULE, golden_predictor, steps=steps, deterministic=True,
        record=record, mask=jnp.asarray(HOLE) if masked else None,
    )  # fmt: skip
    out = (jax.jit(run) if jitted else run)(X1)
    at = f"rollout/nfe{nfe}_ot1_mask{masked}/"
    np.testing.assert_allclose(out.x0, GOLDEN[at + "final"], atol=1e-4)
    assert out.xt_path.shape == (len(record), *X1.shape)
    if record:
        np.testing.assert_allclose(np.swapaxes(out.xt_path, 0, 1), GOLDEN[at + "xs"], atol=1e-4)
        np.testing.assert_allclose(
            np.swapaxes(out.x0_path, 0, 1), GOLDEN[at + "pred_x0"], atol=1e-4
        )


@pytest.mark.parametrize("masked", [False, True])
def test_eager_jit_and_vmap_agree(masked):
    steps = bridge.step_grid(1000, 5)
    mask = jnp.asarray(HOLE) if masked else None
    keys = jax.random.split(jax.random.key(1), 3)

    def run(key, x1):
        return bridge.sample(
            key, SCHEDULE, golden_predictor, x1[None], steps=steps, mask=mask, record=(0, 2)
        )

    eager = [run(key, x1) for key, x1 in zip(keys, X1, strict=True)]
    jitted = [jax.jit(run)(key, x1) for key, x1 in zip(keys, X1, strict=True)]
    mapped = jax.vmap(run)(keys, X1)
    for i in range(3):
        for field in range(3):
            np.testing.assert_allclose(jitted[i][field], eager[i][field], atol=1e-5)
            np.testing.assert_allclose(mapped[field][i], eager[i][field], atol=1e-5)


@pytest.mark.parametrize("name", ["ddpm", "implicit"])
def test_a_key_each_gives_what_each_picture_alone_would_get(name):
    """One noise for all steps and fresh noise, with known pixels; another key gives another x0."""
    steps, run = bridge.step_grid(1000, 3), bridge.make_sampler(name)
    normal_each = jax.vmap(jax.random.normal, in_axes=(0, None, None))

    def batch(keys, x1):
        return run(
            keys, SCHEDULE, golden_predictor, x1, steps=steps, mask=HOLE, record=(0, 2),
            normal_fn=lambda keys, shape, dtype: normal_each(keys, shape[1:], dtype),
        )  # fmt: skip

    def alone(key, x1):
        return run(key, SCHEDULE, golden_predictor, x1[None], steps=steps, mask=HOLE, record=(0, 2))

    keys = jax.random.split(jax.random.key(5), len(X1))
    got = jax.jit(batch)(keys, X1)
    for i, key in enumerate(keys):
        expected = jax.jit(alone)(key, X1[i])
        np.testing.assert_allclose(got.x0[i], expected.x0[0], atol=1e-6)
        np.testing.assert_allclose(got.xt_path[:, i], expected.xt_path[:, 0], atol=1e-6)
    others = jax.jit(batch)(keys[::-1], X1)
    assert jnp.abs(others.x0[0] - got.x0[0]).max() > 1e-3


def test_record_returns_only_what_was_asked():
    steps = bridge.step_grid(1000, 8)
    run = functools.partial(
        bridge.sample, None, SCHEDULE, golden_predictor, X1, steps=steps, deterministic=True
    )
    whole = run(record=tuple(range(8)))
    part = run(record=(6, 0))
    np.testing.assert_array_equal(part.xt_path, whole.xt_path[jnp.array([6, 0])])
    np.testing.assert_array_equal(part.x0_path, whole.x0_path[jnp.array([6, 0])])
    np.testing.assert_array_equal(whole.xt_path[0], whole.x0)
    assert run().xt_path.shape[0] == 0


def test_known_pixels_follow_the_marginal():
    """Known pixels end at X_1 (OT-ODE), and around it by std_0 (SDE)."""
    steps = bridge.step_grid(1000, 10)
    x1 = jnp.asarray(np.repeat(X1, 8, axis=0))
    run = functools.partial(bridge.sample, steps=steps, mask=jnp.asarray(HOLE))
    known = np.broadcast_to(HOLE == 0, x1.shape)
    ode = run(None, SCHEDULE, golden_predictor, x1, deterministic=True).x0
    np.testing.assert_array_equal(np.asarray(ode)[known], np.asarray(x1)[known])
    sde = run(jax.random.key(0), SCHEDULE, golden_predictor, x1).x0
    std = float(bridge.marginal(SCHEDULE, 0, x1, x1).std.max())
    residual = (np.asarray(sde) - np.asarray(x1))[known] / std
    assert residual.std() == pytest.approx(1, abs=5 / (2 * residual.size) ** 0.5)
    assert float(jnp.abs(ode - x1)[:, 4:12, 4:12].max()) > 0.1


# --- statistics ---

X0_TRUE, X1_TRUE, DRAWS, RECORD = 0.7, -0.4, 20000, 6


def path_states(posterior_sample=bridge.posterior_sample):
    """States of many bridges pinned at both ends (the oracle predicts X_0), at one grid index."""
    steps = bridge.step_grid(1000, 10)
    x1 = jnp.full((DRAWS, 1), X1_TRUE)
    if posterior_sample is bridge.posterior_sample:
        out = bridge.sample(
            jax.random.key(3), SCHEDULE, lambda xt, step: jnp.full_like(xt, X0_TRUE), x1,
            steps=steps, record=(RECORD,),
        )  # fmt: skip
        return steps[RECORD], np.asarray(out.xt_path[0, :, 0])
    xt, key = x1, jax.random.key(3)
    for i in range(10, RECORD, -1):
        key, now = jax.random.split(key)
        xt = posterior_sample(now, SCHEDULE, steps[i - 1], steps[i], xt, jnp.full_like(xt, X0_TRUE))
    return steps[RECORD], np.asarray(xt[:, 0])


def ks_pvalue(step, states):
    one = jnp.ones((1, 1))
    mean, std = bridge.marginal(SCHEDULE, step, X0_TRUE * one, X1_TRUE * one)
    return stats.kstest((states - float(mean[0, 0])) / float(std[0, 0]), "norm").pvalue


def test_marginal_of_the_sampler_is_the_closed_form():
    assert ks_pvalue(*path_states()) > 0.01


def wrong_variance(key, schedule, step_prev, step, xt, x0):
    mean, std = bridge.posterior(schedule, step_prev, step, xt, x0)
    return mean + 0.9 * std * jax.random.normal(key, mean.shape)


def wrong_mean(key, schedule, step_prev, step, xt, x0):
    std = schedule.std_fwd  # weights from σ instead of σ²
    weight = std[step_prev] / std[step]
    noise = bridge.posterior(schedule, step_prev, step, xt, x0).std
    return (1 - weight) * x0 + weight * xt + noise * jax.random.normal(key, xt.shape)


@pytest.mark.parametrize("wrong", [wrong_variance, wrong_mean])
def test_a_wrong_posterior_is_rejected(wrong):
    assert ks_pvalue(*path_states(wrong)) < 1e-6


def test_right_posterior_through_the_same_loop_is_accepted():
    def same(*args):
        return bridge.posterior_sample(*args)

    assert ks_pvalue(*path_states(same)) > 0.01


# --- two Gaussians in two dimensions ---

M0, M1 = np.array([0.5, -0.3]), np.array([-0.4, 0.2])
S0 = np.array([[0.20, 0.06], [0.06, 0.10]])
S1 = np.array([[0.15, -0.05], [-0.05, 0.30]])
CROSS = 0.5 * np.array([[0.12, 0.02], [-0.03, 0.09]])  # Cov(X_0, X_1)


def gaussian_predictor(xt, step):
    """E[X_0 | X_n] for jointly Gaussian (X_0, X_1), from the marginal's weights."""
    one, zero = jnp.ones((1, 1)), jnp.zeros((1, 1))
    a0 = bridge.marginal(SCHEDULE, step, one, zero).mean[0, 0]
    moments = bridge.marginal(SCHEDULE, step, zero, one)
    a1, std = moments.mean[0, 0], moments.std[0, 0]
    s0, s1, cross = (jnp.asarray(m, jnp.float32) for m in (S0, S1, CROSS))
    cov_t = a0**2 * s0 + a1**2 * s1 + a0 * a1 * (cross + cross.T) + std**2 * jnp.eye(2)
    gain = (a0 * s0 + a1 * cross) @ jnp.linalg.inv(cov_t)
    mean_t = a0 * jnp.asarray(M0, jnp.float32) + a1 * jnp.asarray(M1, jnp.float32)
    return jnp.asarray(M0, jnp.float32)[None] + (xt - mean_t[None]) @ gain.T


def transport(predict_x0_fn, nfe=999, count=20000):
    key_x1, key = jax.random.split(jax.random.key(5))
    x1 = jax.random.multivariate_normal(key_x1, jnp.asarray(M1), jnp.asarray(S1), (count,))
    run = jax.jit(
        lambda key, x1: bridge.sample(
            key, SCHEDULE, predict_x0_fn, x1, steps=bridge.step_grid(1000, nfe)
        )
    )
    x0 = np.asarray(run(key, x1.astype(jnp.float32)).x0, np.float64)
    return x0.mean(0), np.cov(x0.T)


def test_exact_predictor_transports_gaussians():
    """X_1 arrives at X_0's mean and covariance, plus what q leaves of X_1 and noise at index 0."""
    mean, cov = transport(gaussian_predictor)
    one, zero = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    a0 = float(bridge.marginal(SCHEDULE, 0, one, zero).mean[0, 0])
    end = bridge.marginal(SCHEDULE, 0, zero, one)
    a1, var = float(end.mean[0, 0]), float(end.std[0, 0]) ** 2
    expected_mean = a0 * M0 + a1 * M1
    expected_cov = a0**2 * S0 + a1**2 * S1 + a0 * a1 * (CROSS + CROSS.T) + var * np.eye(2)
    # five standard errors of 20,000 draws
    np.testing.assert_allclose(mean, expected_mean, atol=5 * (np.trace(S0) / 20000) ** 0.5)
    np.testing.assert_allclose(cov, expected_cov, atol=5 * S0.max() * (2 / 20000) ** 0.5)


def test_wrong_predictor_does_not_transport_gaussians():
    _mean, cov = transport(lambda xt, step: jnp.broadcast_to(jnp.asarray(M0), xt.shape) + 0 * xt)
    assert np.abs(cov - S0).max() > 5 * S0.max() * (2 / 20000) ** 0.5


# --- size, errors -----------------------------------------------------------------------------


def test_memory_does_not_grow_with_nfe():
    def temporary_bytes(nfe):
        steps = bridge.step_grid(1000, nfe)
        run = jax.jit(
            lambda key, x1: bridge.sample(key, SCHEDULE, golden_predictor, x1, steps=steps).x0
        )
        analysis = run.lower(jax.random.key(0), X1).compile().memory_analysis()
        return analysis.temp_size_in_bytes

    few, many = temporary_bytes(5), temporary_bytes(999)
    # 999 keys and indices of a few bytes, against 999 states of 9 KB
    assert many - few < 999 * 100 < 999 * X1.nbytes / 10


@pytest.mark.parametrize("steps", [(0, 5, 5, 999), (0, 998), (999,), (999, 0), (-1, 999)])
def test_bad_grid(steps):
    with pytest.raises(ValueError, match="must ascend"):
        bridge.sample(None, SCHEDULE, golden_predictor, X1, steps=steps, deterministic=True)


@pytest.mark.parametrize("record", [(1,), (-1,), (0, 0)])
def test_bad_record(record):
    with pytest.raises(ValueError, match="record="):
        bridge.sample(
            None, SCHEDULE, golden_predictor, X1, steps=(0, 999), deterministic=True, record=record
        )


@pytest.mark.parametrize("name", bridge.SAMPLERS)
def test_the_table_of_a_sampler_is_what_it_walks(name):
    """By the same key, with a hole, to the same bits."""
    steps, eta = bridge.step_grid(1000, 5), 0.5 * (name == "implicit")
    options, key = {"mask": HOLE}, jax.random.key(0)
    whole = bridge.make_sampler(name, eta=eta)
    ours = whole(key, SCHEDULE, golden_predictor, X1, steps=steps, **options).x0
    weights, visited, noise = bridge.sampler_steps(name, SCHEDULE, steps, eta=eta)
    options["noise"] = noise
    theirs = bridge.walk(key, weights, golden_predictor, X1, steps=visited, **options).x0
    np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="must ascend"):
        bridge.sampler_steps(name, SCHEDULE, steps[:-1], eta=eta)
