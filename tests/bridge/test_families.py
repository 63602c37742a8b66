"""Every shipped bridge passes the same conformance suite, and carries Gaussians to Gaussians."""

import dataclasses
import functools
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
    "nadb": bridge.nadb_bridge(num_steps=N),
    "linear": bridge.linear_bridge(num_steps=N, gamma=0.2),
    "unidb": bridge.unidb_bridge(num_steps=N),
    "unidb-soft": bridge.unidb_bridge(num_steps=N, penalty=20.0),
    "irsde": bridge.irsde_bridge(num_steps=N),
    "resshift": bridge.resshift_bridge(num_steps=N),
}
STRAIGHT = bridge.linear_bridge(num_steps=N)  # has no noise, and tests of its own
DIFFERENT = [name for name in BRIDGES if name != "unidb-soft"]  # in more than a value
CHAINS = [name for name in BRIDGES if name != "nadb"]  # have an SDE behind them
AROUND = ("unidb", "unidb-soft", "irsde", "resshift")  # end around x_T, not at it
KEY = jax.random.key(3)
ONE = np.ones((1, 1), np.float32)
PAIRS = [(0, 1), (3, 90), (40, 41), (100, 170), (120, N - 2), (5, N - 1)]


def chain(name):
    """(A, Q) of each step of the Markov chain behind the bridge.

    x_{n+1} = A·x_n + N(0, Q) from x_0 at index -1; of those that drift to x_T the same of x - x_T.
    Written from the papers' definitions and not from the library's coefficients.
    """
    if name.startswith("i2sb"):
        var = np.asarray(SCHEDULE.std_fwd, np.float64) ** 2
        return np.ones(N), np.diff(var, prepend=0.0)
    if name == "brownian":  # variance 2s·t/T of an unpinned Brownian motion, t = 1 … T
        return np.ones(N), np.full(N, 2 * 0.3 / N)
    if name == "linear":  # c² = 4γ²·t·(1 - t) is that of a Brownian motion of 4γ² a unit of time
        return np.ones(N), np.full(N, 4 * 0.2**2 / N)
    if name == "vp":  # dx = -β/2·x dt + √β dw with β(t) = 0.1 + 2·t
        time = np.append(0.0, np.linspace(1e-4, 1.0, N))
        integral = np.diff(0.1 * time + time**2)
        return np.exp(-integral / 2), 1 - np.exp(-integral)
    if name == "resshift":  # x_n = x_{n-1} + α_n·(x_T - x_0) + κ·√α_n·z: the drift is of the mean
        root = np.geomspace(1e-3, 0.999, 10_001) ** 0.5
        eta = np.interp(np.linspace(0, 1, N) ** 0.3, np.linspace(0, 1, 10_001), np.log(root))
        return np.ones(N), 0.5**2 * np.diff(np.exp(2 * eta), prepend=0.0)
    theta = np.sin(np.pi / 2 * np.arange(1, N + 1) / N) ** 2
    theta *= np.log(200) / theta.sum()
    stationary = 20 / 255 if name == "irsde" else 60 / 255
    if name.startswith("unidb"):
        return controlled_chain(theta, stationary, penalty=20.0 if "soft" in name else 1e7)
    return np.exp(-theta), stationary**2 * (1 - np.exp(-2 * theta))


def controlled_chain(theta, stationary, *, penalty):
    """The SDE of UniDB, integrated; θ is constant between two indices.

    Of the centred state z the control that costs ½∫‖u‖² + γ/2·‖z_T‖² is u = -g·P·z, with Riccati's
    P' = 2·θ·P + g²·P² back from P_T = γ. So dz = -(θ + g²·P)·z dt + g dw, whose mean and variance
    over a step are integrated backwards with it.
    """
    factor, noise = np.empty(N), np.empty(N)

    def back(state, rate, power):  # of 1/P, log of what is left of z, and its variance, at the end
        inverse, log_left, _ = state
        return np.array([2 * rate * inverse + power, -(rate + power / inverse),
                         power * np.exp(2 * log_left)])  # fmt: skip

    inverse = 1 / penalty
    for n in reversed(range(N)):
        rate, power, state = theta[n], 2 * stationary**2 * theta[n], np.array([inverse, 0.0, 0.0])
        # where 1/P grows from very little, in steps that grow with it
        first = min(inverse / power / 9, 0.5)
        count = 2 + int(np.log(1 / first) / 0.1)
        for h in np.diff(np.append(0.0, np.geomspace(first, 1.0, count))):
            one = back(state, rate, power)
            two = back(state + h / 2 * one, rate, power)
            three = back(state + h / 2 * two, rate, power)
            four = back(state + h * three, rate, power)
            state = state + h / 6 * (one + 2 * two + 2 * three + four)  # Runge and Kutta
        inverse, factor[n], noise[n] = state[0], np.exp(state[1]), state[2]
    return factor, noise


