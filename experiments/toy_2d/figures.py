"""Pictures: the bridge itself, and errors over evaluations, of samplers and of all bridges."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np

matplotlib.use("agg")  # no display is needed

from matplotlib import pyplot as plt
from PIL import Image

from experiments.toy_2d import closed_form, errors
from experiments.toy_2d.closed_form import Mixture
from experiments.toy_2d.errors import Row
from experiments.toy_2d.problems import Problem
from i2sb_jax.bridge import BridgeSchedule, i2sb_bridge, step_grid

# of Okabe and Ito: told apart with any colour vision
BLACK, ORANGE, SKY, GREEN, BLUE, RED = (
    *("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"),
)
SAMPLER_STYLE = {
    "ddpm": (BLACK, "o"),
    "ode": (ORANGE, "s"),
    "implicit": (SKY, "^"),
    "implicit2": (BLUE, "D"),
    "implicit3": (RED, "v"),
}
SHOWN = {"ddpm": "SDE (ddpm)", "implicit2": "implicit ODE (implicit2)"}
TIMES = (1.0, 0.75, 0.5, 0.25, 0.0)  # σ_t²/σ_T²
_EXTENT = {"gaussians": (-1.6, 1.6), "mixtures": (-1.45, 1.45)}
_LINES, _GRID = 16, 120


def bridge_picture(
    problems: Sequence[Problem], schedule: BridgeSchedule, *, nfe: int, points: int, seed: int
) -> bytes:
    """What the samplers do to a cloud, over the closed form's contours; a PNG.

    Args:
        problems: two rows each, one for each sampler of SHOWN.
        schedule: of the bridge.
        nfe: evaluations, evenly over the indices.
        points: of each cloud.
        seed: of the clouds and of the samplers' noise.
    """
    bridge, steps = i2sb_bridge(schedule), step_grid(schedule.num_steps, nfe)
    share = np.asarray(bridge.a)[list(steps)]
    positions = [int(np.abs(share - time).argmin()) for time in TIMES]
    rows = [(problem, sampler) for problem in problems for sampler in SHOWN]
    figure, axes = plt.subplots(
        len(rows), len(TIMES) + 2, figsize=(12.6, 1.86 * len(rows) + 0.5),
        sharex="row", sharey="row", squeeze=False, layout="constrained",
    )  # fmt: skip
    for (problem, sampler), row in zip(rows, axes, strict=True):
        rng = np.random.default_rng(seed)
        pairs = closed_form.draw(rng, closed_form.pairs_at(problem.plan, bridge, 0), points)
        path = errors.draw_by_sampler(
            problem, schedule, pairs[:, 2:], sampler=sampler, steps=steps, seed=seed, path=True
        )
        for axis, position in zip(row[1:-1], positions, strict=True):
            law = closed_form.pairs_at(problem.plan, bridge, steps[position])
            _cloud(axis, path[position], closed_form.first_half(law), _EXTENT[problem.name])
        exact = closed_form.pairs_at(problem.plan, bridge, 0)
        _paths(row[0], path[:, :_LINES])
        _cloud(row[-1], pairs[:, :2], closed_form.first_half(exact), _EXTENT[problem.name], GREEN)
        row[0].set_ylabel(f"{problem.name}\n{SHOWN[sampler]}")
    for axis, time in zip(axes[0, 1:-1], TIMES, strict=True):
        end = {1.0: ": $p_1$, the start", 0.0: ": the result"}.get(time, "")
        axis.set_title(rf"$\sigma_t^2/\sigma_T^2={time:g}${end}", fontsize=9)
    axes[0, 0].set_title("paths, orange to blue", fontsize=9)
    axes[0, -1].set_title("exact draws of $p_0$", fontsize=9)
    for axis in axes.flat:
        axis.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        axis.tick_params(labelsize=7, length=2)
        axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _cloud(axis, points: np.ndarray, law: Mixture, extent: tuple, color: str = BLUE) -> None:
    """Points over contours that hold 90, 50 and 10 percent of the law's mass."""
    ticks = np.linspace(*extent, _GRID)
    plane = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    height = closed_form.density(law, plane)
    falling = np.sort(height.ravel())[::-1]
    mass = np.cumsum(falling) / falling.sum()
    levels = [falling[np.searchsorted(mass, held)] for held in (0.9, 0.5, 0.1)]
    axis.scatter(*points.T, s=1.6, color=color, alpha=0.45, linewidths=0)
    axis.contour(ticks, ticks, height, levels, colors="0.25", linewidths=0.6)
    axis.set(xlim=extent, ylim=extent)


