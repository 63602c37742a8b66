"""All samplers by name: against the formulas written out, each other, and their limits."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from tests.bridge import written_out

SCHEDULE = bridge.make_symmetric_schedule(num_steps=1000, beta_max=0.3)
EXACT = bridge.i2sb_bridge(SCHEDULE)
KEY = jax.random.key(7)
SHAPE = (2, 8, 8, 3)
X1 = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
HOLE = np.zeros((1, 8, 8, 1), np.float32)
HOLE[:, 2:6, 2:6] = 1
GRIDS = [("index", 999), ("index", 20), ("sigma", 50), ("lambda", 10)]

# name, eta
SAMPLERS = [("ddpm", 0), ("ode", 0), ("implicit", 0), ("implicit", 0.5), ("implicit", 1)]
SAMPLERS += [("implicit2", 0), ("implicit3", 0), ("heun", 0), ("exponential", 0), ("ode2", 0)]
ORDER = {"implicit": 1, "implicit2": 2, "implicit3": 3}


def predict(xt, step):
    return jnp.tanh(0.7 * xt + 0.1 * jnp.asarray(step, jnp.float32) / 1000)


def predict_numpy(xt, step):
    return np.tanh(0.7 * xt + 0.1 * step / 1000)


def grid(spacing, nfe, schedule=SCHEDULE):
    return bridge.step_grid(schedule.num_steps, nfe, spacing=spacing, schedule=schedule)


def written(name, eta, steps, mask):
    if name in ORDER:
        exact = written_out.exact_coefficients(SCHEDULE)
        return written_out.implicit_walk(
            KEY, exact, predict_numpy, X1, steps, mask=mask, eta=eta, order=ORDER[name]
        )
    if name in ("heun", "exponential"):
        exact = written_out.exact_coefficients(SCHEDULE)
        return written_out.second_order_walk(
            KEY, exact, predict_numpy, X1, steps, mask=mask, form=name
        )
    if name == "ode2":
        var = np.asarray(SCHEDULE.std_fwd, np.float64) ** 2
        posterior = 0 * var, np.ones_like(var), var  # x_m = κ·x_n + (1 - κ)·X̂_0, κ = σ_m²/σ_n²
        return written_out.second_order_walk(
            KEY, posterior, predict_numpy, X1, steps, mask=mask, deterministic=True
        )
    return written_out.posterior_walk(
        KEY, SCHEDULE, predict_numpy, X1, steps, mask=mask, deterministic=name == "ode"
    )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name, eta", SAMPLERS)
def test_samplers_match_the_formulas_written_out(name, eta, masked):
    mask = HOLE if masked else None
    sampler = jax.jit(
        functools.partial(bridge.make_sampler(name, eta=eta), schedule=SCHEDULE,
                          predict_x0_fn=predict),
        static_argnames="steps",
    )  # fmt: skip
    grids = [("index", 1), ("index", 2), ("index", 7), ("sigma", 5), ("lambda", 10)]
    for spacing, nfe in grids[1::3] if masked else grids:
        steps = grid(spacing, nfe)
        out = sampler(KEY, x1=X1, steps=steps, mask=mask)
        np.testing.assert_allclose(out.x0, written(name, eta, steps, mask), atol=5e-6)


@pytest.mark.parametrize("name, eta", SAMPLERS)
def test_eager_jit_and_vmap_agree(name, eta):
    sampler, steps = bridge.make_sampler(name, eta=eta), grid("lambda", 6)
    keys = jax.random.split(KEY, 2)

    def run(key, x1):
        return sampler(
            key, SCHEDULE, predict, x1[None], steps=steps, mask=jnp.asarray(HOLE), record=(0, 3)
        )

    eager = [run(key, x1) for key, x1 in zip(keys, X1, strict=True)]
    jitted = jax.jit(run)
    mapped = jax.vmap(run)(keys, X1)
    for i, x1 in enumerate(X1):
        compiled = jitted(keys[i], x1)
        for field in range(3):
            np.testing.assert_allclose(compiled[field], eager[i][field], atol=1e-5)
            np.testing.assert_allclose(mapped[field][i], eager[i][field], atol=1e-5)


@pytest.mark.parametrize("name, eta", SAMPLERS)
def test_a_traced_schedule_is_taken_too(name, eta):
    sampler, steps = bridge.make_sampler(name, eta=eta), grid("index", 6)

    @jax.jit
    def run(schedule):
        return sampler(KEY, schedule, predict, X1, steps=steps).x0

    expected = sampler(KEY, SCHEDULE, predict, X1, steps=steps).x0
    np.testing.assert_allclose(run(SCHEDULE), expected, atol=1e-5)


@pytest.mark.parametrize("name, eta", SAMPLERS)
def test_memory_does_not_grow_with_nfe(name, eta):
    def temporary_bytes(nfe):
        sampler, steps = bridge.make_sampler(name, eta=eta), grid("index", nfe)
        run = jax.jit(lambda key, x1: sampler(key, SCHEDULE, predict, x1, steps=steps).x0)
        return run.lower(KEY, X1).compile().memory_analysis().temp_size_in_bytes

    few, many = temporary_bytes(5), temporary_bytes(999)
    # 999 keys, indices and weights of a few bytes, against 999 states
    assert many - few < 999 * 100 < 999 * X1.nbytes / 10


def test_record_is_the_path():
    steps = grid("lambda", 8)
    run = functools.partial(
        bridge.sample_implicit, KEY, SCHEDULE, predict, X1, steps=steps, order=3
    )
    whole, part = run(record=tuple(range(8))), run(record=(6, 0))
    np.testing.assert_array_equal(part.xt_path, whole.xt_path[jnp.array([6, 0])])
    np.testing.assert_array_equal(part.x0_path, whole.x0_path[jnp.array([6, 0])])
    np.testing.assert_array_equal(whole.xt_path[0], whole.x0)
    # the X̂_0 that led to the state after booting is the one at X_1
    np.testing.assert_allclose(whole.x0_path[7], predict(X1, steps[-1]), atol=1e-6)


# --- eta ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta_max", [0.3, 1.0])
@pytest.mark.parametrize("spacing, nfe", GRIDS)
def test_eta_one_is_the_posterior(spacing, nfe, beta_max):
    """For every pair of neighbours, with the same noise, to 1e-6; one state a pair, as a batch."""
    schedule = bridge.make_symmetric_schedule(num_steps=1000, beta_max=beta_max)
    steps = np.asarray(grid(spacing, nfe, schedule))
    now, prev = steps[:0:-1], steps[-2::-1]
    weights = bridge.implicit_steps(bridge.i2sb_bridge(schedule), tuple(steps), eta=1.0)
    rng = np.random.default_rng(1)
    xt, x0, x1 = (rng.uniform(-1, 1, (nfe, 16)).astype(np.float32) for _ in range(3))
    xt[0] = x1[0]  # the walk starts there, where the posterior's weights fall on one picture
    noise = jax.random.normal(KEY, xt.shape)
    columns = (weights.xt, weights.x0[:, 0], weights.x1, weights.std)
    w, v, u, std = (np.asarray(x, np.float32)[:, None] for x in columns)
    ours = w * xt + v * x0 + u * x1 + std * noise
    theirs = bridge.posterior_sample(KEY, schedule, prev, now, xt, x0)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.abs(weights.x1[1:]).max() < 1e-12  # no weight on X_T but where the walk starts
    less = bridge.implicit_steps(bridge.i2sb_bridge(schedule), tuple(steps), eta=0.9)
    assert np.abs(less.x1[1:-1]).max() > 1e-6


def test_eta_one_samples_as_ddpm_does():
    """The same noise gives the same picture, but for known pixels at the end."""
    steps = grid("index", 20)
    one = bridge.sample_implicit(KEY, SCHEDULE, predict, X1, steps=steps, eta=1.0).x0
    ddpm = bridge.sample(KEY, SCHEDULE, predict, X1, steps=steps).x0
    np.testing.assert_allclose(one, ddpm, atol=1e-5)
    zero = bridge.sample_implicit(KEY, SCHEDULE, predict, X1, steps=steps, eta=0.0).x0
    assert float(jnp.abs(zero - ddpm).max()) > 0.01


@pytest.mark.parametrize("order", [1, 2, 3])
def test_eta_zero_is_deterministic_after_booting(order):
    """Another noise after the first step changes nothing; at η = 0.5 it does."""
    steps = grid("index", 6)

    def run(normal_fn, **options):
        return bridge.sample_implicit(
            KEY, SCHEDULE, predict, X1, steps=steps, normal_fn=normal_fn, **options
        ).x0

    drawn = []

    def counted(key, shape, dtype):
        drawn.append(key)
        return jax.random.normal(key, shape, dtype)

    run(counted, order=order)
    assert len(drawn) == 1  # traced once, before the walk
    weights = bridge.implicit_steps(EXACT, steps, order=order)
    assert weights.std[0] > 0 and not weights.std[1:].any()
    assert bridge.implicit_steps(EXACT, steps, eta=0.5).std[1:-1].all()


def test_orders_agree_in_the_limit():
    """A λ grid boots at the index below T whatever its size, so one noise stands for all."""
    fine = fine_bridge(2001)

    def run(nfe, order):
        steps = bridge.step_grid(2001, nfe, spacing="lambda", schedule=fine)
        return bridge.sample_implicit(KEY, fine, predict_x0_fn, X1, steps=steps, order=order).x0

    def predict_x0_fn(xt, step):
        return predict(xt, step / 2)

    def spread(nfe):
        results = [np.asarray(run(nfe, order)) for order in (1, 2, 3)]
        return max(np.abs(x - y).max() for x, y in itertools.combinations(results, 2))

    spreads = [spread(nfe) for nfe in (8, 40, 200, 1000)]
    # first order is what differs: five times the steps, a fifth of the difference
    assert spreads[0] > 0.02 and spreads[-1] < 1e-3
    for coarse, finer in itertools.pairwise(spreads):
        assert finer < coarse / 3


def fine_bridge(num_steps, total=0.14):
    """I²SB's exact bridge with indices that are even in λ, from 4.6 at 0 to -4 below T."""
    log_snr = np.linspace(4.6, -4, num_steps - 1)
    var = np.append(1 / (np.exp(2 * log_snr) + 1 / total), total)
    return bridge.diffusion_bridge(alpha=np.ones(num_steps), std=np.sqrt(var))


