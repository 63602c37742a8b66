"""The study's figures, and tables and pictures of them."""

import io
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib

matplotlib.use("Agg")  # no display is needed, nor looked for

import numpy as np
from matplotlib import pyplot
from PIL import Image, ImageDraw

from experiments.nfe_sweep.measure import Row
from experiments.nfe_sweep.report import cell
from i2sb_jax.evaluation.bootstrap import Figure, mean_figure

SCORES = {"psnr": ("PSNR (dB)", 2), "ssim": ("SSIM", 3), "psnr_y": ("PSNR of luma", 2)}
FROM = "-from-"  # of a run that starts at the shipped model's answer; before it its plain bridge's
TOLD = (0, 1, 5, 10, 50)  # evaluations that the tables have; 0: what needs no run
_NORMAL_95 = 1.959964
_LABEL = 14  # pixels of a line of text
_ZOOM = 2
_HIGHEST = 20  # kernel distance in view
_STYLES = {
    "": {"marker": "*", "markersize": 10, "linestyle": ""},
    **{name: {"marker": "o", "markersize": 4} for name in ("ode", "ddpm")},
    "ode2": {"marker": "x", "linestyle": "--"},
}


def line(row: Row) -> str:
    """A row for a terminal."""
    told = " ".join(f"{name} {np.mean(row[name]):.{n}f}" for name, (_, n) in SCORES.items())
    where = f"{row['task']} {row['run']} {row['sampler']} {row['nfe'] or ''}"
    return f"{where}: {told} kernel {row['kernel'][0]:.3f}"


def figures(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Of each row the means with 95 % intervals, and its differences picture by picture.

    `change` is of PSNR from the shipped model's answer; `nearer` by how much its kernel distance is
    the smaller, than the answer's (`answer`) and, of a bridge that starts there, than that of the
    same bridge from X_1 by the same sampler and evaluations (`plain`).
    """
    by_key = {(row["task"], row["run"], row["sampler"], row["nfe"]): row for row in rows}
    found = []
    for (task, run, sampler, nfe), row in by_key.items():
        told = {"task": task, "run": run, "sampler": sampler, "nfe": nfe}
        told["pictures"] = len(row["psnr"])
        for name in SCORES:
            told[name] = _rounded(mean_figure(np.array(row[name]), seed=0)[:3])
        told["kernel"] = _rounded(row["kernel"])
        answer = by_key.get((task, "answer", "", 0))
        if answer is not None and row is not answer:
            change = mean_figure(np.subtract(row["psnr"], answer["psnr"]), seed=0)
            told["change"] = _rounded(change[:3])
            others = {"answer": answer}
            plain, start, _ = run.partition(FROM)
            if start:
                others["plain"] = by_key.get((task, plain, sampler, nfe))
            for name, other in others.items():
                if other is not None:
                    told[f"nearer {name}"] = _nearer(row, other)
        found.append(told)
    return found


def _nearer(row: Row, other: Row) -> list[float]:
    difference = other["kernel"][0] - row["kernel"][0]
    resampled = np.subtract(other["kernel_resampled"], row["kernel_resampled"])
    spread = _NORMAL_95 * float(np.std(resampled, ddof=1))
    return _rounded((difference, difference - spread, difference + spread))


def _rounded(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else round(float(value), 4) for value in values]


def tables(found: Sequence[dict]) -> str:
    """Markdown: a table a task, of what needs no run and of some numbers of evaluations."""
    return "\n".join(_table(task, found) for task in dict.fromkeys(row["task"] for row in found))


def _table(task: str, found: Sequence[dict]) -> str:
    mine = [row for row in found if row["task"] == task and row["nfe"] in TOLD]
    heads = [f"{task}, {mine[0]['pictures']} windows", "NFE", "kernel distance", "below the plain"]
    heads += ["PSNR (dB)", "from the answer's", "SSIM", "PSNR of luma"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in mine:
        name = f"{row['run']}, {row['sampler']}" if row["sampler"] else row["run"]
        cells = [
            name,
            str(row["nfe"] or ""),
            _cell(row, "kernel", 2),
            _cell(row, "nearer plain", 2),
        ]
        cells += [f"{row['psnr'][0]:.2f}", _cell(row, "change", 2)]
        cells += [f"{row['ssim'][0]:.3f}", f"{row['psnr_y'][0]:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: dict, name: str, digits: int) -> str:
    return cell(Figure(*row[name], row["pictures"]), digits) if name in row else ""


def curves(found: Sequence[dict]) -> bytes:
    """A PNG, a panel a task: kernel distance against PSNR, a line a run and sampler."""
    tasks = list(dict.fromkeys(row["task"] for row in found))
    mine = [row for row in found if row["run"] != "degraded"]
    colours = {run: f"C{n}" for n, run in enumerate(dict.fromkeys(row["run"] for row in mine))}
    page, panels = pyplot.subplots(
        1, len(tasks), figsize=(4.4 * len(tasks), 4.8), squeeze=False, layout="constrained"
    )
    handles = {}
    for axes, task in zip(panels[0], tasks, strict=True):
        axes.set(title=task, xlabel="PSNR (dB)", ylabel="kernel distance", yscale="log")
        axes.grid(alpha=0.3, which="both")
        points: dict[tuple, list[dict]] = {}
        for row in mine:
            if row["task"] == task and row["kernel"][0] <= _HIGHEST:
                points.setdefault((row["run"], row["sampler"]), []).append(row)
        for (run, sampler), line in points.items():
            x, y = ([row[name][0] for row in line] for name in ("psnr", "kernel"))
            style = _STYLES[sampler] | {"color": colours[run], "linewidth": 1.2}
            (handle,) = axes.plot(x, y, **style)
            handles[f"{run} {sampler}".strip()] = handle
            for row in line:
                axes.annotate(row["nfe"] or "", (row["psnr"][0], row["kernel"][0]), fontsize=7)
        above = dict.fromkeys(
            row["run"] for row in mine if row["task"] == task and row["kernel"][0] > _HIGHEST
        )
        if above:
            told = textwrap.fill(f"above, with noise left: {', '.join(above)}", 30)
            axes.text(0.03, 0.97, told, transform=axes.transAxes, fontsize=7, va="top")
    page.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize="small"
    )
    buffer = io.BytesIO()
    page.savefig(buffer, format="png", dpi=80)
    pyplot.close(page)
    return buffer.getvalue()


def grid(columns: Mapping[str, np.ndarray]) -> bytes:
    """A JPEG of windows twice as large, a column a name.

    Args:
        columns: title -> uint8 [rows, h, w, 3].
    """
    rows, height, width = next(iter(columns.values())).shape[:3]
    size = (len(columns) * width * _ZOOM, rows * height * _ZOOM + _LABEL)
    page = Image.new("RGB", size, "white")
    write = ImageDraw.Draw(page)
    for number, (title, windows) in enumerate(columns.items()):
        left = number * width * _ZOOM
        write.text((left + 2, 1), title, fill="black")
        strip = Image.fromarray(np.concatenate(list(windows)))
        large = strip.resize((width * _ZOOM, rows * height * _ZOOM), Image.Resampling.NEAREST)
        page.paste(large, (left, _LABEL))
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
