"""The study of all bridges: its closed forms, and that each sampler reaches them and no other."""

import csv
import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from experiments.toy_2d import __main__ as command
from experiments.toy_2d import closed_form, conditional, distances, methods, moments, restoring
from experiments.toy_2d.closed_form import Mixture
from i2sb_jax.bridge import make_sampler, step_grid
from tests.experiments.test_toy_2d import normal, standard_errors

METHODS = restoring.make_methods()
SEEING = {name: each for name, each in METHODS.items() if each.bridge.x1_input}
FLOWS = {name: each for name, each in METHODS.items() if each.deterministic}
GAUSSIAN, RING = restoring.gaussian(), restoring.ring_of_six()
STARTS = closed_form.second_half(GAUSSIAN.plan)
SMALL = Mixture(  # not round, and coupled, both of which the ring is not
    weights=np.array([0.3, 0.7]),
    means=np.array([[0.4, -0.2, 0.1, 0.3], [-0.5, 0.3, -0.3, -0.2]]),
    covs=np.array([
        [[0.10, 0.03, 0.02, 0.00], [0.03, 0.08, 0.01, -0.02], [0.02, 0.01, 0.12, 0.02],
         [0.00, -0.02, 0.02, 0.09]],
        [[0.07, -0.02, -0.03, 0.01], [-0.02, 0.11, 0.00, 0.04], [-0.03, 0.00, 0.10, 0.01],
         [0.01, 0.04, 0.01, 0.14]],
    ]),
)  # fmt: skip


def answered(tables, xt, x1, step):
    single = conditional.single(tables)
    mean = conditional.posterior_mean(single, jnp.float32(xt), jnp.float32(x1), jnp.int32(step))
    return np.asarray(mean, np.float64)


def integrated(weights, plane):
    return weights @ plane / weights.sum(axis=-1, keepdims=True)


TICKS = np.linspace(-2.5, 2.5, 251)
PLANE = np.stack(np.meshgrid(TICKS, TICKS), axis=-1).reshape(-1, 2)
XT, X1 = np.array([[0.2, 0.1], [-0.4, 0.3]]), np.array([[0.3, -0.2], [-0.1, 0.4]])


@pytest.mark.parametrize("name, step", [("nadb", 300), ("vp", 800), ("irsde", 999)])
def test_what_a_network_that_sees_x1_answers_against_integration(name, step):
    """∫ x_0·p(x_0, x_T)·q(x_t | x_0, x_T) over a grid of x_0."""
    bridge = METHODS[name].bridge
    a, b, c = (float(x[step]) for x in (bridge.a, bridge.b, bridge.c))
    pairs = np.stack([np.concatenate([PLANE, np.broadcast_to(x1, PLANE.shape)], 1) for x1 in X1])
    apart = ((XT[:, None] - a * X1[:, None] - b * PLANE) ** 2).sum(axis=-1)
    expected = integrated(closed_form.density(SMALL, pairs) * normal(apart, c**2), PLANE)
    tables = conditional.answer(SMALL, bridge)
    np.testing.assert_allclose(answered(tables, XT, X1, step), expected, atol=1e-4)
    blind = conditional.answer(SMALL, dataclasses.replace(bridge, x1_input=False))
    assert np.abs(answered(blind, XT, X1, step) - expected).max() > 0.03


def test_what_a_flow_answers_against_integration():
    """Of x_0 all of x_t that x_T is not: ∫ x_0·p(x_0, (x_t - b·x_0)/a) over a grid."""
    bridge, step = METHODS["flow"].bridge, 400
    a, b = float(bridge.a[step]), float(bridge.b[step])
    ends = (XT[:, None] - b * PLANE) / a
    pairs = np.concatenate([np.broadcast_to(PLANE, ends.shape), ends], axis=-1)
    expected = integrated(closed_form.density(SMALL, pairs), PLANE)
    tables = conditional.answer(SMALL, bridge, deterministic=True)
    np.testing.assert_allclose(answered(tables, XT, X1, step), expected, atol=1e-4)