# --- two evaluations a step -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["heun", "exponential", "ode2"])
@pytest.mark.parametrize("nfe", [1, 2, 3, 6, 7])
def test_evaluations_are_those_that_were_asked_for(name, nfe):
    """Each row is one, at the index where the state is: at nodes between two steps two."""
    steps, asked = grid("index", nfe), []

    def counted(xt, step):
        jax.debug.callback(lambda step: asked.append(int(step)), step)
        return predict(xt, step)

    jax.block_until_ready(bridge.make_sampler(name)(KEY, SCHEDULE, counted, X1, steps=steps).x0)
    jax.effects_barrier()
    assert len(asked) == nfe and asked[0] == steps[-1]
    drawn = 0 if name == "ode2" else 1
    nodes = steps[len(steps) - 1 - drawn :: -2]
    expected = [steps[-1]] * drawn
    for start, end in itertools.pairwise(nodes):
        expected += [start, end]
    if len(expected) < nfe:  # one is left over
        expected.append(nodes[-1])
    assert asked == expected
    assert sorted(asked) != sorted(steps[1:]) or nfe < 3


def test_heun_beside_first_order_and_the_first_step_drawn():
    """A constant prediction leaves nothing to correct; the first step's noise is booting's."""
    steps, nodes = (0, 100, 300, 500, 700, 900, 999), (0, 100, 500, 900, 999)

    def run(name, grid, predict_x0_fn):
        return bridge.make_sampler(name)(KEY, SCHEDULE, predict_x0_fn, X1, steps=grid).x0

    def constant(xt, step):
        return jnp.full_like(xt, 0.25)

    for name in ("heun", "exponential"):
        one, two = run("implicit", nodes, constant), run(name, steps, constant)
        np.testing.assert_allclose(two, one, atol=1e-5)
        one, two = run("implicit", nodes, predict), run(name, steps, predict)
        assert float(jnp.abs(two - one).max()) > 0.01


