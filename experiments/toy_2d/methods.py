"""Which bridge needs how many evaluations: each with its perfect network, by each sampler."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np

from experiments.toy_2d import closed_form, conditional, distances, moments, restoring
from experiments.toy_2d.conditional import Answer, Given
from experiments.toy_2d.errors import ABOVE_FLOOR, WINDOWS, Row, slope
from experiments.toy_2d.moments import Table
from experiments.toy_2d.restoring import Method, Restoring
from i2sb_jax.bridge import Steps, step_grid, walk
from i2sb_jax.types import Array, PRNGKey

CURVE = ("method", "sampler", "spacing")
MEASURES = ("error", "joint_error", "squared_error")
RING_WINDOW = (1, 20)  # evaluations over which its slopes are fitted
_DIRECTIONS = {2: 16, 4: 24}


def sample(table: Table, answer: Answer, x1: np.ndarray, *, seed: int) -> np.ndarray:
    """What a sampler makes of x_T [count, 2] with a perfect network; [count, 2].

    The tables are arguments of the compiled program, which bridges and grids so share.
    """
    *columns, start_std = table.weights
    return np.asarray(_walk(
        jax.random.key(seed), [np.float32(column) for column in columns],
        np.array(table.visited, np.int32), answer, np.float32(x1), start_std=start_std,
        noise=table.noise,
    ), np.float64)  # fmt: skip


@functools.partial(jax.jit, static_argnames=("start_std", "noise"))
def _walk(
    key: PRNGKey, columns: list[Array], visited: Array, answer: Answer, x1: Array, *,
    start_std: float, noise: str,
) -> jax.Array:  # fmt: skip
    def predict_x0(xt, step):
        return conditional.posterior_mean(answer, xt, x1, step)

    weights = Steps(*columns, start_std=start_std)
    return walk(key, weights, predict_x0, x1, steps=visited, noise=noise).x0


def measure(
    methods: Mapping[str, Method], *, nfes: Sequence[int], points: int, seeds: int
) -> Iterator[Row]:
    """A row for each method, sampler, spacing, number of evaluations and seed, on the ring.

    Args:
        methods: by name.
        nfes: numbers of evaluations.
        points: restored for each seed.
        seeds: how many draws of points and noise.

    Yields:
        method, sampler, spacing, nfe, seed; error: sliced 2-Wasserstein distance of the results to
        the clean points; joint_error: that of pairs with x_T; squared_error: E‖result - x_0‖². A
        row whose sampler is "exact" has the same of draws from the law of x_0 given x_T.
    """
    measured = restoring.ring_of_six()
    starts = {"y": measured, "mean": restoring.from_posterior_mean(measured)}
    scores = {
        start: _Scores(problem, points=points, seeds=seeds)
        for start, problem in starts.items()
        if start in {method.start for method in methods.values()}
    }
    for start, score in scores.items():
        same = {"method": f"from {start}", "sampler": "exact", "spacing": "", "nfe": 0}
        for row in score.of(score.exact):
            yield same | row
    for name, method in methods.items():
        plan, score = starts[method.start].plan, scores[method.start]
        answer = conditional.single(
            conditional.answer(plan, method.bridge, deterministic=method.deterministic)
        )
        for sampler, spacing, nfe, table in _tables(method, nfes):
            same = {"method": name, "sampler": sampler, "spacing": spacing, "nfe": nfe}
            for row in score.of(sample(table, answer, score.x1, seed=0)):
                yield same | row


def _tables(method: Method, nfes: Sequence[int]) -> Iterator[tuple[str, str, int, Table]]:
    """Yields sampler, spacing, evaluations and their table."""
    bridge = method.bridge
    for sampler in method.samplers:
        for spacing in method.spacings:
            for nfe in nfes:
                steps = step_grid(bridge.num_steps, nfe, spacing=spacing, schedule=bridge)
                yield sampler, spacing, nfe, moments.sampler_table(sampler, bridge, steps)


class _Scores:
    """Clean points and starts of all seeds, and the measures of what is made of them."""

    def __init__(self, problem: Restoring, *, points: int, seeds: int):
        self.points, self.seeds = points, seeds
        self._along = {d: distances.directions(d, count) for d, count in _DIRECTIONS.items()}
        rngs = [np.random.default_rng(seed) for seed in range(seeds)]
        drawn = [problem.draw(rng, points) for rng in rngs]
        self.x0, self.x1 = (np.concatenate(each) for each in zip(*drawn, strict=True))
        self.exact = Given.of(problem.plan).draw(np.random.default_rng(seeds), self.x1)
        self._clean = [self._slices(self.x0, seed) for seed in range(seeds)]

    def _slices(self, x0: np.ndarray, seed: int) -> dict[int, np.ndarray]:
        rows = slice(seed * self.points, (seed + 1) * self.points)
        pairs = np.concatenate([x0[rows], self.x1[rows]], axis=1)
        return {d: distances.slices(pairs[:, :d], along) for d, along in self._along.items()}

    def of(self, found: np.ndarray) -> Iterator[Row]:
        """Yields the measures of results [seeds · points, 2] for each seed."""
        squared = ((found - self.x0) ** 2).sum(axis=1).reshape(self.seeds, self.points).mean(axis=1)
        for seed, clean in enumerate(self._clean):
            ours = self._slices(found, seed)
            apart = {d: distances.sliced_distance(ours[d], clean[d]) for d in clean}
            yield {
                "seed": seed, "error": apart[2], "joint_error": apart[4],
                "squared_error": float(squared[seed]),
            }  # fmt: skip


def summary(rows: Iterable[Row]) -> list[Row]:
    """Means over seeds, and their standard errors, "" of a single seed."""
    return [
        dict(zip((*CURVE, "nfe"), key, strict=True))
        | {
            name: value
            for measure in MEASURES
            for name, value in _mean(measure, [row[measure] for row in alike]).items()
        }
        for key, alike in _by(rows, *CURVE, "nfe").items()
    ]


def exact_rows(methods: Mapping[str, Method], *, nfes: Sequence[int]) -> Iterator[Row]:
    """The error of each method that starts at y on Gaussians, free of chance.

    Yields:
        method, sampler, spacing, nfe; joint_error: 2-Wasserstein distance of (result, x_T) to the
        closed form at index 0; error: that of the result alone.
    """
    problem = restoring.gaussian()
    start = closed_form.second_half(problem.plan)
    for name, method in methods.items():
        if method.start != "y":
            continue
        bridge = method.bridge
        answer = conditional.affine(
            conditional.answer(problem.plan, bridge, deterministic=method.deterministic)
        )
        exact = closed_form.pairs_at(problem.plan, bridge.pinned(), 0)
        for sampler, spacing, nfe, table in _tables(method, nfes):
            found = moments.result(table, answer, start)
            halves = closed_form.first_half(found), closed_form.first_half(exact)
            yield {
                "method": name, "sampler": sampler, "spacing": spacing, "nfe": nfe,
                "error": distances.gaussian_distance(*halves),
                "joint_error": distances.gaussian_distance(found, exact),
            }  # fmt: skip


def slopes(rows: Sequence[Row], exact: Sequence[Row]) -> list[Row]:
    """Slopes of log error over log evaluations, by least squares; of flows of their law alone.

    On the ring one is fitted for each seed, over RING_WINDOW and where the mean error of all seeds
    is above ABOVE_FLOOR times that of exact draws; an empty cell: that is so at fewer than three.

    Args:
        rows: of `measure`.
        exact: of `exact_rows`.

    Returns:
        Rows of method, sampler, spacing; measure, "joint_error" or "error"; gaussian_A_B, over A …
        B evaluations; ring, the mean over seeds, and ring_se.
    """
    methods, found = restoring.make_methods(), []
    floors = {row["method"]: row for row in summary(rows) if not row["nfe"]}
    free_of_chance = _by(exact, *CURVE)
    for key, curve in _by((row for row in rows if row["nfe"]), *CURVE).items():
        method = methods[key[0]]
        measure = "error" if method.deterministic else "joint_error"
        floor = ABOVE_FLOOR * floors[f"from {method.start}"][measure]
        used = {row["nfe"] for row in summary(curve) if row[measure] > floor}
        told = [row for row in curve if row["nfe"] in used]
        ring = [_slope(each, measure, RING_WINDOW) for each in _by(told, "seed").values()]
        gaussian = free_of_chance.get(key, [])
        found.append(
            dict(zip(CURVE, key, strict=True))
            | {"measure": measure}
            | {
                f"gaussian_{low}_{high}": _slope(gaussian, measure, (low, high))
                for low, high in WINDOWS
            }
            | ({"ring": "", "ring_se": ""} if "" in ring or not ring else _mean("ring", ring))
        )
    return found


def _slope(curve: list[Row], measure: str, window: tuple[int, int]) -> float | str:
    low, high = window
    return slope([(row["nfe"], row[measure]) for row in curve if low <= row["nfe"] <= high])


def _mean(name: str, values: list[float]) -> Row:
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else ""
    return {name: float(np.mean(values)), f"{name}_se": error if error == "" else float(error)}


def _by(rows: Iterable[Row], *names: str) -> dict[tuple, list[Row]]:
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found