def _paths(axis, path: np.ndarray) -> None:
    """Lines of states [time, points, 2], whose first row is the result and whose last is x_1."""
    for line in np.swapaxes(path, 0, 1):
        axis.plot(*line.T, color="0.45", linewidth=0.5)
    axis.scatter(*path[-1].T, s=9, color=ORANGE, zorder=3, linewidths=0)
    axis.scatter(*path[0].T, s=9, color=BLUE, zorder=3, linewidths=0)


def errors_picture(rows: Sequence[Row]) -> bytes:
    """Error over evaluations, a panel for each problem and spacing; a PNG."""
    names = list(dict.fromkeys(row["problem"] for row in rows))
    figure, axes = plt.subplots(
        len(names), len(errors.SPACINGS), figsize=(9, 3.4 * len(names)),
        sharex=True, sharey="row", squeeze=False, layout="constrained",
    )  # fmt: skip
    for name, line in zip(names, axes, strict=True):
        for spacing, axis in zip(errors.SPACINGS, line, strict=True):
            shown = [row for row in rows if (row["problem"], row["spacing"]) == (name, spacing)]
            _curves(axis, shown)
            axis.set_title(f"{name}, evenly in {spacing}", fontsize=10)
        kind = "sliced $W_2$" if shown[0]["floor"] else "$W_2$"
        line[0].set_ylabel(f"{kind} to the closed form")
    for axis in axes[-1]:
        axis.set_xlabel("network evaluations")
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower left")
    return _png(figure)


def _curves(axis, rows: Sequence[Row]) -> None:
    """A curve for each sampler, and the floor where there is one."""
    for sampler, (color, marker) in SAMPLER_STYLE.items():
        curve = sorted((row["nfe"], row["error"]) for row in rows if row["sampler"] == sampler)
        style = {"color": color, "marker": marker, "markersize": 4, "linewidth": 1.2}
        axis.plot(*zip(*curve, strict=True), label=sampler, **style)
    if rows[0]["floor"]:
        axis.axhline(rows[0]["floor"], color="0.5", linestyle="--", linewidth=1)
        axis.text(2, rows[0]["floor"] * 1.06, "exact draws", fontsize=8, color="0.35")
    _log_axes(axis, sorted({row["nfe"] for row in rows}))


def _log_axes(axis, evaluations: Sequence[int]) -> None:
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(evaluations, [str(nfe) for nfe in evaluations])
    axis.minorticks_off()
    axis.grid(color="0.9", linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)


METHOD_STYLE = {
    "ddpm": (BLACK, "o"),
    "implicit": (SKY, "^"),
    "implicit2": (BLUE, "D"),
    "heun": (GREEN, "P"),
    "exponential": (RED, "v"),
    "ode": (ORANGE, "s"),
    "ode2": ("#CC79A7", "X"),
}
_ERRORS = (0.02, 0.03, 0.05, 0.1, 0.2)  # ticks
# method and sampler, of which squared errors are shown
FIDELITY = {
    ("i2sb-exact", "ddpm"): (BLACK, "o"),
    ("i2sb-exact", "implicit2"): (BLUE, "D"),
    ("nadb", "ddpm"): (SKY, "^"),
    ("linear", "implicit2"): (GREEN, "P"),
    ("flow", "ode"): (ORANGE, "s"),
    ("nadb from mean", "ddpm"): ("#CC79A7", "X"),
    ("flow from mean", "ode"): (RED, "v"),
}