chain_of = functools.cache(chain)


@functools.cache
def by_integration(name):
    """a, b, c of the chain; of a pinned bridge by conditioning the joint Gaussian on its end."""
    factor, noise = chain_of(name)
    weight, var = np.empty(N), np.empty(N)  # of x_0, and the variance, before conditioning
    last_weight, last_var = 1.0, 0.0
    for n in range(N):
        last_weight = factor[n] * last_weight
        last_var = factor[n] ** 2 * last_var + noise[n]
        weight[n], var[n] = last_weight, last_var
    if name == "resshift":  # what the steps have added of x_T - x_0
        return var / 0.5**2, 1 - var / 0.5**2, np.sqrt(var)
    if name in AROUND:
        return 1 - weight, weight, np.sqrt(var)
    onward = weight[-1] / weight  # Cov(x_n, x_T) = onward·var
    gain = onward * var / var[-1]
    a, b = gain, weight - gain * weight[-1]
    c = np.sqrt(np.maximum(var - gain * onward * var, 0))
    return (1 - b if name == "ou" else a), b, c


# --- conformance ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BRIDGES)
def test_positive_and_pinned(name):
    made = BRIDGES[name]
    assert (made.b[:-1] > 0).all() and (made.c[1:-1] > 0).all() and (made.scale > 0).all()
    assert (made.a >= 0).all() and (np.diff(made.noise_level) > 0).all()
    log_snr = np.log(made.b[:-1] / made.c[:-1])
    assert (np.diff(log_snr) < 0).all()
    # at index 0 close to x_0
    assert made.b[0] > 0.98 and made.a[0] < 0.02 and made.c[0] < 0.15
    if name in AROUND:  # at T as near to x_T as the paper has it, and as noisy as the start
        assert made.a[-1] > 0.99
        assert made.a[-1] + made.b[-1] == pytest.approx(1.0)
        assert made.c[-1] == pytest.approx(made.start_std, rel=1e-3)
        return
    assert made.start_std == 0
    # at T exactly X_T; the inclusive convention has a step's variance there, as it was trained
    var = np.asarray(SCHEDULE.std_fwd, np.float64) ** 2
    left = float(var[-1] - var[-2]) if name == "i2sb-inclusive" else 0.0
    share = float(2 * left / var[-1]) + 1e-12
    assert made.c[-1] ** 2 == pytest.approx(left, rel=1e-2, abs=1e-12)
    assert made.a[-1] == pytest.approx(1.0, abs=share)
    assert made.b[-1] == pytest.approx(0.0, abs=share)


def tolerance(name):
    """Relative, in variance and weights: rounding, or for the inclusive one the doubled β.

    Of UniDB it is the error of integration.
    """
    if name.startswith("unidb"):
        return 1e-6
    if name != "i2sb-inclusive":
        return 1e-9
    var = np.asarray(SCHEDULE.std_fwd, np.float64) ** 2
    return 2 * np.diff(var, prepend=0.0).max() / var[-1]


@pytest.mark.parametrize("name", CHAINS)
def test_coefficients_are_those_of_the_process(name):
    made = BRIDGES[name]
    exact = by_integration(name)
    limit = max(tolerance(name), 1e-7)  # the schedule's σ are float32
    for ours, theirs in zip((made.a, made.b, made.c**2), (*exact[:2], exact[2] ** 2), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=limit, atol=limit)
    wrong = dict(zip("abc", exact, strict=True)) | {"c": exact[2] * 1.2}
    assert not np.allclose(made.c, wrong["c"], rtol=limit, atol=limit)


