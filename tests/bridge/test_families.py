"""Every shipped bridge passes the same conformance suite, and carries Gaussians to Gaussians."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge

N = 200
SCHEDULE = bridge.make_symmetric_schedule(num_steps=N, beta_max=1.0)
BRIDGES = {
    "i2sb": bridge.i2sb_bridge(SCHEDULE),
    "i2sb-inclusive": bridge.i2sb_bridge(SCHEDULE, convention="inclusive"),
    "brownian": bridge.brownian_bridge(num_steps=N, variance=0.3),
    "vp": bridge.vp_bridge(num_steps=N),
    "ou": bridge.ou_bridge(num_steps=N),
}
ONE = np.ones((1, 1), np.float32)
PAIRS = [(0, 1), (3, 90), (40, 41), (100, 170), (120, N - 2), (5, N - 1)]


def pinned_chain(name):
    """(A, Q, whether it drifts to x_T) of each step of the Markov chain behind the bridge.

    x_{n+1} = A·x_n + N(0, Q) from x_0 at index -1, or the same of x - x_T. Written from the papers'
    definitions and not from the library's coefficients.
    """
    if name.startswith("i2sb"):
        var = np.asarray(SCHEDULE.std_fwd, np.float64) ** 2
        return np.ones(N), np.diff(var, prepend=0.0), False
    if name == "brownian":  # variance 2s·t/T of an unpinned Brownian motion, t = 1 … T
        return np.ones(N), np.full(N, 2 * 0.3 / N), False
    if name == "vp":  # dx = -β/2·x dt + √β dw with β(t) = 0.1 + 2·t
        time = np.append(0.0, np.linspace(1e-4, 1.0, N))
        integral = np.diff(0.1 * time + time**2)
        return np.exp(-integral / 2), 1 - np.exp(-integral), False
    theta = np.sin(np.pi / 2 * np.arange(1, N + 1) / N) ** 2
    theta *= np.log(200) / theta.sum()
    return np.exp(-theta), (60 / 255) ** 2 * (1 - np.exp(-2 * theta)), True


def conditioned(name):
    """a, b, c by conditioning the chain's joint Gaussian on its last state."""
    factor, noise, drifts = pinned_chain(name)
    weight, var = np.empty(N), np.empty(N)  # of x_0, and the variance, before conditioning
    last_weight, last_var = 1.0, 0.0
    for n in range(N):
        last_weight = factor[n] * last_weight
        last_var = factor[n] ** 2 * last_var + noise[n]
        weight[n], var[n] = last_weight, last_var
    onward = weight[-1] / weight  # Cov(x_n, x_T) = onward·var
    gain = onward * var / var[-1]
    a, b = gain, weight - gain * weight[-1]
    c = np.sqrt(np.maximum(var - gain * onward * var, 0))
    return (1 - b if drifts else a), b, c


# --- conformance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BRIDGES)
def test_positive_and_pinned(name):
    made = BRIDGES[name]
    assert (made.b[:-1] > 0).all() and (made.c[1:-1] > 0).all() and (made.scale > 0).all()
    assert (made.a >= 0).all() and (np.diff(made.noise_level) > 0).all()
    log_snr = np.log(made.b[:-1] / made.c[:-1])
    assert (np.diff(log_snr) < 0).all()
    # at T exactly X_T; the inclusive convention has a step's variance there, as it was trained
    var = np.asarray(SCHEDULE.std_fwd, np.float64) ** 2
    left = float(var[-1] - var[-2]) if name == "i2sb-inclusive" else 0.0
    share = float(2 * left / var[-1]) + 1e-12
    assert made.c[-1] ** 2 == pytest.approx(left, rel=1e-2, abs=1e-12)
    assert made.a[-1] == pytest.approx(1.0, abs=share)
    assert made.b[-1] == pytest.approx(0.0, abs=share)
    # at index 0 close to x_0
    assert made.b[0] > 0.98 and made.a[0] < 0.02 and made.c[0] < 0.15


def tolerance(name):
    """Relative, in variance and weights: rounding, or for the inclusive one the doubled β."""
    if name != "i2sb-inclusive":
        return 1e-9
    var = np.asarray(SCHEDULE.std_fwd, np.float64) ** 2
    return 2 * np.diff(var, prepend=0.0).max() / var[-1]


