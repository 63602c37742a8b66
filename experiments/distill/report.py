"""The rows as a table, and the pictures side by side."""

import io
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")  # no display is needed, nor looked for

import numpy as np
from matplotlib import pyplot

from experiments.nfe_sweep.measure import Row
from experiments.nfe_sweep.report import cell, figure_of
from i2sb_jax.evaluation.bootstrap import Figure

_DIGITS = {"psnr": 2, "ssim": 4, "kernel": 3, "teacher": 3}


def line(row: Row) -> str:
    """A row for a terminal."""
    told = [f"{row['method']}:"]
    for metric in ("psnr", "ssim", "kernel"):
        if (figure := figure_of(row, metric)) is not None:
            told.append(f"{metric} {figure.value:.{_DIGITS[metric]}f}")
    return " ".join(told)


def as_markdown(rows: Sequence[Row], *, title: str, told: str) -> str:
    """All rows with their 95 % intervals; the last column is the distance to the teacher's own."""
    titles = ["PSNR (dB)", "SSIM", title, "the same to the teacher's at the most"]
    lines = [f"| {told} | NFE | {' | '.join(titles)} |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [cell(_figure(row, metric), digits) for metric, digits in _DIGITS.items()]
        method = row["method"].rpartition(",")[0] if row["nfe"] else row["method"]
        lines.append(f"| {method} | {row['nfe'] or ''} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _figure(row: Row, metric: str) -> Figure | None:
    if metric == "teacher":
        return Figure(*row["teacher"], len(row["psnr"]))
    return figure_of(row, metric)


def grid(images: Mapping[str, np.ndarray], *, rows: int) -> bytes:
    """A PNG: a column each, of pictures evenly chosen from all."""
    count = len(next(iter(images.values())))
    chosen = np.linspace(0, count - 1, min(rows, count)).round().astype(int)
    page, axes = pyplot.subplots(
        len(chosen), len(images), figsize=(1.3 * len(images), 1.3 * len(chosen) + 0.6),
        squeeze=False, layout="constrained",
    )  # fmt: skip
    for column, (name, pictures) in enumerate(images.items()):
        axes[0, column].set_title(name.replace(", ", "\n"), fontsize=8)
        for row, index in enumerate(chosen):
            axes[row, column].imshow(pictures[index], interpolation="nearest")
            axes[row, column].set_axis_off()
    buffer = io.BytesIO()
    page.savefig(buffer, format="png", dpi=110)
    pyplot.close(page)
    return buffer.getvalue()
