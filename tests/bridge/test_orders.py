"""How fast samplers converge, on a Gaussian bridge whose exact predictor is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from tests.bridge import gaussian_problem as problem

SCHEDULE = bridge.make_symmetric_schedule(num_steps=1000, beta_max=0.3)
EXACT = bridge.i2sb_bridge(SCHEDULE)
FROM, TO = -1.0, 3.0  # λ
TOTAL = 0.14  # σ_T²


def even_in_lambda(count, *, before):
    """I²SB's bridge on nodes even in λ from FROM to TO, `before` more ahead, one more behind."""
    h = (TO - FROM) / count
    log_snr = TO + h - h * np.arange(count + before + 2)
    var = np.append(1 / (np.exp(2 * log_snr) + 1 / TOTAL), TOTAL)
    return bridge.diffusion_bridge(alpha=np.ones_like(var), std=np.sqrt(var))


def error_of_formulas(order, count):
    """From exact values at FROM and before, by steps of one order only, at TO; in float64."""
    before = order - 1
    on = even_in_lambda(count, before=before)
    last = on.num_steps - 1
    weights = bridge.implicit_steps(on, tuple(range(on.num_steps)), order=order)

    def exact(t, deviations=1.3):
        return problem.mean(on, t) + deviations * problem.std(on, t)

    # in walking order node 0 is T, nodes 1 … order lead up to FROM, which is node `order`
    history = [problem.predictor(on, last - i, exact(last - i)) for i in range(order - 1, 0, -1)]
    x = exact(last - order)
    for i in range(order, order + count):
        history.insert(0, problem.predictor(on, last - i, x))
        x = weights.xt[i] * x + weights.x1[i] * problem.X_T + weights.x0[i] @ history[:order]
    assert last - (order + count) == 1  # the one node behind: its step is of first order
    return abs(x - exact(1))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_formulas_have_their_order(order):
    counts = np.array([40, 80, 160, 320])
    errors = [error_of_formulas(order, count) for count in counts]
    measured = problem.slope(counts, errors)
    assert order - 0.3 <= measured <= order + 0.5, measured


def error_of_pairs(form, count):
    """The same by steps of two evaluations over two intervals each, `count` evaluations in all."""
    on = even_in_lambda(count, before=0)
    last = on.num_steps - 1
    grid = tuple(range(on.num_steps))
    weights, visited = bridge.second_order_steps(on, grid, form=form)
    x, older = problem.mean(on, last - 1) + 1.3 * problem.std(on, last - 1), 0.0
    for i in range(1, count + 1):
        newest = problem.predictor(on, visited[last - i], x)
        x = weights.xt[i] * x + weights.x1[i] * problem.X_T + weights.x0[i] @ [newest, older]
        older = newest
    return abs(x - problem.mean(on, 1) - 1.3 * problem.std(on, 1))


@pytest.mark.parametrize("form", ["heun", "exponential"])
def test_two_evaluations_are_of_second_order(form):
    counts = np.array([40, 80, 160, 320])
    measured = problem.slope(counts, [error_of_pairs(form, count) for count in counts])
    assert 1.7 <= measured <= 2.5, measured
    first = problem.slope(counts, [error_of_formulas(1, count) for count in counts])
    assert first < 1.3


def error_on_a_line(weights, visited):
    """Of the flow between N(0.5, 0.6²) and N(-1, 1), whose paths keep (x - mean)/deviation."""
    on = LINE
    deviation = np.sqrt((0.6 * on.b) ** 2 + on.a**2)
    mean = 0.5 * on.b - on.a

    def predictor(t, x):
        return 0.5 + on.b[t] * 0.6**2 / deviation[t] ** 2 * (x - mean[t])

    x, history = 0.7, [0.0]
    for i, index in enumerate(visited[:0:-1]):
        history = [predictor(index, x), history[0]]
        x = weights.xt[i] * x + weights.x0[i] @ history[: weights.x0.shape[1]]
    exact = mean + (0.7 - mean[-1]) / deviation[-1] * deviation
    return abs(x - exact[visited[0]])


