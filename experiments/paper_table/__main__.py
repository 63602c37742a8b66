"""A table of the paper in one command, given its weights and ImageNet's validation pictures.

python -m experiments.paper_table TABLE --weights DIR --data IMAGENET_VAL --output DIR …

Every row is an evaluation as i2sb-evaluate makes it, in a folder of its own in --output; the same
command goes on where it was stopped. Writes table.csv, table.md and table.png.
"""

import argparse
import os
import sys

from etils import epath

from experiments.paper_table import report
from experiments.paper_table.measure import Row, measure_table, wanted_rows
from experiments.paper_table.published import TABLES
from i2sb_jax.cli import startup
from i2sb_jax.config import check_key, check_seed
from i2sb_jax.data.name_list import read_name_list
from i2sb_jax.evaluation.options import parse_nfes
from i2sb_jax.files import require_apart, require_pictures, write_atomically


def main(arguments: list[str]) -> None:
    """Measures what can be, and writes the table."""
    parser = _parser()
    given, overrides = parser.parse_known_args(arguments)
    for override in overrides:
        if not override.startswith("--config.") or "=" not in override:
            parser.error(f"{override} is not an option")
        check_key(override.removeprefix("--config.").partition("=")[0])
    startup.require("tensorflow", "matplotlib")
    check_seed("--seed", given.seed)
    _check_paths(given)
    startup.prepare_jax()
    wanted = wanted_rows(TABLES[given.table], parse_nfes(given.nfe) if given.nfe else ())
    _tell_plan(wanted, given)
    rows = measure_table(wanted, given, overrides, say=_say)
    _write(epath.Path(given.output) / given.table, rows, given.table)
    if all(row.reason for row in rows):
        raise ValueError(f"no row of {given.table} could be measured; the table says why")


def _check_paths(given: argparse.Namespace) -> None:
    """What every row needs; a row's own weights may be missing."""
    if not epath.Path(given.weights).is_dir():
        raise ValueError(f"--weights {given.weights} is no folder: it holds one of each task")
    require_pictures(given.data)
    require_apart(given.data, given.output, what="--output")
    if given.list:
        read_name_list(given.list)
    for option in ("inception", "resnet50", "reference_stats", "masks"):
        file = getattr(given, option)
        if file and not epath.Path(file).is_file():
            raise ValueError(f"--{option.replace('_', '-')} {file} is not there")


def _tell_plan(wanted, given: argparse.Namespace) -> None:
    """Before hours begin: what they are made of. Seconds are measured before each row."""
    evaluations = sum(nfe for _, nfe in wanted)
    pictures = f"{given.limit:,}" if given.limit else "all"
    _say(
        f"{given.table}: {len(wanted)} rows, {evaluations:,} evaluations of {pictures} pictures; "
        "hours = pictures × evaluations × seconds per evaluation / 3600, told before each row"
    )


def _write(folder: epath.Path, rows: list[Row], name: str) -> None:
    """table.csv, table.md and table.png; other tables of the same output have folders beside."""
    table = report.as_markdown(rows, name=name)
    write_atomically(folder / "table.csv", report.as_csv(rows).encode())
    write_atomically(folder / "table.md", table.encode())
    write_atomically(folder / "table.png", report.figure(rows, name=name))
    print(table)
    print(f"see {folder / 'table.md'}")


def _say(line: str) -> None:
    print(startup.printable(line), file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    path, switch = os.path.expanduser, {"action": "store_true"}
    parser = startup.Parser(
        prog="python -m experiments.paper_table",
        description=__doc__.partition("\n")[0],
        epilog="--config.KEY=VALUE overrides a task's configuration where latest.pt is imported",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("table", choices=tuple(TABLES), help="which")
    told = "folder with one of each task: a model folder, or one with the published latest.pt"
    add("--weights", required=True, type=path, help=told)
    add("--data", required=True, type=path, help="folder of ImageNet's validation pictures")
    add("--output", required=True, type=path, help="folder for results")
    add("--list", type=path, help="file of names, with labels or not: the 10,000 of the paper")
    add("--inception", type=path, help="pt_inception-2015-12-05-6726825d.pth, for FID")
    add("--reference-stats", type=path, help=".npz of mu and sigma, for FID")
    add("--resnet50", type=path, help="resnet50-0676ba61.pth, for classifier accuracy")
    add("--masks", type=path, help="the paper's .npz of freeform masks")
    add("--nfe", help="other evaluations than the published ones, such as 1,10,100")
    add("--limit", type=int, default=0, help="the first so many pictures; 0: all")
    add("--batch", type=int, help="pictures a device computes at once; default: the model's")
    add("--dtype", help="compute in float32 or bfloat16; default: the model's")
    add("--seed", type=int, default=0, help="of all noise and of the intervals (default 0)")
    add("--any-weights", **switch, help="take metric weights that are not the published ones")
    return parser


if __name__ == "__main__":
    startup.run(main)
