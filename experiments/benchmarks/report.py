"""Results as tables and a picture.

    python -m experiments.benchmarks.report FOLDER

Reads every .json of the folder and writes table.md and, where matplotlib is installed, plot.png.
"""

import argparse
import importlib.util
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from i2sb_jax.files import write_atomically

TABLE, PLOT = "table.md", "plot.png"
_RANGES = (("lower quartile", "upper quartile"), ("lowest", "highest"))


def text(title: str, found: Any, *, level: int = 2) -> str:
    """Results as markdown: lists of rows become tables, what is nested becomes sections.

    Args:
        title: of the section.
        found: dicts, lists, numbers and strings, as JSON holds them. A dict with "median" and a
            range is one number with its spread.
        level: of the heading.
    """
    plain, nested = [], []
    for key, value in found.items():
        (plain if _is_cell(value) else nested).append((key, value))
    parts = [f"{'#' * level} {title}"]
    if plain:
        parts.append("\n".join(f"- {key}: {_cell(value)}" for key, value in plain))
    for key, value in nested:
        if isinstance(value, Mapping):
            parts.append(text(key, value, level=level + 1))
        elif all(isinstance(row, Mapping) for row in value):
            parts.append(f"{'#' * (level + 1)} {key}\n\n{_table(value)}")
        else:
            lines = "\n".join(f"- {_cell(each)}" for each in value)
            parts.append(f"{'#' * (level + 1)} {key}\n\n{lines}")
    return "\n\n".join(parts)


def collect(folder: pathlib.Path) -> str:
    """Writes the tables and the picture of all results in a folder; what was done, in lines.

    Raises:
        ValueError: there are none.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ValueError(f"{folder} holds no .json of a benchmark")
    found = {file.stem: json.loads(file.read_text()) for file in files}
    tables = "\n\n".join(text(name, each) for name, each in found.items())
    write_atomically(folder / TABLE, f"# Results\n\n{tables}\n".encode())
    told = f"wrote {folder / TABLE}"
    if importlib.util.find_spec("matplotlib") is None:
        return f"{told}\nno {PLOT}: matplotlib is not installed"
    picture = plot(found)
    if picture is None:
        return f"{told}\nno {PLOT}: neither network.json nor sampler.json is there"
    write_atomically(folder / PLOT, picture)
    return f"{told}\nwrote {folder / PLOT}"


def plot(found: Mapping[str, Any]) -> bytes | None:
    """A PNG of the networks' speed and of the sampler's line; None if there is nothing to draw."""
    from matplotlib.figure import Figure

    network, sampler = found.get("network"), found.get("sampler")
    works = [work for work in ("forward", "train") if network and work in network]
    if not works and not sampler:
        return None
    figure = Figure(figsize=(4 * (len(works) + bool(sampler)), 3.2), layout="constrained")
    panels = figure.subplots(1, len(works) + bool(sampler), squeeze=False)[0]
    for panel, work in zip(panels, works, strict=False):
        rows = [row for row in network[work] if "pictures a second" in row]
        panel.bar([row["side"] for row in rows], [row["pictures a second"] for row in rows])
        panel.set(title=f"{work}, {network['size']}", ylabel="pictures a second")
        panel.tick_params("x", rotation=20)
    if sampler:
        _plot_sampler(panels[-1], sampler)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()


def _plot_sampler(panel: Any, sampler: Mapping[str, Any]) -> None:
    nfe = [row["nfe"] for row in sampler["rows"]]
    panel.plot(nfe, [row["seconds"]["median"] for row in sampler["rows"]], "o", label="measured")
    a, b = sampler["line"]["a"], sampler["line"]["b"]
    panel.plot(nfe, [a + b * n for n in nfe], label=f"{a:.2g} s + {b:.2g} s · NFE")
    panel.set(title=f"sampler, {sampler['size']}", xlabel="NFE", ylabel="seconds a batch")
    panel.legend()


def _is_cell(value: Any) -> bool:
    return not isinstance(value, list | tuple | Mapping) or _is_spread(value)


def _is_spread(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and "median" in value
        and set(value) in [{"median", *ends} for ends in _RANGES]
    )


def _cell(value: Any) -> str:
    if _is_spread(value):
        ends = next(ends for ends in _RANGES if set(ends) <= set(value))
        return f"{_cell(value['median'])} ({_cell(value[ends[0]])} … {_cell(value[ends[1]])})"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_cell(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value).replace("|", "\\|")


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A column for each key of any row; a row may lack some, as one does that failed."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[_cell(row[key]) if key in row else "" for key in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Collects a folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=pathlib.Path, help="where the benchmarks wrote")
    given = parser.parse_args()
    try:
        print(collect(given.folder))
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()
