"""Samplers against bridges in the plane that are known in closed form.

    python -m experiments.toy_2d --output DIR [--nfe 2,5,10] [--points 8000] [--seed 0]

Writes errors.csv, slopes.csv, bridge.png and errors.png.
"""

import argparse
import csv
import io
import pathlib
from collections.abc import Sequence

from experiments.toy_2d import errors, figures
from experiments.toy_2d.problems import NUM_STEPS, make_problems, make_schedule
from i2sb_jax.cli import startup
from i2sb_jax.files import write_atomically

_NFE = (2, 3, 5, 10, 20, 50, 100, 200)
_CLOUD = 1000  # points of a panel of the picture, at most


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the errors as it goes, and writes tables and pictures.

    Exits with status 2 and one line if an argument is out of its range or the folder no folder.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    output = pathlib.Path(given.output)
    try:
        output.mkdir(parents=True, exist_ok=True)  # before anything is computed
        _run(output, nfes=given.nfe, points=given.points, seed=given.seed)
    except OSError as error:
        parser.error(f"--output={given.output}: {error.strerror or error}")


def _run(output: pathlib.Path, *, nfes: Sequence[int], points: int, seed: int) -> None:
    schedule = make_schedule()
    problems = make_problems(schedule)
    picture = figures.bridge_picture(
        problems, schedule, nfe=min(100, NUM_STEPS - 1), points=min(points, _CLOUD), seed=seed
    )
    write_atomically(output / "bridge.png", picture)
    rows = []
    for problem in problems:
        for row in errors.measure(problem, schedule, nfes=nfes, points=points, seed=seed):
            rows.append(row)
            name = f"{row['problem']} {row['sampler']} {row['spacing']} nfe {row['nfe']}"
            print(f"{name}: error {row['error']:.2e}, floor {row['floor']:.1e}", flush=True)
    write_atomically(output / "errors.csv", _table(rows))
    write_atomically(output / "slopes.csv", _table(errors.fit_slopes(rows)))
    write_atomically(output / "errors.png", figures.errors_picture(rows))


def _table(rows: Sequence[errors.Row]) -> bytes:
    """CSV with a header; numbers to four digits, which are more than are certain."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
    return text.getvalue().encode()


def _parser() -> startup.Parser:
    parser = startup.Parser(prog="toy_2d", description=__doc__.partition("\n")[0])
    parser.add_argument("--output", required=True, help="folder for the tables and pictures")
    parser.add_argument(
        "--nfe", type=_evaluations, default=_NFE, help=f"as in 2,5,10; each 1…{NUM_STEPS - 1}"
    )
    parser.add_argument(
        "--points", type=_at_least(2), default=8000, help="drawn where there is no exact law"
    )
    parser.add_argument("--seed", type=_at_least(0), default=0, help="of all that is drawn")
    return parser


def _evaluations(text: str) -> tuple[int, ...]:
    numbers = tuple(_whole(each) for each in text.split(","))
    for nfe in numbers:
        if not 1 <= nfe < NUM_STEPS:
            raise argparse.ArgumentTypeError(f"{nfe} must lie in 1…{NUM_STEPS - 1}")
    return tuple(sorted(set(numbers)))


def _at_least(lowest: int):
    def number(text: str) -> int:
        found = _whole(text)
        if not lowest <= found < 2**31:
            raise argparse.ArgumentTypeError(f"{found} must lie in {lowest}…{2**31 - 1}")
        return found

    return number


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


if __name__ == "__main__":
    main()