def chain_posterior(name, m, n):
    """κ and ω² of p(x_m | x_n, x_0, x_T), by conditioning the chain of x_0 on x_n alone.

    Past and future are independent given x_n, so x_T adds nothing: Kalman's smoother, one step.
    """
    factor, noise = chain_of(name)
    var = np.zeros(N)  # given x_0
    last = 0.0
    for k in range(N):
        last = factor[k] ** 2 * last + noise[k]
        var[k] = last
    onward = np.prod(factor[m + 1 : n + 1])
    kappa = onward * var[m] / var[n]
    return kappa, var[m] - kappa * onward * var[m]


@pytest.mark.parametrize("name", CHAINS)
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


@pytest.mark.parametrize("name", [name for name in CHAINS if name != "resshift"])
def test_eta_one_is_the_processes_own_posterior(name):
    """κ of η = 1 against the chain's: Cov(x_m, x_n | x_0, x_T) / Var(x_n | x_0, x_T)."""
    made = BRIDGES[name]
    steps = (0, 30, 90, 150, N - 1)
    weights = bridge.implicit_steps(made, steps, eta=1.0)
    _, b, c = by_integration(name)
    for row, (m, n) in enumerate(itertools.pairwise((150, 90, 30, 0)), start=1):
        n, m = m, n
        expected = (b[n] / b[m]) * (c[m] / c[n]) ** 2
        limit = max(3 * tolerance(name), 1e-6)
        assert weights.xt[row] == pytest.approx(expected, rel=limit)
        assert bridge.implicit_steps(made, steps).xt[row] > expected * 1.01


@pytest.mark.parametrize("name", BRIDGES)
@pytest.mark.parametrize(
    "sampler, eta", [("ddpm", 0), ("implicit", 0), ("implicit", 0.5), ("heun", 0)]
)
def test_with_the_right_x0_every_state_has_the_marginal(name, sampler, eta):
    """A predictor that knows X_0: the states are then draws of q(x_t | x_0, x_T)."""
    made = BRIDGES[name]
    x0, x1, count = 0.6, -0.4, 20_000
    steps = visited = bridge.step_grid(N, 8)
    if sampler == "heun":
        _, visited = bridge.second_order_steps(made.pinned(), steps)
    out = bridge.make_sampler(sampler, eta=eta)(
        jax.random.key(1), made, lambda xt, step: jnp.full_like(xt, x0), jnp.full((count, 1), x1),
        steps=steps, record=(6, 3),
    )  # fmt: skip
    for states, position in zip(np.asarray(out.xt_path), (6, 3), strict=True):
        index = visited[position]
        std = made.c[index]
        mean = made.a[index] * x1 + made.b[index] * x0
        # of x_0 a start around x_T leaves out what is left of it at T, and has a little more noise
        left, more = abs(made.b[-1] * (x0 - x1)), 1e-3 if made.start_std else 0.0
        assert states.mean() == pytest.approx(mean, abs=5 * std / count**0.5 + left)
        assert states.std() == pytest.approx(std, rel=5 / (2 * count) ** 0.5 + more)


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


@pytest.mark.parametrize("name", DIFFERENT)
@pytest.mark.parametrize("sampler, nfe", [("ddpm", 150), ("implicit2", 30)])
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
    slack = made.c[0] ** 2 + 0.02 * S0.max() + made.b[-1] * np.abs(M0 - M1).max()
    error = 5 * S0.max() * (2 / count) ** 0.5 + slack
    np.testing.assert_allclose(x0.mean(0), mean, atol=5 * (S0.max() / count) ** 0.5 + slack)
    np.testing.assert_allclose(np.cov(x0.T), cov, atol=error)
    blind = run(key, made, constant_predictor, x1, steps=steps).x0
    assert np.abs(np.cov(np.asarray(blind).T) - cov).max() > 2 * error


def constant_predictor(xt, step):
    return jnp.broadcast_to(jnp.asarray(M0, xt.dtype), xt.shape)


def test_names():
    options = {"num_steps": N, "beta_max": 1.0, "gamma": 0.2, "penalty": 1e7}
    made = {name: bridge.make_bridge(name, **options) for name in bridge.BRIDGES}
    assert isinstance(made["i2sb"], bridge.BridgeSchedule)
    conformed = {name: name for name in bridge.BRIDGES}  # by all that is above
    conformed |= {"i2sb": "i2sb-inclusive", "i2sb-exact": "i2sb"}
    for name in set(bridge.BRIDGES) - {"brownian"}:  # whose variance is the suite's own
        np.testing.assert_allclose(made[name].c, BRIDGES[conformed[name]].c)
        assert not made[name].x1_input
    for name in ("i2sb", "irsde"):
        assert bridge.make_bridge(name, **options, x1_input=True).x1_input
    with pytest.raises(ValueError, match="num_steps=9 must be even"):
        bridge.make_bridge("i2sb", num_steps=9, beta_max=1.0)