LINE = bridge.linear_bridge(num_steps=3201)


def test_heun_on_the_ot_ode_is_of_second_order():
    counts = np.array([8, 16, 32, 64])
    grids = [tuple(range(640, 3201, 2560 // count)) for count in counts]
    pairs = [bridge.second_order_steps(LINE, grid, deterministic=True) for grid in grids]
    second = problem.slope(counts, [error_on_a_line(*pair) for pair in pairs])
    assert 1.7 <= second <= 2.5, second
    single = [(bridge.posterior_steps(LINE, grid), grid) for grid in grids]
    assert 0.7 <= problem.slope(counts, [error_on_a_line(*each) for each in single]) <= 1.3


def error(name, spacing, nfe):
    steps = bridge.step_grid(1000, nfe, spacing=spacing, schedule=SCHEDULE)
    if name == "ddpm":
        weights = bridge.posterior_steps(SCHEDULE, steps)
    elif name in ("heun", "exponential"):
        weights, steps = bridge.second_order_steps(EXACT, steps, form=name)
    else:
        weights = bridge.implicit_steps(EXACT, steps, order=int(name[8:] or 1))
    return problem.error_of_end(EXACT, weights, steps)


def test_ten_evaluations_on_the_lambda_grid():
    """The best implicit sampler's error is at most a third of the ancestral sampler's."""
    names = ("ddpm", "implicit", "implicit2", "implicit3")
    errors = {name: error(name, "lambda", 10) for name in names}
    assert min(errors.values()) == min(errors["implicit2"], errors["implicit3"])
    assert min(errors.values()) <= errors["ddpm"] / 3
    # and not because the grid is bad for the ancestral one
    assert min(errors.values()) <= error("ddpm", "index", 10) / 2


@pytest.mark.parametrize(
    "name", ["ddpm", "implicit", "implicit2", "implicit3", "heun", "exponential"]
)
def test_samplers_converge(name):
    counts = np.array([10, 20, 40, 80])
    errors = [error(name, "lambda", nfe) for nfe in counts]
    assert problem.slope(counts, errors) > 0.8
    assert errors[-1] < 0.05 * problem.STD


@pytest.mark.parametrize(
    "name, eta", [("ddpm", 0), ("implicit", 0), ("implicit", 0.5), ("heun", 0)]
)
def test_the_moments_propagated_are_those_of_samples(name, eta):
    """The arithmetic behind this file against the library's own scan."""
    steps = bridge.step_grid(1000, 5, spacing="lambda", schedule=SCHEDULE)
    a, b = (jnp.asarray(x, jnp.float32) for x in (EXACT.a, EXACT.b))
    var = b**2 * problem.STD**2 + jnp.asarray(EXACT.c, jnp.float32) ** 2

    def predict_x0_fn(xt, step):
        gain = b[step] * problem.STD**2 / jnp.maximum(var[step], 1e-12)  # 0 at T
        centre = a[step] * problem.X_T + b[step] * problem.MEAN
        return problem.MEAN + gain * (xt - centre)

    count = 40_000
    sampler = bridge.make_sampler(name, eta=eta)
    x1 = jnp.full((count, 1), problem.X_T)
    x0 = np.asarray(sampler(jax.random.key(0), SCHEDULE, predict_x0_fn, x1, steps=steps).x0)
    if name == "ddpm":
        weights = bridge.posterior_steps(SCHEDULE, steps)
    elif name == "heun":
        weights, steps = bridge.second_order_steps(EXACT, steps)
    else:
        weights = bridge.implicit_steps(EXACT, steps, eta=eta)
    mean, std = problem.moments_of_end(EXACT, weights, steps)
    assert x0.mean() == pytest.approx(mean, abs=5 * std / count**0.5)
    assert x0.std() == pytest.approx(std, rel=5 / (2 * count) ** 0.5)
