"""A measured table as CSV, markdown and a figure, beside what was published."""

import csv
import io
from collections.abc import Sequence

import matplotlib

matplotlib.use("Agg")  # no display is needed, nor looked for

from matplotlib import pyplot

from experiments.paper_table.measure import Row

COLUMNS = (
    *("task", "sampler", "nfe", "pictures", "fid", "fid_low", "fid_high", "published_fid"),
    *("accuracy", "accuracy_low", "accuracy_high", "published_accuracy", "kid", "psnr", "ssim"),
    *("published_evaluations", "published_pictures", "best_other", "source"),
    *("not_measured", "left_out", "notes"),
)
_TITLES = {"fid": "FID (lower is better)", "accuracy": "classifier accuracy, % (higher is better)"}
_SHOWN = {"fid": 2, "accuracy": 1, "psnr": 2}  # with their digits
_COMPARED = ("FID and KID", "classifier accuracy")  # as evaluations call what they leave out
_MEASURED, _PUBLISHED = "#0072B2", "#D55E00"  # of Okabe and Ito: colour-blind people tell them


def as_csv(rows: Sequence[Row]) -> str:
    """A line a row under COLUMNS; empty where there is no value."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        published = row.published
        cells = {
            "task": published.task, "sampler": _sampler(row), "nfe": row.nfe,
            "pictures": _pictures(row), "published_fid": published.fid,
            "published_accuracy": published.accuracy, "source": published.source,
            "published_evaluations": published.evaluations,
            "published_pictures": published.pictures, "best_other": published.other,
            "not_measured": row.reason, "left_out": _left_out(row), "notes": "; ".join(row.notes),
        }  # fmt: skip
        for metric in ("fid", "accuracy", "kid", "psnr", "ssim"):
            if metric in row.figures:
                cells[metric] = row.figures[metric]["value"]
        for metric in _TITLES:
            for end in ("low", "high"):
                if metric in row.figures:
                    cells[f"{metric}_{end}"] = row.figures[metric][end]
        writer.writerow({name: "" if value is None else value for name, value in cells.items()})
    return buffer.getvalue()


def as_markdown(rows: Sequence[Row], *, name: str) -> str:
    """Measured beside published; below, what was not measured and why."""
    lines = [
        f"| {name} | NFE | pictures | FID | published | accuracy (%) | published | PSNR (dB) | "
        "best other |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        published = row.published
        at = "" if row.nfe == published.nfe else f" at {published.evaluations}"
        accuracy = "–" if published.accuracy is None else f"{published.accuracy}{at}"
        measured = [_cell(row, metric, digits) for metric, digits in _SHOWN.items()]
        cells = [
            f"{published.task}{_sampler(row) and f', {_sampler(row)}'}", row.nfe,
            _pictures(row) or "–", measured[0], f"{published.fid}{at}", measured[1], accuracy,
            measured[2], published.other or "–",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    told = [line for row in rows for line in _remarks(row)]
    sources = ", ".join(dict.fromkeys(row.published.source for row in rows))
    lines += ["", f"Published: {sources}; in brackets 95 % intervals of what was measured.", ""]
    lines += [f"- {line}" for line in dict.fromkeys(told)]
    return "\n".join(lines) + "\n"


def _cell(row: Row, metric: str, digits: int) -> str:
    if row.reason:
        return "not measured"
    figure = row.figures.get(metric)
    if figure is None or figure["value"] is None:
        return "left out"
    told = f"{figure['value']:.{digits}f}"
    if figure["low"] is not None:
        told += f" ({figure['low']:.{digits}f} … {figure['high']:.{digits}f})"
    return told


def _remarks(row: Row) -> list[str]:
    if row.reason:
        return [f"{row.published.task}: not measured: {row.reason}"]
    found = [f"{row.published.task}: {'; '.join(row.notes)}"] if row.notes else []
    reasons = {metric: reason for metric, reason in row.left_out.items() if metric in _COMPARED}
    return found + [f"left out: {metric}: {reason}" for metric, reason in reasons.items()]


def _label(row: Row) -> str:
    published = row.published
    told = f"{published.task}{_sampler(row) and f' {_sampler(row)}'}, nfe {row.nfe}"
    if row.nfe != published.nfe:
        told += f", published at {published.evaluations}"
    return told + (" (not measured)" if row.reason else "")


def _left_out(row: Row) -> str:
    return "; ".join(f"{metric}: {reason}" for metric, reason in row.left_out.items())


def _sampler(row: Row) -> str:
    published = row.published
    return "" if published.sampler is None else f"{published.sampler}:{published.eta:g}"


def _pictures(row: Row) -> int | str:
    return max((figure["pictures"] for figure in row.figures.values()), default="")


def figure(rows: Sequence[Row], *, name: str) -> bytes:
    """A PNG: a dot for what was measured, with its interval, and a ring for what was published."""
    pages, panels = pyplot.subplots(
        1, 2, figsize=(12, 1.8 + 0.45 * len(rows)), layout="constrained", sharey=True
    )
    places = range(len(rows))
    labels = [_label(row) for row in rows]
    for axes, (metric, title) in zip(panels, _TITLES.items(), strict=True):
        for place, row in zip(places, rows, strict=True):
            published = getattr(row.published, metric)
            if published is not None:
                axes.plot(
                    published, place, "o", mfc="none", mec=_PUBLISHED, ms=10, mew=1.8,
                    label="published",
                )  # fmt: skip
            found = row.figures.get(metric)
            if found is None or found["value"] is None:
                continue
            if found["low"] is not None:
                axes.plot([found["low"], found["high"]], [place] * 2, color=_MEASURED)
            axes.plot(found["value"], place, "o", color=_MEASURED, ms=6, label="measured")
        axes.set(title=title)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(places, labels)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    shown = [axes.get_legend_handles_labels() for axes in panels]
    once = {label: handle for handles, names in shown
            for handle, label in zip(handles, names, strict=True)}  # fmt: skip
    pages.legend(once.values(), once.keys(), loc="outside lower center", ncols=2)
    pages.suptitle(f"{name}: measured and published")
    buffer = io.BytesIO()
    pages.savefig(buffer, format="png", dpi=110)
    pyplot.close(pages)
    return buffer.getvalue()