# --- known pixels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("eta, order", [(0.0, 1), (0.0, 3), (0.7, 1)])
def test_known_pixels_carry_the_bridges_noise_and_end_at_x1(eta, order):
    steps = grid("index", 10)
    x1 = jnp.asarray(np.repeat(X1, 8, axis=0))
    out = bridge.sample_implicit(
        KEY, SCHEDULE, predict, x1, steps=steps, mask=jnp.asarray(HOLE), eta=eta, order=order,
        record=(9, 5, 0),
    )  # fmt: skip
    known = np.broadcast_to(HOLE == 0, x1.shape)
    np.testing.assert_array_equal(np.asarray(out.x0)[known], np.asarray(x1)[known])
    residuals = [
        (np.asarray(out.xt_path[i]) - np.asarray(x1))[known] / EXACT.c[steps[position]]
        for i, position in enumerate((9, 5))
    ]
    for residual in residuals:
        assert residual.std() == pytest.approx(1, abs=5 / (2 * residual.size) ** 0.5)
    correlation = float(np.corrcoef(*residuals)[0, 1])
    # the same noise at η = 0, another one else
    assert correlation > 0.999 if eta == 0 else abs(correlation) < 5 / residual.size**0.5
    assert float(jnp.abs(out.x0 - x1)[:, 2:6, 2:6].max()) > 0.1


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, words",
    [
        ({"order": 4}, "order=4 must be 1, 2 or 3"),
        ({"order": 0}, "order=0 must be 1, 2 or 3"),
        ({"eta": -0.1}, "eta=-0.1 must lie in 0…1"),
        ({"eta": 1.5}, "eta=1.5 must lie in 0…1"),
        ({"eta": 0.5, "order": 2}, "eta=0.5 needs order=1: order=2 is derived for the ODE"),
        ({"steps": (0, 998)}, "must ascend"),
        ({"record": (2,)}, "record="),
    ],
)
def test_errors(options, words):
    options = {"steps": (0, 500, 999), **options}
    with pytest.raises(ValueError, match=words):
        bridge.sample_implicit(KEY, SCHEDULE, predict, X1, **options)


def test_names():
    assert set(bridge.SAMPLERS) == {name for name, _ in SAMPLERS}
    with pytest.raises(ValueError, match="sampler='ddim' is not known: choose of ddpm, ode"):
        bridge.make_sampler("ddim")
    with pytest.raises(ValueError, match=r"eta=0\.5 is of sampler='implicit'; 'ddpm' takes none"):
        bridge.make_sampler("ddpm", eta=0.5)
    with pytest.raises(ValueError, match=r"eta=0\.5 is of sampler='implicit'; 'implicit3'"):
        bridge.make_sampler("implicit3", eta=0.5)