@pytest.mark.parametrize("name", BRIDGES)
def test_coefficients_are_those_of_the_process(name):
    made = BRIDGES[name]
    exact = conditioned(name)
    limit = max(tolerance(name), 1e-7)  # the schedule's σ are float32
    for ours, theirs in zip((made.a, made.b, made.c**2), (*exact[:2], exact[2] ** 2), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=limit, atol=limit)
    wrong = dict(zip("abc", exact, strict=True)) | {"c": exact[2] * 1.2}
    assert not np.allclose(made.c, wrong["c"], rtol=limit, atol=limit)


def chain_posterior(name, m, n):
    """κ and ω² of p(x_m | x_n, x_0, x_T), by conditioning the chain of x_0 on x_n alone.

    Past and future are independent given x_n, so x_T adds nothing: Kalman's smoother, one step.
    """
    factor, noise, _ = pinned_chain(name)
    var = np.zeros(N)  # given x_0
    last = 0.0
    for k in range(N):
        last = factor[k] ** 2 * last + noise[k]
        var[k] = last
    onward = np.prod(factor[m + 1 : n + 1])
    kappa = onward * var[m] / var[n]
    return kappa, var[m] - kappa * onward * var[m]


@pytest.mark.parametrize("name", BRIDGES)
@pytest.mark.parametrize("m, n", PAIRS)
def test_marginal_and_posterior_are_consistent(name, m, n):
    """Var(x_m | x_0, x_T) = κ²·Var(x_n | x_0, x_T) + ω², with the chain's own κ and ω.

    Of I²SB both come from Eq. (4) through the library's own posterior.
    """
    made = BRIDGES[name]
    kappa, var = chain_posterior(name, m, n)
    if name.startswith("i2sb"):
        zero, one = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
        own = bridge.posterior(SCHEDULE, m, n, one, zero)
        assert float(own.mean[0, 0]) == pytest.approx(kappa, rel=1e-5)
        # it leaves out the noise at index 0
        assert float(own.std[0, 0]) ** 2 == pytest.approx(var if m else 0.0, rel=1e-4)
        # and neither I²SB nor any other bridge without drift weighs x_T
        assert kappa * made.a[n] == pytest.approx(made.a[m], rel=max(tolerance(name), 1e-6))
    limit = max(tolerance(name), 1e-6)
    assert kappa**2 * made.c[n] ** 2 + var == pytest.approx(made.c[m] ** 2, rel=limit)
    if n < N - 1:  # at T nothing of x_n is left to weigh
        wrong = (1.1 * kappa * made.c[n]) ** 2 + var
        share = (kappa * made.c[n] / made.c[m]) ** 2
        assert abs(wrong / made.c[m] ** 2 - 1) == pytest.approx(0.21 * share, abs=limit)
        assert m or share < 0.6 or abs(wrong / made.c[m] ** 2 - 1) > limit


@pytest.mark.parametrize("name", BRIDGES)
def test_eta_one_is_the_processes_own_posterior(name):
    """κ of η = 1 against the chain's: Cov(x_m, x_n | x_0, x_T) / Var(x_n | x_0, x_T)."""
    made = BRIDGES[name]
    steps = (0, 30, 90, 150, N - 1)
    weights = bridge.implicit_steps(made, steps, eta=1.0)
    _, b, c = conditioned(name)
    for row, (m, n) in enumerate(itertools.pairwise((150, 90, 30, 0)), start=1):
        n, m = m, n
        expected = (b[n] / b[m]) * (c[m] / c[n]) ** 2
        limit = max(3 * tolerance(name), 1e-6)
        assert weights.xt[row] == pytest.approx(expected, rel=limit)
        assert bridge.implicit_steps(made, steps).xt[row] > expected * 1.01


@pytest.mark.parametrize("name", BRIDGES)
@pytest.mark.parametrize("sampler, eta", [("ddpm", 0), ("implicit", 0), ("implicit", 0.5)])
def test_with_the_right_x0_every_state_has_the_marginal(name, sampler, eta):
    """A predictor that knows X_0: the states are then draws of q(x_t | x_0, x_T)."""
    made = BRIDGES[name]
    x0, x1, count = 0.6, -0.4, 20_000
    steps = bridge.step_grid(N, 8)
    out = bridge.make_sampler(sampler, eta=eta)(
        jax.random.key(1), made, lambda xt, step: jnp.full_like(xt, x0), jnp.full((count, 1), x1),
        steps=steps, record=(6, 3),
    )  # fmt: skip
    for states, position in zip(np.asarray(out.xt_path), (6, 3), strict=True):
        index = steps[position]
        std = made.c[index]
        mean = made.a[index] * x1 + made.b[index] * x0
        assert states.mean() == pytest.approx(mean, abs=5 * std / count**0.5)
        assert states.std() == pytest.approx(std, rel=5 / (2 * count) ** 0.5)


