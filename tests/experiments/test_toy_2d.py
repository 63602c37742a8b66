"""The study of known bridges: its closed forms against independent numerics, and its command."""

import csv
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from experiments.toy_2d import __main__ as command
from experiments.toy_2d import closed_form, conditional, distances, errors, moments, problems
from experiments.toy_2d.closed_form import Mixture
from experiments.toy_2d.errors import SAMPLERS
from i2sb_jax.bridge import i2sb_bridge, q_sample, step_grid

SCHEDULE = problems.make_schedule()
BRIDGE = i2sb_bridge(SCHEDULE)
VARIANCE = float(SCHEDULE.scale[-1]) ** 2
GAUSSIANS, MIXTURES = PROBLEMS = problems.make_problems(SCHEDULE)
IDS = [problem.name for problem in PROBLEMS]
DRAWN = 20_000


def normal(distance2, variance):
    """A round Gaussian's density in the plane."""
    return np.exp(-distance2 / (2 * variance)) / (2 * np.pi * variance)


def distance2(x, y):
    return ((x - y) ** 2).sum(axis=-1)


def h_transform_residual(plan, variance):
    """How far log π - log N(x_1; x_0, variance) is from a function of x_0 plus one of x_1."""
    x0, x1 = np.random.default_rng(0).uniform(-1, 1, (2, 7, 2))
    pairs = np.concatenate(np.broadcast_arrays(x0[:, None], x1[None]), axis=-1)
    rest = np.log(closed_form.density(plan, pairs))
    rest = rest - np.log(normal(distance2(x0[:, None], x1[None]), variance))
    rows, columns = rest.mean(axis=1, keepdims=True), rest.mean(axis=0, keepdims=True)
    return np.abs(rest - rows - columns + rest.mean()).max()


@pytest.mark.parametrize("problem", PROBLEMS, ids=IDS)
def test_plans_are_bridges_of_this_process_and_of_no_other(problem):
    assert h_transform_residual(problem.plan, VARIANCE) < 1e-9
    assert h_transform_residual(problem.plan, 1.01 * VARIANCE) > 1e-3


def test_the_gaussian_plan_has_the_given_marginals():
    cov0, cov1 = np.array([[0.3, 0.1], [0.1, 0.2]]), np.array([[0.2, -0.1], [-0.1, 0.4]])
    mean0, mean1 = np.array([0.1, 0.2]), np.array([-0.3, 0.4])
    plan = closed_form.gaussian_plan(
        mean0=mean0, cov0=cov0, mean1=mean1, cov1=cov1, variance=VARIANCE
    )
    np.testing.assert_allclose(plan.means[0], [*mean0, *mean1])
    np.testing.assert_allclose(plan.covs[0, :2, :2], cov0)
    np.testing.assert_allclose(plan.covs[0, 2:, 2:], cov1)
    assert h_transform_residual(plan, VARIANCE) < 1e-9
    # the same marginals, coupled otherwise: independent, and with Eq. (7) the wrong way round
    for cross in (np.zeros((2, 2)), plan.covs[0, 2:, :2]):
        wrong = np.block([[cov0, cross], [cross.T, cov1]])[None]
        other = Mixture(weights=plan.weights, means=plan.means, covs=wrong)
        assert h_transform_residual(other, VARIANCE) > 1e-2


def test_the_mixture_plan_is_the_product_of_its_potentials():
    phi0 = problems.ring(4, radius=0.7, std=0.2, turn=10)
    phi1 = problems.ring(2, radius=0.3, std=0.3, turn=0)
    plan = closed_form.mixture_plan(phi0, phi1, variance=VARIANCE)
    x0, x1 = np.random.default_rng(1).uniform(-1, 1, (2, 50, 2))
    product = normal(distance2(x0, x1), VARIANCE)
    for phi, x in ((phi0, x0), (phi1, x1)):
        product *= normal(distance2(x[:, None], phi.means), phi.variances) @ phi.weights
    ratio = closed_form.density(plan, np.concatenate([x0, x1], axis=1)) / product
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