def off(table, bridge, answer, *, alone=False):
    """The distance to the closed form at index 0, on Gaussians."""
    exact = closed_form.pairs_at(GAUSSIAN.plan, bridge.pinned(), 0)
    found = moments.result(table, answer, STARTS)
    if alone:
        found, exact = closed_form.first_half(found), closed_form.first_half(exact)
    return distances.gaussian_distance(found, exact)


def answer_of(bridge, **options):
    return conditional.affine(conditional.answer(GAUSSIAN.plan, bridge, **options))


@pytest.mark.parametrize("name", [name for name in SEEING if METHODS[name].start == "y"])
def test_every_sampler_reaches_the_closed_form_and_a_wrong_one_does_not(name):
    """A tenth of what one evaluation leaves is met by the right coefficients alone."""
    bridge = METHODS[name].bridge
    steps = step_grid(bridge.num_steps, 200, spacing="lambda", schedule=bridge)
    right = answer_of(bridge)
    noisier = dataclasses.replace(bridge.pinned(), c=1.3 * bridge.pinned().c)
    nearer = dataclasses.replace(bridge.pinned(), b=0.9 * bridge.pinned().b)
    for sampler in METHODS[name].samplers:
        table = moments.sampler_table(sampler, bridge, steps)
        limit = off(moments.sampler_table(sampler, bridge, (0, steps[-1])), bridge, right) / 10
        assert off(table, bridge, right) < limit, sampler
        wrong = {
            "a network of another bridge": off(table, bridge, answer_of(noisier)),
            "steps of another": off(moments.sampler_table(sampler, nearer, steps), bridge, right),
            "no noise": off(table._replace(noise="never"), bridge, right),
        }
        assert min(wrong.values()) > 2 * limit, (sampler, wrong)


@pytest.mark.parametrize("name", [name for name in FLOWS if METHODS[name].start == "y"])
def test_flows_reach_the_law_and_not_the_coupling(name):
    bridge = METHODS[name].bridge
    right = answer_of(bridge, deterministic=True)
    for sampler in METHODS[name].samplers:
        few, many = (
            moments.sampler_table(sampler, bridge, step_grid(bridge.num_steps, nfe))
            for nfe in (5, 200)
        )
        limit = off(few, bridge, right, alone=True) / 10
        assert off(many, bridge, right, alone=True) < limit
        assert off(many, bridge, right) > 10 * limit
        noisy = answer_of(METHODS["linear"].bridge)
        assert off(many, bridge, noisy, alone=True) > 2 * limit


@pytest.mark.parametrize(
    "name, sampler",
    [("ou", "ddpm"), ("resshift", "implicit2"), ("irsde", "heun"), ("flow", "ode2")],
)
def test_the_tables_are_those_of_the_librarys_samplers(name, sampler):
    """Draws by `make_sampler` have the moments of the table, and not those of another sampler."""
    method, count = METHODS[name], 20_000
    bridge, steps = method.bridge, step_grid(1000, 4)
    x1 = closed_form.draw(np.random.default_rng(1), STARTS, count)
    options = {"deterministic": method.deterministic}
    single = conditional.single(conditional.answer(GAUSSIAN.plan, bridge, **options))

    def run(key, x1):
        predict_x0 = lambda xt, step: conditional.posterior_mean(single, xt, x1, step)  # noqa: E731
        return make_sampler(sampler)(key, bridge, predict_x0, x1, steps=steps).x0

    x0 = jax.jit(run)(jax.random.key(0), jnp.asarray(x1, jnp.float32))
    drawn = np.concatenate([np.asarray(x0, np.float64), x1], axis=1)

    def deviation(sampler):
        table = moments.sampler_table(sampler, bridge, steps)
        return standard_errors(drawn, moments.result(table, answer_of(bridge, **options), STARTS))

    assert deviation(sampler) < 5
    assert max(deviation(other) for other in method.samplers) > 10