# --- what each has of its own ---------------------------------------------------------------------


def test_nadb_keeps_the_state_alone_while_that_adds_noise():
    """Both phases, written out; the first, taken below its end, would have to take noise away."""
    made, alpha = BRIDGES["nadb"], 0.4
    time = np.linspace(1e-6, 1.0, N)
    steps = (0, 4, 30, 60, 100, 150, N - 1)
    last = (1 - alpha) / (2 - alpha)
    weights, phases = bridge.posterior_steps(made, steps), set()
    for row, (r, t) in enumerate(itertools.pairwise(time[list(steps)])):
        row = len(steps) - 2 - row
        kept = (r / t) ** alpha if r >= last else r / t
        phases.add(bool(r >= last))
        var = (0.75 * r * (1 - r)) ** 2 - (kept * 0.75 * t * (1 - t)) ** 2
        assert weights.xt[row] == pytest.approx(kept)
        assert weights.std[row] == pytest.approx(np.sqrt(var) if r > time[0] else 0.0)
        assert weights.x0[row, 0] == pytest.approx(1 - r**alpha - kept * (1 - t**alpha))
        assert weights.x1[row] == pytest.approx(r**alpha - kept * t**alpha, abs=1e-12)
    assert phases == {True, False}
    # what the first phase keeps of the noise, over what there is to be of it
    share = (made.a[:-1] / made.a[1:]) * made.c[1:] / made.c[:-1]
    assert (share[time[:-1] >= last] < 1).all() and (share[time[:-1] < last - 1 / N] > 1).all()
    with pytest.raises(ValueError, match=r"kept\[0\]=1 must keep no more noise than c"):
        bridge.make_gaussian_bridge(a=made.a, b=made.b, c=made.c, scale=made.scale, kept=np.ones(N))


def test_resshifts_chain_is_its_own_and_no_eta():
    made, steps = BRIDGES["resshift"], (0, 40, 90, 150, N - 1)
    weights = bridge.posterior_steps(made, steps)
    now, to = made.a[np.array(steps[:0:-1])], made.a[np.array(steps[-2::-1])]
    np.testing.assert_allclose(weights.xt, to / now)
    np.testing.assert_allclose(weights.x0[:, 0], 1 - to / now)
    np.testing.assert_allclose(weights.x1, 0, atol=1e-12)
    std = 0.5 * np.sqrt(to * (1 - to / now))
    np.testing.assert_allclose(weights.std, np.append(std[:-1], 0))
    other = bridge.implicit_steps(made, steps, eta=1.0)
    assert np.abs(other.xt / weights.xt - 1).max() > 0.1


@pytest.mark.parametrize("name", ["i2sb", "brownian", "linear", "vp"])
def test_where_nothing_drifts_to_x1_the_state_alone_is_the_posterior(name):
    made, steps = BRIDGES[name], (0, 40, 90, 150, N - 1)
    alone = bridge.posterior_steps(dataclasses.replace(made, kept=np.ones(N)), steps)
    posterior = bridge.implicit_steps(made, steps, eta=1.0)
    for column in ("xt", "x0", "x1", "std"):
        ours, theirs = getattr(alone, column)[1:], getattr(posterior, column)[1:]
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    drifting = dataclasses.replace(BRIDGES["ou"], kept=np.ones(N))
    posterior = bridge.implicit_steps(BRIDGES["ou"], steps, eta=1.0)
    assert np.abs(bridge.posterior_steps(drifting, steps).xt[1:] - posterior.xt[1:]).max() > 1e-3