# --- two Gaussians in the plane -------------------------------------------------------------------

M0, M1 = np.array([0.5, -0.3]), np.array([-0.4, 0.2])
S0 = np.array([[0.20, 0.06], [0.06, 0.10]])
S1 = np.array([[0.15, -0.05], [-0.05, 0.30]])
CROSS = 0.5 * np.array([[0.12, 0.02], [-0.03, 0.09]])  # Cov(X_0, X_1)


def moments(made, index):
    """Of x_t, for jointly Gaussian X_0 and X_1."""
    a, b, c = made.a[index], made.b[index], made.c[index]
    cov = b**2 * S0 + a**2 * S1 + a * b * (CROSS + CROSS.T) + c**2 * np.eye(2)
    return b * M0 + a * M1, cov


def exact_predictor(made, x1):
    """E[X_0 | X_t, X_1], per draw, as a function of the index; float64 tables."""
    gain_1 = CROSS @ np.linalg.inv(S1)
    given = S0 - gain_1 @ CROSS.T  # Cov(X_0 | X_1)
    centre = jnp.asarray(M0 + (np.asarray(x1, np.float64) - M1) @ gain_1.T, jnp.float32)
    gains = [
        made.b[n] * given @ np.linalg.inv(made.b[n] ** 2 * given + made.c[n] ** 2 * np.eye(2))
        if made.b[n] > 0
        else np.zeros((2, 2))
        for n in range(N)
    ]
    gains = jnp.asarray(np.stack(gains), jnp.float32)
    a, b = (jnp.asarray(x, jnp.float32) for x in (made.a, made.b))

    def predict_x0_fn(xt, step):
        return centre + (xt - a[step] * x1 - b[step] * centre) @ gains[step].T

    return predict_x0_fn


@pytest.mark.parametrize("name", BRIDGES)
@pytest.mark.parametrize("sampler, nfe", [("ddpm", 100), ("implicit2", 30)])
def test_gaussians_arrive_as_gaussians(name, sampler, nfe):
    """X_1's cloud ends with the mean and covariance of the closed form at index 0."""
    made, count = BRIDGES[name], 8000
    key_x1, key = jax.random.split(jax.random.key(5))
    x1 = jax.random.multivariate_normal(key_x1, jnp.asarray(M1), jnp.asarray(S1), (count,))
    x1 = x1.astype(jnp.float32)
    steps = bridge.step_grid(N, nfe, spacing="lambda", schedule=made)
    run = jax.jit(bridge.make_sampler(sampler), static_argnames=("predict_x0_fn", "steps"))
    x0 = np.asarray(run(key, made, exact_predictor(made, x1), x1, steps=steps).x0, np.float64)
    mean, cov = moments(made, 0)
    # five standard errors; the last step leaves out the noise of index 0; so many steps have a bias
    slack = made.c[0] ** 2 + 0.02 * S0.max()
    error = 5 * S0.max() * (2 / count) ** 0.5 + slack
    np.testing.assert_allclose(x0.mean(0), mean, atol=5 * (S0.max() / count) ** 0.5 + slack)
    np.testing.assert_allclose(np.cov(x0.T), cov, atol=error)
    blind = run(key, made, constant_predictor, x1, steps=steps).x0
    assert np.abs(np.cov(np.asarray(blind).T) - cov).max() > 2 * error


def constant_predictor(xt, step):
    return jnp.broadcast_to(jnp.asarray(M0, xt.dtype), xt.shape)


