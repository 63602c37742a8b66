"""From the start of Python to the first result: imports, tracing, compiling; cold and warm.

    python -m experiments.benchmarks.startup [--size cpu] [--command-line] [--output DIR]

Every start is a process of its own. The first begins with an empty compilation cache, the second
with what the first left there. The start of a training by `i2sb-train` ends at its first line of
metrics; it needs TensorFlow, and is left out where there is none.
"""

import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from experiments.benchmarks import results

NAME = "startup"
WORKS = ("forward", "train")
_ROOT = pathlib.Path(__file__).parents[2]
_LONGEST = 900  # seconds that a command may take to its first step
_POLL = 0.05
# every program is kept: small ones too are compiled at a start
_KEEP_ALL = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def measure(*, size: str = "cpu", repeats: int = 3, command_line: bool = False) -> dict[str, Any]:
    """Times cold and warm starts.

    Args:
        size: one of `networks.SIZES`.
        repeats: pairs of a cold and a warm start.
        command_line: whether to start the small ADM's training by its command as well.

    Returns:
        Medians by work ("forward", "train", and "i2sb-train" with `command_line`), cold and warm,
        and the warm over the cold compile time.
    """
    found: dict[str, Any] = {"size": size, "repeats": repeats}
    for work in WORKS:
        found[work] = _pairs(lambda folder, work=work: _start(work, size, folder), repeats)
    if not command_line:
        found["i2sb-train"] = "not asked for"
    elif importlib.util.find_spec("tensorflow") is None:
        found["i2sb-train"] = "left out: TensorFlow is not installed"
    else:
        found["i2sb-train"] = _pairs(_start_command, repeats)
    return found


def _pairs(start, repeats: int) -> dict[str, Any]:
    """Medians of cold and warm starts; `start` is given the folder of the cache."""
    runs: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            for kind in runs:
                runs[kind].append(start(folder))
    medians: dict[str, Any] = {kind: _medians(each) for kind, each in runs.items()}
    over = {
        name: medians["warm"][name] / medians["cold"][name]
        for name in ("compile", "total")
        if name in medians["cold"]
    }
    return medians | {"warm over cold": over}


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _start(work: str, size: str, folder: str) -> dict[str, float]:
    """Seconds of the parts of one start, told by the process itself, and of all of it."""
    begin = time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-m", "experiments.benchmarks.startup_process", work, size],
        cwd=_ROOT, env=_environment(folder), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    whole = time.perf_counter() - begin
    return json.loads(process.stdout) | {"total": whole}


def _start_command(folder: str) -> dict[str, float]:
    """Seconds until the small ADM's training has written its first step."""
    with tempfile.TemporaryDirectory() as workdir:
        lines = pathlib.Path(workdir) / "run" / "metrics.jsonl"
        command = [
            sys.executable, "-m", "i2sb_jax.cli.train", "--config", "configs/small_adm.py",
            "--workdir", str(lines.parent), "--config.training.log_every=1",
        ]  # fmt: skip
        begin = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=_ROOT, env=_environment(folder), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not (lines.exists() and lines.stat().st_size):
                if process.poll() is not None:
                    raise ValueError(f"i2sb-train ended with status {process.returncode}")
                if time.perf_counter() - begin > _LONGEST:
                    raise ValueError(f"i2sb-train made no step in {_LONGEST} s")
                time.sleep(_POLL)
            return {"total": time.perf_counter() - begin}
        finally:
            process.kill()
            process.wait()


def _environment(folder: str) -> Mapping[str, str]:
    return os.environ | _KEEP_ALL | {"JAX_COMPILATION_CACHE_DIR": folder}


def main() -> None:
    """Measures, prints and writes."""
    parser = results.make_parser(__doc__)
    results.add_size(parser)
    parser.add_argument("--command-line", action="store_true", help="start i2sb-train as well")
    given = parser.parse_args()
    found = measure(size=given.size, repeats=given.repeats, command_line=given.command_line)
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