def test_without_noise_the_line_is_indi_and_flow_matching():
    steps = (0, 40, 120, N - 1)
    x0, x1 = np.float32([[0.3, -0.2]]), np.float32([[-0.5, 0.9]])
    state, time = bridge.q_sample(None, STRAIGHT, 99, x0, x1, deterministic=True), 0.5
    np.testing.assert_allclose(state, (x0 + x1) / 2, rtol=1e-6)
    np.testing.assert_allclose(
        bridge.regression_target(STRAIGHT, 99, state, x0), x1 - x0, rtol=1e-5
    )
    weights = bridge.posterior_steps(STRAIGHT, steps)
    s, t = ((np.array(x) + 1) / N for x in (steps[:0:-1], steps[-2::-1]))
    np.testing.assert_allclose(weights.xt, t / s)
    np.testing.assert_allclose(weights.x0[:, 0], 1 - t / s)
    assert not weights.std.any() and np.abs(weights.x1).max() < 1e-12
    # Euler's step along x_T - x_0, as the network gives it
    velocity = (state - 0.1) / time
    row = bridge.posterior_steps(STRAIGHT, (19, 99, N - 1))
    euler = state + (0.1 - time) * velocity
    np.testing.assert_allclose(row.xt[1] * state + row.x0[1, 0] * 0.1, euler, rtol=1e-5)
    # samplers that need noise have none to work with
    for sampler in ("implicit", "implicit3", "heun", "exponential"):
        with pytest.raises(ValueError, match="implicit samplers need a bridge with noise"):
            bridge.make_sampler(sampler)(KEY, STRAIGHT, constant_predictor, x1, steps=steps)
    with pytest.raises(ValueError, match="spacing='lambda' needs a bridge with noise"):
        bridge.step_grid(N, 5, spacing="lambda", schedule=STRAIGHT)
    with pytest.raises(ValueError, match="weighting='snr' is infinite"):
        bridge.loss_weight(STRAIGHT, prediction="x0", weighting="snr")
    np.testing.assert_allclose(
        bridge.linear_bridge(num_steps=N, gamma=0.2).c,
        bridge.brownian_bridge(num_steps=N, variance=2 * 0.2**2).c,
    )


@pytest.mark.parametrize("sampler", ["ode", "ode2"])
def test_a_flow_carries_gaussians_to_gaussians(sampler):
    """Independent ends: the flow keeps (x - mean)/deviation; its end has X_0's moments."""
    count, steps = 8000, bridge.step_grid(N, 60)
    x1 = 0.8 * jax.random.normal(KEY, (count, 1)) - 0.4
    a, b = (jnp.asarray(x, jnp.float32) for x in (STRAIGHT.a, STRAIGHT.b))

    def predict_x0_fn(xt, step):
        gain = b[step] * 0.3**2 / (b[step] ** 2 * 0.3**2 + a[step] ** 2 * 0.8**2)
        return 0.5 + gain * (xt - 0.5 * b[step] + 0.4 * a[step])

    def ends(predict_x0_fn):
        run = bridge.make_sampler(sampler)
        return np.asarray(run(None, STRAIGHT, predict_x0_fn, x1, steps=steps).x0)

    # where the chain begins: the line's last step is 1/N long
    x0, wrong = ends(predict_x0_fn), ends(lambda xt, step: jnp.full_like(xt, 0.5))
    mean = (0.5 * STRAIGHT.b - 0.4 * STRAIGHT.a)[0]
    std = np.hypot(0.3 * STRAIGHT.b, 0.8 * STRAIGHT.a)[0]
    assert x0.mean() == pytest.approx(mean, abs=5 * std / count**0.5)
    # 60 steps of first order leave out some hundredths, 30 of second order few thousandths
    error = 5 / (2 * count) ** 0.5
    assert x0.std() == pytest.approx(std, rel=error + (0.1 if sampler == "ode" else 0.01))
    assert abs(wrong.std() - std) > 0.2