def test_the_law_of_clean_points_given_where_a_bridge_starts():
    """Draws against the plan; of a start at the posterior mean the plan is an integral by nodes."""
    started = restoring.from_posterior_mean(RING)
    x0, x1 = started.draw(np.random.default_rng(0), 20_000)
    assert standard_errors(np.concatenate([x0, x1], axis=1), started.plan) < 5
    again = conditional.Given.of(started.plan).draw(np.random.default_rng(1), x1)
    assert standard_errors(np.concatenate([again, x1], axis=1), started.plan) < 5
    assert standard_errors(np.concatenate([again[::-1], x1], axis=1), started.plan) > 10
    # E[x_0 | y] leaves the least squared error, a draw twice as much
    x0, y = RING.draw(np.random.default_rng(2), 20_000)
    known = conditional.Given.of(RING.plan)
    again = known.draw(np.random.default_rng(3), y)
    least, drawn = (((found - x0) ** 2).sum(axis=1) for found in (known.mean(y), again))
    rest = drawn - 2 * least
    assert abs(rest.mean()) < 5 * rest.std() / math.sqrt(len(rest))
    assert ((0.9 * known.mean(y) - x0) ** 2).sum(axis=1).mean() > least.mean()


def test_slopes_have_errors_over_seeds_where_they_are_told_from_chance():
    def row(seed, nfe, error):
        same = {"method": "nadb", "sampler": "ddpm", "spacing": "index", "seed": seed}
        return same | {"nfe": nfe, "error": error, "joint_error": error, "squared_error": 1.0}

    exact = [row(seed, 0, 0.01) | {"method": "from y", "sampler": "exact"} for seed in (0, 1)]
    falling = [
        row(s, n, (1 + s) * n ** -(0.9 + 0.2 * s)) for s in (0, 1) for n in (1, 2, 5, 10, 50)
    ]
    (found,) = methods.slopes(exact + falling, [row(0, n, n**-2.0) for n in (5, 10, 20, 50)])
    assert found["gaussian_5_50"] == pytest.approx(-2) and found["gaussian_20_200"] == ""
    assert found["ring"] == pytest.approx(-1.0) and found["ring_se"] == pytest.approx(0.1)
    (lost,) = methods.slopes([row | {"joint_error": 1.0} for row in exact] + falling, [])
    assert lost["ring"] == lost["ring_se"] == lost["gaussian_5_50"] == ""
    flows = [row | {"method": "flow", "joint_error": 1.0} for row in falling]
    (law,) = methods.slopes(exact + flows, [])
    assert law["measure"] == "error" and law["ring"] == found["ring"]
    (mean, *_) = methods.summary(falling)
    assert mean["error"] == 1.5 and mean["error_se"] == pytest.approx(0.5)
    assert methods.summary(falling[:1])[0]["error_se"] == ""


def test_the_command_writes_tables_and_pictures(tmp_path, capsys, monkeypatch):
    chosen = {name: METHODS[name] for name in ("nadb", "flow from mean")}
    chosen["nadb"] = dataclasses.replace(chosen["nadb"], samplers=("ddpm",))
    monkeypatch.setattr(command, "make_methods", lambda: chosen)
    given = ["--study", "methods", "--nfe", "2", "--points", "40", "--seeds", "2"]
    command.main([*given, "--output", str(tmp_path)])
    tables = {}
    for name in ("methods", "methods_exact", "methods_slopes"):
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    curves = 2 + 2  # two spacings of ddpm, and both samplers of a flow
    assert len(tables["methods"]) == 2 + curves and len(tables["methods_slopes"]) == curves
    for row in tables["methods"]:
        for measure in methods.MEASURES:
            assert 0 < float(row[measure]) < 2 and 0 < float(row[f"{measure}_se"]) < 1
    assert {row["method"] for row in tables["methods_exact"]} == {"nadb"}
    assert all(math.isfinite(float(row["joint_error"])) for row in tables["methods_exact"])
    assert "nadb ddpm lambda nfe 2: joint error" in capsys.readouterr().out
    for name in ("methods", "fidelity"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert min(picture.size) > 200 and len(picture.getcolors()) > 5
