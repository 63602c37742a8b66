"""All benchmarks, one after another, and their tables and picture.

    python -m experiments.benchmarks [--only NAME ...] [--size cpu] [--repeats N]
        [--torch-reference DIR] [--output DIR]

Each is a process of its own, as if it had been started by hand.
"""

import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from experiments.benchmarks import report, results

_ROOT = pathlib.Path(__file__).parents[2]
# name -> which of the options it takes; all write their results into --output
BENCHMARKS = {
    "costs": (),
    "layers": ("size", "repeats"),
    "network": ("size", "repeats", "torch_reference"),
    "sampler": ("size", "repeats"),
    "startup": ("size", "repeats"),
    "input_pipeline": (),
    "checkpoint": (),
    "evaluation": (),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the chosen ones; exits with status 1 if one failed, after all have run."""
    parser = results.make_parser(__doc__)
    results.add_size(parser)
    results.add_torch_reference(parser)
    parser.add_argument(
        "--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME",
        help=f"of {', '.join(BENCHMARKS)}",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        output = given.output or pathlib.Path(folder)
        output.mkdir(parents=True, exist_ok=True)
        failed = []
        for name in given.only:
            options = {option: getattr(given, option) for option in BENCHMARKS[name]}
            flags = [
                f"--{option.replace('_', '-')}={value}"
                for option, value in options.items()
                if value is not None
            ]
            command = [sys.executable, "-m", f"experiments.benchmarks.{name}"]
            done = subprocess.run([*command, f"--output={output.resolve()}", *flags], cwd=_ROOT)
            if done.returncode:
                failed.append(name)
        if len(failed) < len(given.only):
            print(report.collect(output))
    if failed:
        parser.exit(1, f"error: failed: {', '.join(failed)}\n")


if __name__ == "__main__":
    main()