def test_unidb_tends_to_goub():
    hard = bridge.unidb_bridge(num_steps=N, penalty=1e12)
    assert hard.start_std == 0  # pinned, as good as
    for ours, theirs in zip((hard.a, hard.b, hard.c), by_integration("ou"), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    far = [
        np.abs(bridge.unidb_bridge(num_steps=N, penalty=penalty).b - hard.b).max()
        for penalty in (1e2, 1e4, 1e6)
    ]
    assert far[0] > 1e-4 and far[0] > 50 * far[1] > 2500 * far[2]
    assert BRIDGES["unidb"].start_std == pytest.approx(1e7**-0.5, rel=1e-3)


@pytest.mark.parametrize("name", AROUND)
def test_sampling_starts_around_x1(name):
    """What the predictor sees first, by the samplers that draw noise; the OT-ODE draws none."""
    made, x1 = BRIDGES[name], jnp.full((20_000, 1), 0.2)
    steps = (N // 2, N - 1)

    def first(sampler):
        run = bridge.make_sampler(sampler)
        out = run(KEY, made, lambda xt, step: xt, x1, steps=steps, record=(0,))
        return np.asarray(out.x0_path[0], np.float64)

    for sampler in ("ddpm", "implicit", "heun"):
        seen = first(sampler)
        assert seen.std() == pytest.approx(made.start_std, rel=5 / 40_000**0.5)
        assert seen.mean() == pytest.approx(0.2, abs=5 * made.start_std / 20_000**0.5)
    np.testing.assert_array_equal(first("ode"), np.asarray(x1))


@pytest.mark.parametrize("name", ["nadb", "linear", "unidb", "irsde", "resshift", "straight"])
def test_eager_jit_and_vmap_agree(name):
    """Those of I²SB and the sampler's other options are in `test_implicit`."""
    made, x1 = BRIDGES.get(name, STRAIGHT), np.float32([[0.4, -0.1], [0.2, 0.7]])
    steps, keys = bridge.step_grid(N, 4), jax.random.split(KEY, 2)
    names = ("ode", "ode2") if made.noiseless else ("ddpm", "heun")

    def run(key, x1):
        samplers = map(bridge.make_sampler, names)
        return [f(key, made, lambda xt, step: jnp.tanh(xt), x1[None], steps=steps).x0
                for f in samplers]  # fmt: skip

    eager, jitted, mapped = (
        run(keys[1], x1[1]),
        jax.jit(run)(keys[1], x1[1]),
        jax.vmap(run)(keys, x1),
    )
    # of UniDB, whose noise at T is small, the first step makes some hundred times as much of it
    largest = 1.0 if made.noiseless else np.abs(bridge.implicit_steps(made, steps).xt).max()
    limit = max(1e-5, 2 * np.finfo(np.float32).eps * largest)
    for sampler in (0, 1):
        np.testing.assert_allclose(jitted[sampler], eager[sampler], atol=limit)
        np.testing.assert_allclose(mapped[sampler][1], eager[sampler], atol=limit)
        assert np.abs(mapped[sampler][0] - eager[sampler]).max() > 1e-3
    assert np.abs(eager[0] - eager[1]).max() > 1e-4


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
        ({"c": [0.0, 0.0, 0.0]}, r"c\[1\]=0 must be positive"),
        ({"c": [0, 0, 0], "kept": [1, 1, 1], "a": [0.6, 0.3, 1.0]}, r"b/a\[0\]=1.5 must fall"),
        ({"kept": [1.0, 0.0, 1.0]}, r"kept\[1\]=0 must be positive"),
        ({"kept": [0.5, 1.0, 1.0]}, r"kept\[0\]=0.5 must keep no more noise than c"),
        ({"start_std": -1.0}, "start_std=-1.0 must be at least 0"),
        ({"start_std": 0.1}, r"b\[2\]=0 must be positive below T"),
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
        (lambda: bridge.irsde_bridge(num_steps=9, remainder=1), "remainder=1 must be below 1"),
        (lambda: bridge.unidb_bridge(num_steps=9, penalty=0), "penalty=0 must be positive"),
        (lambda: bridge.linear_bridge(num_steps=9, gamma=-1), "gamma=-1 must be at least 0"),
        (lambda: bridge.nadb_bridge(num_steps=9, exponent=1), "exponent=1 must be below 1"),
        (lambda: bridge.resshift_bridge(num_steps=9, ends=(0.1, 1)), r"ends=\(0.1, 1\) must end"),
        (lambda: bridge.diffusion_bridge(alpha=[], std=[]), r"alpha has shape \(0,\) and std"),
        (lambda: bridge.diffusion_bridge(alpha=[1, 1], std=[1, 2, 3]), r"std \(3,\), must both"),
        (lambda: bridge.diffusion_bridge(alpha=[1, 0], std=[1, 2]), r"alpha\[1\]=0 must be posi"),
        (lambda: bridge.posterior(BRIDGES["vp"], 0, 9, ONE, ONE), "is of I²SB's BridgeSchedule"),
    ],
)
def test_bad_parameters(make, words):
    with pytest.raises(ValueError, match=words):
        make()