def methods_picture(means: Sequence[Row]) -> bytes:
    """Joint error over evaluations, a panel for each method; a PNG.

    Bars are standard errors over seeds.
    """
    exact = {row["method"]: row for row in means if not row["nfe"]}
    names = list(dict.fromkeys(row["method"] for row in means if row["nfe"]))
    columns = 4
    figure, axes = plt.subplots(
        -(-len(names) // columns), columns, figsize=(12, 2.5 * -(-len(names) // columns)),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    labelled = {}
    for name, axis in zip(names, axes.flat, strict=False):
        for sampler, (color, marker) in METHOD_STYLE.items():
            for spacing, open_style in (("index", {}), ("lambda", {"markerfacecolor": "white"})):
                curve = _points(means, name, sampler, spacing)
                style = {"color": color, "marker": marker, "markersize": 4} | open_style
                line = ":" if spacing == "lambda" else "-"
                if curve:
                    nfe, error, spread = zip(*curve, strict=True)
                    drawn = axis.errorbar(
                        nfe, error, spread, linestyle=line, linewidth=1, elinewidth=0.8, **style
                    )
                    labelled.setdefault(sampler, drawn)
        floor = exact["from mean" if name.endswith("from mean") else "from y"]
        axis.axhline(floor["joint_error"], color="0.5", linestyle="--", linewidth=1)
        axis.set_title(name, fontsize=10)
    evaluations = sorted({row["nfe"] for row in means if row["nfe"]})
    for axis in axes.flat:
        _log_axes(axis, evaluations)
        axis.set_yticks(_ERRORS, [f"{error:g}" for error in _ERRORS])
        axis.minorticks_off()
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    figure.legend(
        labelled.values(), labelled, loc="outside upper center", ncols=len(labelled), fontsize=9,
        frameon=False,
    )  # fmt: skip
    figure.supxlabel(
        "network evaluations; full lines evenly in index, dotted in lambda", fontsize=9
    )
    figure.supylabel("sliced $W_2$ of (result, $x_T$) to the closed form", fontsize=9)
    return _png(figure)


def fidelity_picture(means: Sequence[Row]) -> bytes:
    """Squared error over the error of the law alone, by evaluations, for FIDELITY; a PNG."""
    figure, axis = plt.subplots(figsize=(7, 4.6), layout="constrained")
    exact = {row["method"]: row for row in means if not row["nfe"]}
    for (name, sampler), (color, marker) in FIDELITY.items():
        curve = sorted(
            (row for row in means if (row["method"], row["sampler"], row["spacing"])
             == (name, sampler, "index")), key=lambda row: row["nfe"],
        )  # fmt: skip
        x, y = ([row[measure] for row in curve] for measure in ("error", "squared_error"))
        spread = [[row[f"{m}_se"] or 0.0 for row in curve] for m in ("error", "squared_error")]
        axis.errorbar(
            x, y, spread[1], spread[0], color=color, marker=marker, markersize=4, linewidth=1,
            elinewidth=0.8, label=f"{name}, {sampler}",
        )  # fmt: skip
        for row in curve:
            if row["nfe"] in (2, 5, 50):
                place = (row["error"], row["squared_error"])
                axis.annotate(str(row["nfe"]), place, (3, 3), textcoords="offset points",
                              fontsize=7, color=color)  # fmt: skip
    axis.axvline(exact["from y"]["error"], color="0.5", linestyle="--", linewidth=1)
    axis.set(xscale="log", xlabel="sliced $W_2$ of the results to the clean points")
    axis.set_xticks(_ERRORS, [f"{error:g}" for error in _ERRORS])
    axis.minorticks_off()
    axis.set_ylabel("squared error of the results")
    axis.grid(color="0.9", linewidth=0.6)
    axis.legend(fontsize=8, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def _points(means: Sequence[Row], name: str, sampler: str, spacing: str) -> list[tuple]:
    """(evaluations, joint error, its standard error) of one curve, in order."""
    return sorted(
        (row["nfe"], row["joint_error"], row["joint_error_se"] or 0.0)
        for row in means
        if (row["method"], row["sampler"], row["spacing"]) == (name, sampler, spacing)
    )


def _png(figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    plt.close(figure)
    # few colours are in it: a palette takes a third of the bytes, one that keeps the rare ones
    small = io.BytesIO()
    palette = Image.open(file).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE)
    palette.save(small, format="PNG", optimize=True)
    return small.getvalue()
