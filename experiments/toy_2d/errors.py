"""Each sampler's distance to the closed form, and how it falls with the evaluations."""

import functools
from collections.abc import Iterable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from experiments.toy_2d import closed_form, distances, moments
from experiments.toy_2d.closed_form import Mixture
from experiments.toy_2d.problems import Problem
from i2sb_jax.bridge import BridgeSchedule, i2sb_bridge, make_sampler, step_grid

SAMPLERS = ("ddpm", "ode", "implicit", "implicit2", "implicit3")
SPACINGS = ("index", "lambda")
_DIRECTIONS = {2: 16, 4: 24}
# slopes are fitted over these evaluations, to errors that are not the sample's own
WINDOWS, ABOVE_FLOOR, _FEWEST = ((5, 50), (20, 200)), 2.0, 3

Row = dict[str, str | int | float]


def measure(
    problem: Problem, schedule: BridgeSchedule, *, nfes: Sequence[int], points: int, seed: int
) -> Iterator[Row]:
    """A row for each sampler, spacing and number of evaluations.

    Args:
        problem: what to sample.
        schedule: of the bridge.
        nfes: numbers of evaluations, each 1 … num_steps - 1.
        points: drawn where the law of the result has no closed form.
        seed: of all that is drawn.

    Yields:
        problem, sampler, spacing, nfe; error: 2-Wasserstein distance of the result to the closed
        form at index 0 (sliced, for mixtures); joint_error: that of pairs (result, x_1); their
        floors: the same of an exact sample; cost: E‖result - x_1‖², and the exact cost.
    """
    exact = closed_form.pairs_at(problem.plan, i2sb_bridge(schedule), 0)
    score = _exact_score if problem.linear else _sampled_score
    score = score(problem, schedule, exact, points=points, seed=seed)
    for sampler in SAMPLERS:
        for spacing in SPACINGS:
            for nfe in nfes:
                grid = step_grid(schedule.num_steps, nfe, spacing=spacing, schedule=schedule)
                yield {
                    "problem": problem.name, "sampler": sampler, "spacing": spacing, "nfe": nfe,
                    **score(sampler, grid), "exact_cost": closed_form.transport_cost(exact),
                }  # fmt: skip


def _exact_score(problem, schedule, exact, *, points, seed):
    """(sampler, grid) -> errors of a linear predictor, free of chance."""
    start = closed_form.second_half(exact)

    def score(sampler: str, grid: tuple[int, ...]) -> Row:
        table = moments.sampler_table(sampler, schedule, grid)
        found = moments.result(table, problem.linear, start)
        halves = closed_form.first_half(found), closed_form.first_half(exact)
        return {
            "error": distances.gaussian_distance(*halves), "floor": 0.0,
            "joint_error": distances.gaussian_distance(found, exact), "joint_floor": 0.0,
            "cost": closed_form.transport_cost(found),
        }  # fmt: skip

    return score


def _sampled_score(problem, schedule, exact: Mixture, *, points, seed):
    """(sampler, grid) -> errors of `points` results, beside those of as many exact draws."""
    rng = np.random.default_rng(seed)
    reference, second, start = (closed_form.draw(rng, exact, points) for _ in range(3))
    along = {d: distances.directions(d, count) for d, count in _DIRECTIONS.items()}

    def slices(pairs: np.ndarray, d: int) -> np.ndarray:
        images = distances.with_images(pairs, problem.symmetries)
        return distances.slices(images[:, :d], along[d])

    sliced = {d: slices(reference, d) for d in along}

    def apart(pairs: np.ndarray, d: int) -> float:
        return distances.sliced_distance(slices(pairs, d), sliced[d])

    x1 = start[:, 2:]
    floor, joint_floor = apart(second, 2), apart(second, 4)

    def score(sampler: str, grid: tuple[int, ...]) -> Row:
        x0 = draw_by_sampler(problem, schedule, x1, sampler=sampler, steps=grid, seed=seed)
        pairs = np.concatenate([x0, x1], axis=1)
        return {
            "error": apart(pairs, 2), "floor": floor,
            "joint_error": apart(pairs, 4), "joint_floor": joint_floor,
            "cost": float(((x0 - x1) ** 2).sum(axis=1).mean()),
        }  # fmt: skip

    return score


def draw_by_sampler(
    problem: Problem,
    schedule: BridgeSchedule,
    x1: np.ndarray,
    *,
    sampler: str,
    steps: tuple[int, ...],
    seed: int,
    path: bool = False,
) -> np.ndarray:
    """What a sampler of the library makes of x1 [points, 2] with the perfect predictor.

    Returns:
        Its results, [points, 2]; with `path`, all states from index 0 to x1 itself,
        [len(steps), points, 2].
    """
    record = tuple(range(len(steps) - 1)) if path else ()
    run = functools.partial(make_sampler(sampler), steps=steps, record=record)
    sampled = jax.jit(lambda key, x1: run(key, schedule, problem.predict_x0, x1))(
        jax.random.key(seed), jnp.asarray(x1, jnp.float32)
    )
    if not path:
        return np.asarray(sampled.x0, np.float64)
    return np.concatenate([np.asarray(sampled.xt_path, np.float64), x1[None]])


def fit_slopes(rows: Iterable[Row]) -> list[Row]:
    """The slope of log error over log nfe, by least squares, for each curve and window.

    Only errors above ABOVE_FLOOR times their floor count. Where fewer than three are left the slope
    is an empty cell.

    Returns:
        Rows of problem, sampler, spacing, measure ("error" or "joint_error"), nfe_from, nfe_to,
        points and slope.
    """
    curves: dict[tuple, list[Row]] = {}
    for row in rows:
        curves.setdefault((row["problem"], row["sampler"], row["spacing"]), []).append(row)
    found = []
    for (problem, sampler, spacing), curve in curves.items():
        for kind in ("", "joint_"):
            for low, high in WINDOWS:
                used = [
                    (row["nfe"], row[f"{kind}error"])
                    for row in curve
                    if low <= row["nfe"] <= high
                    and row[f"{kind}error"] > ABOVE_FLOOR * row[f"{kind}floor"]
                ]
                found.append({
                    "problem": problem, "sampler": sampler, "spacing": spacing,
                    "measure": f"{kind}error", "nfe_from": low, "nfe_to": high,
                    "points": len(used), "slope": slope(used),
                })  # fmt: skip
    return found


def slope(points: list[tuple[int, float]]) -> float | str:
    if len(points) < _FEWEST:
        return ""
    nfe, error = np.log(points).T
    return round(float(np.polyfit(nfe, error, 1)[0]), 3) + 0.0  # of -0.0 it makes 0.0
