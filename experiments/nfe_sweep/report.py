"""A sweep's rows as CSV, markdown and a figure, and who is best at each number of evaluations."""

import csv
import io
from collections.abc import Iterable, Sequence

import matplotlib

matplotlib.use("Agg")  # no display is needed, nor looked for

import numpy as np
from matplotlib import pyplot

from experiments.nfe_sweep.measure import Row
from i2sb_jax.evaluation.bootstrap import Figure, mean_figure

COLUMNS = (
    *("method", "sampler", "eta", "spacing", "nfe", "pictures"),
    *("psnr", "psnr_low", "psnr_high", "ssim", "ssim_low", "ssim_high"),
    *("kernel", "kernel_low", "kernel_high", "seconds"),
)
METRICS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "kernel": ""}  # the last one's title varies
_DIGITS = {"psnr": 2, "ssim": 4, "kernel": 3}
_NORMAL_95 = 1.959964
# Okabe and Ito's colours, which colour-blind people tell apart, and a marker each
_LOOKS = (
    *(("#000000", "o"), ("#E69F00", "s"), ("#56B4E9", "^"), ("#009E73", "v")),
    *(("#D55E00", "D"), ("#0072B2", "P"), ("#CC79A7", "X")),
)
_DASHES = {"index": "-", "lambda": "--", "sigma": ":"}


def figure_of(row: Row, metric: str) -> Figure | None:
    """The mean of a row's pictures, or its distance, with the 95 % interval; None without one."""
    if metric == "kernel":
        return Figure(*row["kernel"], len(row["psnr"]))
    if metric not in row or row["method"] == "clean":  # of themselves they say nothing
        return None
    return mean_figure(np.array(row[metric]), seed=0)


def line(row: Row) -> str:
    """A row for a terminal."""
    told = [f"{row['method']} {row['spacing']} nfe {row['nfe']}:"]
    for metric in METRICS:
        if (figure := figure_of(row, metric)) is not None:
            told.append(f"{metric} {figure.value:.{_DIGITS[metric]}f}")
    return " ".join(told)