@pytest.mark.parametrize("step", [250, 600, 999])
@pytest.mark.parametrize("problem", PROBLEMS, ids=IDS)
def test_predictors_against_integration(problem, step):
    """E[x_0 | x_t] by Eq. (3), with φ_0 read off the plan at one x_1, summed over a grid."""
    ticks = np.linspace(-2.2, 2.2, 241)
    plane = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    x1 = np.array([0.1, -0.2])
    joint = np.concatenate([plane, np.broadcast_to(x1, plane.shape)], axis=1)
    phi0 = closed_form.density(problem.plan, joint) / normal(distance2(plane, x1), VARIANCE)
    xt = np.array([[0.0, 0.0], [0.4, -0.3], [-0.5, 0.6]])
    weights = phi0 * normal(distance2(xt[:, None], plane), float(SCHEDULE.scale[step]) ** 2)
    expected = weights @ plane / weights.sum(axis=1, keepdims=True)
    found = problem.predict_x0(jnp.asarray(xt, jnp.float32), jnp.int32(step))
    np.testing.assert_allclose(found, expected, atol=2e-5)


def standard_errors(pairs, law):
    """The largest deviation of a sample's mean and covariance from a law's, in standard errors."""
    mean = law.weights @ law.means
    cov = np.einsum("k,kij->ij", law.weights, law.covs) + np.cov(
        law.means.T, aweights=law.weights, bias=True
    )
    variances = np.diag(cov)
    spread = np.sqrt((np.outer(variances, variances) + cov**2) / len(pairs))
    off_mean = (pairs.mean(axis=0) - mean) / np.sqrt(variances / len(pairs))
    return max(np.abs(off_mean).max(), np.abs((np.cov(pairs.T) - cov) / spread).max())


@pytest.mark.parametrize("problem", PROBLEMS, ids=IDS)
def test_the_law_at_an_index_is_that_of_the_librarys_marginal(problem):
    pairs = closed_form.draw(np.random.default_rng(0), problem.plan, DRAWN)
    x0, x1 = jnp.asarray(pairs, jnp.float32).reshape(-1, 2, 2).swapaxes(0, 1)
    xt = np.asarray(q_sample(jax.random.key(0), BRIDGE, 500, x0, x1))
    drawn = np.concatenate([xt, pairs[:, 2:]], axis=1)
    assert standard_errors(drawn, closed_form.pairs_at(problem.plan, BRIDGE, 500)) < 5
    assert standard_errors(drawn, closed_form.pairs_at(problem.plan, BRIDGE, 400)) > 10
    cost = distance2(pairs[:, :2], pairs[:, 2:])
    off = abs(cost.mean() - closed_form.transport_cost(problem.plan))
    assert off < 5 * cost.std() / math.sqrt(DRAWN)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_moments_are_those_of_the_librarys_sampler(sampler):
    steps = step_grid(SCHEDULE.num_steps, 6)
    start = closed_form.second_half(GAUSSIANS.plan)
    x1 = closed_form.draw(np.random.default_rng(1), start, DRAWN)
    x0 = errors.draw_by_sampler(GAUSSIANS, SCHEDULE, x1, sampler=sampler, steps=steps, seed=0)

    def law(name):
        return moments.result(moments.sampler_table(name, SCHEDULE, steps), GAUSSIANS.linear, start)

    deviations = {
        name: standard_errors(np.concatenate([x0, x1], axis=1), law(name)) for name in SAMPLERS
    }
    assert deviations[sampler] < 5
    assert max(deviations["ode"], deviations["ddpm"]) > 10  # one of them is another sampler


def test_errors_fall_to_zero_for_the_right_coupling_only():
    """A predictor from independent ends leads elsewhere, however many evaluations it is given."""

    def final(problem):
        rows = errors.measure(problem, SCHEDULE, nfes=(5, 200), points=2, seed=0)
        errors_at = {row["nfe"]: row["error"] for row in rows if
                     (row["sampler"], row["spacing"]) == ("implicit2", "lambda")}  # fmt: skip
        return errors_at[5], errors_at[200]

    first, last = final(GAUSSIANS)
    assert last < 1e-3 < first / 10
    blocks = np.kron(np.eye(2), np.ones((2, 2)))
    apart = Mixture(
        weights=np.ones(1), means=GAUSSIANS.plan.means, covs=GAUSSIANS.plan.covs * blocks
    )
    wrong = problems.Problem(
        name="wrong", plan=GAUSSIANS.plan, predict_x0=GAUSSIANS.predict_x0,
        linear=conditional.affine(conditional.answer(apart, BRIDGE)),
        symmetries=GAUSSIANS.symmetries,
    )  # fmt: skip
    assert final(wrong)[1] > 100 * last


