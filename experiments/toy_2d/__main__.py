"""Samplers against bridges in the plane that are known in closed form.

    python -m experiments.toy_2d --output DIR [--nfe 2,5,10] [--points 8000] [--seed 0]
    python -m experiments.toy_2d --study methods --output DIR [--seeds 5]

The first writes errors.csv, slopes.csv, bridge.png and errors.png; the second methods.csv,
methods_exact.csv, methods_slopes.csv, methods.png and fidelity.png.
"""

import argparse
import csv
import io
import pathlib
from collections.abc import Sequence

from experiments.toy_2d import errors, figures, methods
from experiments.toy_2d.problems import NUM_STEPS, make_problems, make_schedule
from experiments.toy_2d.restoring import make_methods
from i2sb_jax.cli import startup
from i2sb_jax.files import write_atomically

_NFE = (2, 3, 5, 10, 20, 50, 100, 200)
_METHODS_NFE = (1, 2, 5, 10, 20, 50)
_METHODS_POINTS = 3000
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
        if given.study == "methods":
            nfes, points = given.nfe or _METHODS_NFE, given.points or _METHODS_POINTS
            _compare(output, nfes=nfes, points=points, seeds=given.seeds)
        else:
            nfes, points = given.nfe or _NFE, given.points or 8000
            _run(output, nfes=nfes, points=points, seed=given.seed)
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


def _compare(output: pathlib.Path, *, nfes: Sequence[int], points: int, seeds: int) -> None:
    compared = make_methods()
    exact = list(methods.exact_rows(compared, nfes=sorted({*nfes, *_NFE})))
    write_atomically(output / "methods_exact.csv", _table(exact))
    rows = []
    for row in methods.measure(compared, nfes=nfes, points=points, seeds=seeds):
        rows.append(row)
        if row["seed"] == 0:
            name = " ".join(str(row[key]) for key in ("method", "sampler", "spacing"))
            print(f"{name} nfe {row['nfe']}: joint error {row['joint_error']:.2e}", flush=True)
    means = methods.summary(rows)
    write_atomically(output / "methods.csv", _table(means))
    write_atomically(output / "methods_slopes.csv", _table(methods.slopes(rows, exact)))
    write_atomically(output / "methods.png", figures.methods_picture(means))
    write_atomically(output / "fidelity.png", figures.fidelity_picture(means))


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
        "--study",
        choices=("samplers", "methods"),
        default="samplers",
        help="samplers of a Schrödinger bridge, or all bridges with theirs",
    )
    parser.add_argument("--nfe", type=_evaluations, help=f"as in 2,5,10; each 1…{NUM_STEPS - 1}")
    parser.add_argument("--points", type=_at_least(2), help="drawn where there is no exact law")
    parser.add_argument("--seed", type=_at_least(0), default=0, help="of all that is drawn")
    parser.add_argument("--seeds", type=_at_least(1), default=5, help="how many, of methods")
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