def test_names():
    assert {"i2sb", "i2sb-inclusive", "brownian", "vp", "ou"} == set(BRIDGES)  # all are conformed
    assert len(bridge.BRIDGES) == len(BRIDGES)
    made = {name: bridge.make_bridge(name, num_steps=N, beta_max=1.0) for name in bridge.BRIDGES}
    assert isinstance(made["i2sb"], bridge.BridgeSchedule)
    for name, ours in (("i2sb", "i2sb-inclusive"), ("i2sb-exact", "i2sb"), ("vp", "vp")):
        np.testing.assert_allclose(made[name].c, BRIDGES[ours].c)
    with pytest.raises(ValueError, match="num_steps=9 must be even"):
        bridge.make_bridge("i2sb", num_steps=9, beta_max=1.0)


# --- making one -----------------------------------------------------------------------------------

FEW = {"a": [0.1, 0.5, 1.0], "b": [0.9, 0.5, 0.0], "c": [0.1, 0.3, 0.0], "scale": [1.0, 1.0, 1.0]}


def test_make_gaussian_bridge():
    made = bridge.make_gaussian_bridge(**FEW)
    assert made.num_steps == 3 and made.noise_level[-1] == 3.0 and made.a.dtype == np.float64
    moved = jax.tree.map(lambda x: 2 * x, made)  # a pytree
    assert moved.num_steps == 3 and moved.b[0] == 1.8
    assert dataclasses.replace(made, c=np.zeros(3)).c[1] == 0


def test_what_rounding_leaves_at_the_end_is_cut_off():
    time = np.arange(1, 51) / 50
    made = bridge.make_gaussian_bridge(
        a=np.sin(np.pi / 2 * time) ** 2, b=np.cos(np.pi / 2 * time), c=0.3 * np.sin(np.pi * time),
        scale=np.ones(50),
    )  # fmt: skip
    assert (made.a[-1], made.b[-1], made.c[-1]) == (1, 0, 0)
    snr = bridge.signal_to_noise(made)
    assert snr[-1] == 0 and (np.diff(snr) < 0).all()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"a": 1.0}, r"a has shape \(\), must be \[num_steps\]"),
        ({"c": [0.1, 0.3]}, r"c has shape \(2,\), must be \[num_steps\]"),
        ({"b": [0.9, -0.5, 0.0]}, r"b\[1\]=-0.5 must be positive below T"),
        ({"b": [0.9, 0.0, 0.0]}, r"b\[1\]=0 must be positive below T"),
        ({"c": [0.1, 0.0, 0.0]}, r"c\[1\]=0 must be positive"),
        ({"scale": [1.0, 0.0, 1.0]}, r"scale\[1\]=0 must be positive"),
        ({"a": [0.1, np.nan, 1.0]}, r"a\[1\]=nan must be finite"),
        ({"a": [0.1, 0.5, 0.9]}, r"a\[2\]=0.9 must be 1: sampling starts at x_T itself"),
        ({"c": [0.1, 0.3, 0.1]}, r"c\[2\]=0.1 must be 0: sampling starts"),
        ({"c": [0.9, 0.3, 0.0]}, r"b/c\[0\]=1 must fall from each index to the next"),
    ],
)
def test_what_is_no_bridge_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        bridge.make_gaussian_bridge(**{**FEW, **change})


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: bridge.make_bridge("ve", num_steps=8, beta_max=1), "'ve' is not known: choose of"),
        (lambda: bridge.i2sb_bridge(SCHEDULE, convention="paper"), "'paper' is not known: exact"),
        (lambda: bridge.brownian_bridge(num_steps=1), "num_steps=1 must be at least 2"),
        (lambda: bridge.brownian_bridge(num_steps=9, variance=0), "variance=0 must be positive"),
        (lambda: bridge.vp_bridge(num_steps=9, beta_min=-1), "beta_min=-1 must be positive"),
        (lambda: bridge.ou_bridge(num_steps=9, remainder=1), "remainder=1 must be below 1"),
        (lambda: bridge.diffusion_bridge(alpha=[], std=[]), r"alpha has shape \(0,\) and std"),
        (lambda: bridge.diffusion_bridge(alpha=[1, 1], std=[1, 2, 3]), r"std \(3,\), must both"),
        (lambda: bridge.diffusion_bridge(alpha=[1, 0], std=[1, 2]), r"alpha\[1\]=0 must be posi"),
        (lambda: bridge.posterior(BRIDGES["vp"], 0, 9, ONE, ONE), "is of I²SB's BridgeSchedule"),
    ],
)
def test_bad_parameters(make, words):
    with pytest.raises(ValueError, match=words):
        make()