def test_distances_that_are_known():
    def gaussian(mean, *deviations):
        return Mixture(
            weights=np.ones(1),
            means=np.array([mean], np.float64),
            covs=np.diag(np.square(deviations))[None],
        )

    one, other = gaussian([0, 0], 1.0, 2.0), gaussian([3, 0], 2.0, 2.5)
    assert distances.gaussian_distance(one, other) == pytest.approx(math.sqrt(9 + 1 + 0.25))
    assert distances.gaussian_distance(one, one) < 1e-7
    points = np.random.default_rng(0).standard_normal((50, 2))
    along, shift = distances.directions(2, 9), np.array([0.3, -0.1])
    np.testing.assert_allclose(np.linalg.norm(along, axis=1), 1)
    moved = distances.slices(points + shift, along), distances.slices(points[::-1], along)
    expected = math.sqrt(np.square(along @ shift).mean())
    assert distances.sliced_distance(*moved) == pytest.approx(expected)


def test_symmetries_are_those_of_the_plan():
    pairs = closed_form.draw(np.random.default_rng(0), MIXTURES.plan, 5)
    images = distances.with_images(pairs, MIXTURES.symmetries)
    np.testing.assert_allclose(images[:5], pairs)
    heights = closed_form.density(MIXTURES.plan, images).reshape(6, 5)
    np.testing.assert_allclose(heights, np.broadcast_to(heights[0], (6, 5)))
    assert len(np.unique(images.round(6), axis=0)) == 30  # six different ones each
    upside_down = closed_form.density(MIXTURES.plan, pairs * np.array([1, -1, 1, -1]))
    assert np.abs(upside_down / heights[0] - 1).max() > 0.1


def test_slopes():
    def row(nfe, error, floor):
        return {"problem": "p", "sampler": "s", "spacing": "index", "nfe": nfe, "error": error,
                "floor": 0.0, "joint_error": error, "joint_floor": floor}  # fmt: skip

    nfes = (2, 5, 10, 20, 50, 100, 200)
    # what lies out of the window does not count, nor what lies at the floor
    found = errors.fit_slopes([row(n, 1.0 if n == 2 else n**-2.0, 5**-2.0 / 2.5) for n in nfes])
    slopes = {(each["measure"], each["nfe_from"]): each for each in found}
    assert slopes["error", 5]["slope"] == pytest.approx(-2) and slopes["error", 5]["points"] == 4
    assert slopes["error", 20]["slope"] == pytest.approx(-2)
    assert slopes["joint_error", 5]["slope"] == "" and slopes["joint_error", 5]["points"] == 1


def test_the_command_writes_tables_and_pictures(tmp_path, capsys):
    command.main(["--output", str(tmp_path / "new"), "--nfe", "3", "--points", "50"])
    tables = {}
    for name in ("errors", "slopes"):
        with (tmp_path / "new" / f"{name}.csv").open(newline="") as file:
            tables[name] = list(csv.DictReader(file))
    assert len(tables["errors"]) == 2 * len(SAMPLERS) * 2
    assert capsys.readouterr().out.count("\n") == len(tables["errors"])
    for row in tables["errors"]:
        names = {row.pop(key) for key in ("problem", "sampler", "spacing")}
        assert names < {*IDS, *SAMPLERS, *errors.SPACINGS} and len(names) == 3
        values = {key: float(value) for key, value in row.items()}
        assert all(math.isfinite(value) and value >= 0 for value in values.values())
        assert values["nfe"] == 3 and 0 < values["error"] < 1
    assert all(row["slope"] == "" for row in tables["slopes"])  # of one number no slope is had
    for name in ("bridge", "errors"):
        with Image.open(tmp_path / "new" / f"{name}.png") as picture:
            assert min(picture.size) > 300 and len(picture.getcolors()) > 8


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nfe", "0"], ["--nfe", "5,1000"], ["--nfe", "two"], ["--nfe", ""],
        ["--points", "1"], ["--seed", "-1"], ["--output", __file__], ["--no-such", "1"],
    ],
)  # fmt: skip
def test_bad_input_is_one_line(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--output", str(tmp_path), *arguments])
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and told.count("\n") == 1 and told.startswith("error: ")
    assert arguments[0] in told
    assert not list(tmp_path.iterdir())
