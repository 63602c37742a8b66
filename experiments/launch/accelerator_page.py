"""The page of what fits on accelerators for rent: its tables, from the rows that were compiled."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from i2sb_jax.files import write_atomically

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "howto" / "what-fits.md"
_BEGIN, _END = "<!-- made by experiments.launch.accelerator_table -->\n", "<!-- until here -->\n"
_KEYS = ("device", "model", "dtype", "remat", "fsdp")  # of a series

Row = dict[str, Any]


def write(rows: list[Row], missing: Sequence[Any]) -> None:
    """Replaces what is made of rows on the page.

    Args:
        rows: that were compiled.
        missing: (series, pictures or None) of what is not.

    Raises:
        ValueError: the page does not say where it begins and ends.
    """
    write_atomically(PAGE, with_tables(PAGE.read_text(), rows, missing).encode())


def with_tables(page: str, rows: list[Row], missing: Sequence[Any]) -> str:
    """Returns a page with the tables of these rows in place of those it had."""
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has no lines {_BEGIN.strip()} and {_END.strip()}")
    return "".join([before, begin, tables(rows, missing), end, after])


def tables(rows: list[Row], missing: Sequence[Any]) -> str:
    """Returns all that is made of rows, Markdown."""
    unknown_edges = [series for series, pictures in missing if pictures is None]
    parts = [
        _versions(rows),
        "## The largest batch of ADM-256\n",
        _edges(rows, unknown_edges),
        f"## All {len(rows)} rows\n",
        _all(rows),
        "## Not compiled yet\n",
        _not_yet(rows, missing),
    ]
    return "\n" + "\n".join(parts) + "\n"


def _versions(rows: list[Row]) -> str:
    told = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in row["versions"].items()) for row in rows
    )
    return f"Compiled by {'; '.join(sorted(told)) or 'none yet'}.\n"


def _edges(rows: list[Row], unknown: list[Any]) -> str:
    """The largest batch that fits, and the next, of each series that was followed to its edge."""
    head = ("device", "GiB for programs", "devices", "fsdp", "fits", "GiB", "does not fit", "GiB")
    lines = []
    for series in dict.fromkeys(map(_series, rows)):
        mine = sorted((r for r in rows if _series(r) == series), key=lambda r: r["pictures"])
        good = [row for row in mine if row["fits"]]
        bad = [row for row in mine if row["pictures"] > (good[-1]["pictures"] if good else 0)]
        if series[1:4] != ("ADM-256", "bfloat16", "blocks") or series[4] > 8 or series in unknown:
            continue
        first = mine[0]
        cells = [first["device"], _gib(first["room"]), first["devices"], first["fsdp"]]
        cells += [good[-1]["pictures"], _gib(good[-1]["total"])] if good else ["none", ""]
        cells += [bad[0]["pictures"], _gib(bad[0]["total"])] if bad else ["none", ""]
        lines.append(cells)
    return _table(head, lines)


def _all(rows: list[Row]) -> str:
    head = (
        *("device", "network", "type", "remat", "fsdp", "devices", "pictures"),
        *("state and batch", "temporaries", "together", "of the device", "", "TFLOP a picture"),
    )
    order = list(dict.fromkeys(row["device"] for row in rows))

    def place(row: Row) -> tuple[Any, ...]:
        return order.index(row["device"]), *_series(row)[1:], row["pictures"]

    return _table(head, [_cells(row) for row in sorted(rows, key=place)])


def _cells(row: Row) -> list[Any]:
    share = "" if row["total"] is None else f"{row['total'] / row['memory']:.0%}"
    flops = "" if row["flops"] is None else f"{row['flops'] / row['pictures'] / 1e12:.2f}"
    return [
        *(row["device"], row["model"], row["dtype"], row["remat"], row["fsdp"], row["devices"]),
        *(row["pictures"], *(_gib(row[key]) for key in ("arguments", "temporaries", "total"))),
        *(share, "fits" if row["fits"] else "does not fit", flops),
    ]


def _not_yet(rows: list[Row], missing: Sequence[Any]) -> str:
    """What is asked for and missing, by devices, and what is known of edges that are not found."""
    devices: dict[str, list[str]] = {}
    for series, pictures in missing:
        of_device = series[0]
        what = "the largest batch" if pictures is None else f"{pictures} pictures a device"
        known = [(row["pictures"], row["fits"]) for row in rows if _series(row) == series]
        if pictures is None and known:
            told = (f"{n} {'fits' if fits else 'does not fit'}" for n, fits in sorted(known))
            of_device += f" ({', '.join(told)})"
        line = "{}, {}, remat {}, fsdp {}, ".format(*series[1:]) + what
        devices.setdefault(line, []).append(of_device)
    lines = [f"- {line}: {', '.join(each)}" for line, each in devices.items()]
    return "\n".join(lines or ["Nothing: every row that was asked for is there."]) + "\n"


def _series(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in _KEYS)


def _gib(size: int | None) -> str:
    return "" if size is None else f"{size / 2**30:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, cells)) + " |\n" for cells in lines)