def as_csv(rows: Sequence[Row]) -> str:
    """A line a row under COLUMNS; empty where there is no value."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        cells = {name: row[name] for name in ("method", "sampler", "eta", "spacing", "nfe")}
        if not row["sampler"]:
            cells |= {"eta": "", "nfe": ""}
        cells |= {"pictures": len(row["psnr"]), "seconds": f"{row['seconds']:.2f}"}
        for metric in METRICS:
            if (figure := figure_of(row, metric)) is not None:
                names = (metric, f"{metric}_low", f"{metric}_high")
                values = (figure.value, figure.low, figure.high)
                cells |= dict(zip(names, values, strict=True))
        writer.writerow(cells)
    return buffer.getvalue()


def as_markdown(rows: Sequence[Row], *, title: str, told: str) -> str:
    """All rows with their intervals, and then who is best at each number of evaluations."""
    titles = [title if name == "kernel" else shown for name, shown in METRICS.items()]
    lines = [f"| {told} | spacing | NFE | {' | '.join(titles)} |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [cell(figure_of(row, metric), _DIGITS[metric]) for metric in METRICS]
        nfe = row["nfe"] or ""
        lines.append(f"| {row['method']} | {row['spacing']} | {nfe} | {' | '.join(cells)} |")
    lines += ["", f"| best at NFE | {' | '.join(titles)} |", "|---|---|---|---|"]
    for nfe in sorted({row["nfe"] for row in rows if row["sampler"]}):
        mine = [row for row in rows if row["nfe"] == nfe and row["sampler"]]
        lines.append(f"| {nfe} | {' | '.join(_best(mine, metric) for metric in METRICS)} |")
    return "\n".join(lines) + "\n"


def cell(figure: Figure | None, digits: int) -> str:
    """A figure with its interval, as a table has it; empty for None."""
    if figure is None or figure.value is None:
        return ""
    if figure.low is None:
        return f"{figure.value:.{digits}f}"
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} … {figure.high:.{digits}f})"


def _best(rows: Sequence[Row], metric: str) -> str:
    """The best row, and those that resampled pictures do not tell from it."""
    found = [row for row in rows if figure_of(row, metric) is not None]
    if not found:
        return ""
    sign = 1 if metric == "kernel" else -1
    found.sort(key=lambda row: sign * figure_of(row, metric).value)
    best, *rest = found
    told = f"**{_name(best)}** {figure_of(best, metric).value:.{_DIGITS[metric]}f}"
    alike = [_name(row) for row in rest if not worse(row, best, metric)]
    if rest and len(alike) == len(rest):
        return f"all alike: {figure_of(best, metric).value:.{_DIGITS[metric]}f}"
    return told + (f"; not told apart: {', '.join(alike)}" if alike else "")


def worse(row: Row, best: Row, metric: str) -> bool:
    """Whether the 95 % interval of the difference, picture by picture, leaves out zero.

    The pictures differ among themselves far more than samplers do, so intervals of single rows
    overlap even where one sampler is better on nearly every picture.
    """
    if metric == "kernel":
        difference = np.subtract(row["kernel_resampled"], best["kernel_resampled"])
        return row["kernel"][0] - best["kernel"][0] > _NORMAL_95 * float(np.std(difference, ddof=1))
    difference = np.subtract(best[metric], row[metric])
    figure = mean_figure(difference, seed=0)
    return figure.low is not None and figure.low > 0


def _name(row: Row) -> str:
    return f"{row['method']} {row['spacing']}"


def figure(rows: Sequence[Row], *, title: str, told: str) -> bytes:
    """A PNG of three panels: each metric against the evaluations, a line a sampler and spacing."""
    pages, panels = pyplot.subplots(1, 3, figsize=(15, 5.2), layout="constrained")
    for axes, (metric, shown) in zip(panels, METRICS.items(), strict=True):
        axes.set(xscale="log", xlabel="network evaluations", title=shown or title)
        nfes = sorted({row["nfe"] for row in rows if row["sampler"]})
        axes.set_xticks(nfes, [str(nfe) for nfe in nfes])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        _lines(axes, rows, metric)
        if metric == "kernel" and all(row["kernel"][0] > 0 for row in rows if row["sampler"]):
            axes.set_yscale("log")  # grain takes the cubic kernel over decades
        _levels(axes, [row for row in rows if not row["sampler"]], metric)
    handles, labels = panels[0].get_legend_handles_labels()
    columns = len({row["method"] for row in rows if row["sampler"]})
    pages.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize="small")
    pages.suptitle(told)
    buffer = io.BytesIO()
    pages.savefig(buffer, format="png", dpi=110)
    pyplot.close(pages)
    return buffer.getvalue()


def _lines(axes, rows: Sequence[Row], metric: str) -> None:
    methods = list(dict.fromkeys(row["method"] for row in rows if row["sampler"]))
    for number, method in enumerate(methods):
        colour, marker = _LOOKS[number % len(_LOOKS)]
        mine = [row for row in rows if row["method"] == method]
        for spacing in dict.fromkeys(row["spacing"] for row in mine):
            points = _points((row for row in mine if row["spacing"] == spacing), metric)
            axes.plot(
                *points, color=colour, marker=marker, linestyle=_DASHES[spacing], markersize=4.5,
                linewidth=1.3, label=f"{method}, {spacing}",
            )  # fmt: skip


def _points(rows: Iterable[Row], metric: str) -> tuple[list[int], list[float]]:
    found = sorted(
        (row["nfe"], figure.value) for row in rows if (figure := figure_of(row, metric)) is not None
    )
    return [nfe for nfe, _ in found], [value for _, value in found]


def _levels(axes, rows: Sequence[Row], metric: str) -> None:
    """What needs no network: a level where it lies in view, and else a number at the border."""
    low, high = axes.get_ylim()
    outside = []
    for number, row in enumerate(rows):
        if (figure := figure_of(row, metric)) is None:
            continue
        told = f"{row['method']} {figure.value:.{_DIGITS[metric]}f}"
        if low <= figure.value <= high:
            axes.axhline(figure.value, color="grey", linewidth=1, linestyle=(0, (1, 2)))
            place = (0.01 + 0.28 * number, figure.value)  # beside those of levels close to it
            at = axes.transAxes.inverted().transform(axes.transData.transform((1, figure.value)))
            axes.annotate(
                told, place, xycoords=("axes fraction", "data"), fontsize="small", color="dimgrey",
                va="top" if at[1] > 0.5 else "bottom",
            )  # fmt: skip
        else:
            outside.append(f"{told} ({'above' if figure.value > high else 'below'})")
    axes.set_ylim(low, high)
    if outside:
        axes.text(
            0.99, 0.01, "out of view: " + ", ".join(outside), transform=axes.transAxes,
            fontsize="x-small", color="dimgrey", ha="right", va="bottom",
        )  # fmt: skip
