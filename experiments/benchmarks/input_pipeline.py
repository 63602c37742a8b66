"""Pictures a second that one core decodes, cuts and corrupts, for each task of the paper.

python -m experiments.benchmarks.input_pipeline [--output DIR] [--tasks NAME …] [--pictures N]

JPEGs of 500×375 at quality 90 become batches of 32 at 256² by `train_batches`, with nothing cached.
The process keeps to one core before TensorFlow counts them. Every run is measured in turns with
decoding and cropping alone, so that noise hits both, and the median of the repeats is taken.
Rates by the processor's own time leave out what other programs took of the core.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from etils import epath
from PIL import Image

from i2sb_jax import data
from i2sb_jax.cli import config_file
from i2sb_jax.cli.tasks import base_file
from i2sb_jax.corruptions import make_corruption
from i2sb_jax.corruptions.names import MIXTURE_NAMES
from i2sb_jax.data.synthetic import random_picture
from i2sb_jax.files import write_atomically

ALONE = "decode + crop"
TASKS = (*MIXTURE_NAMES, "mixture", "colorize", "jpeg-file")
_HEIGHT, _WIDTH, _SIZE, _BATCH = 375, 500, 256, 32


class Rates(NamedTuple):
    """Pictures a second of one run.

    Attributes:
        wall: by the clock.
        processor: by the time that the process had the processor, all cores added.
    """

    wall: float
    processor: float


def main(given: argparse.Namespace) -> dict:
    """Measures, prints a table, writes it, and returns it."""
    cores = sorted(os.sched_getaffinity(0))[: given.cores]
    os.sched_setaffinity(0, cores)
    with tempfile.TemporaryDirectory() as folder:
        jpegs = _source("JPEG", folder, given.pictures)
        runs = {task: (jpegs, task) for task in given.tasks}
        for kind in given.sources:
            runs[f"{ALONE}, {kind}"] = (_source(kind, folder, given.pictures), None)
        paths = list(epath.Path(folder).glob("JPEG/*"))
        table = {
            "cores": len(cores),
            "kilobytes a JPEG": round(sum(path.stat().length for path in paths) / len(paths) / 1e3),
            "pictures a run": given.batches * _BATCH,
            "runs": _rows(jpegs, runs, given),
        }
    if given.output:
        text = json.dumps(table, indent=2, ensure_ascii=False)
        write_atomically(epath.Path(given.output) / "input_pipeline.json", f"{text}\n".encode())
    return table


def _rows(jpegs: data.Source, runs: dict, given: argparse.Namespace) -> dict[str, dict]:
    """Every run beside decoding and cropping the JPEGs alone."""
    _measure(jpegs, None, given.batches)  # TensorFlow starts
    rows, baseline = {}, []
    for name, run in runs.items():
        pairs = [
            (_measure(jpegs, None, given.batches), _measure(*run, given.batches))
            for _ in range(given.repeats)
        ]
        baseline += [alone for alone, _ in pairs]
        costs = [alone.processor / task.processor for alone, task in pairs]
        rows[name] = _row([task for _, task in pairs]) | {"cost": statistics.median(costs)}
        _tell(name, rows[name])
    rows = {ALONE: _row(baseline) | {"cost": 1.0}} | rows
    _tell(ALONE, rows[ALONE])
    return rows


def _measure(source: data.Source, task: str | None, batches: int) -> Rates:
    """Of a stream in its stride."""
    # TensorFlow counts the cores
    from i2sb_jax.data.pipeline import Examples, Reading, Share, train_batches, undegraded

    corruption = make_corruption(task, image_size=_SIZE) if task else undegraded
    arguments = [f"--config={base_file()}", "--config.data.source=synthetic"]
    config, _ = config_file.parse(arguments, program="benchmark", needs_workdir=False)
    examples = Examples(corruption, config.data, _SIZE)
    stream = train_batches(source, examples, Share(_BATCH), seed=0, reading=Reading(cache_bytes=0))
    for _ in range(2):  # the graph is traced, and its threads are busy
        next(stream)
    clocks: Sequence[Callable[[], float]] = (time.perf_counter, time.process_time)
    starts = [clock() for clock in clocks]
    for _ in range(batches):
        next(stream)
    return Rates(
        *(batches * _BATCH / (clock() - start) for clock, start in zip(clocks, starts, strict=True))
    )


def _row(rates: list[Rates]) -> dict[str, float]:
    wall = [each.wall for each in rates]
    return {
        "pictures a second": statistics.median(wall),
        "lowest": min(wall),
        "highest": max(wall),
        "by processor time": statistics.median(each.processor for each in rates),
    }


def _tell(name: str, row: dict[str, float]) -> None:
    print(
        f"{name:26} {row['pictures a second']:7.1f}/s, {row['lowest']:.1f} … {row['highest']:.1f}; "
        f"{row['by processor time']:.1f} by processor time, cost {row['cost']:.2f}",
        flush=True,
    )


def _source(kind: str, folder: str, count: int) -> data.Source:
    """Pictures with the spectrum of photographs, synthetic ones or in files of one kind."""
    if kind == "synthetic":
        return data.open_source("synthetic")
    path = epath.Path(folder) / kind
    path.mkdir()
    for number in range(count):
        picture = Image.fromarray(random_picture(number, height=_HEIGHT, width=_WIDTH))
        quality = {"quality": 90} if kind == "JPEG" else {}
        picture.save(path / f"{number:04d}.{kind.lower()}", kind, **quality)
    return data.open_source("folder", path=path)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", help="folder for input_pipeline.json")
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--sources", nargs="*", default=("PNG", "BMP", "synthetic"))
    parser.add_argument("--pictures", type=int, default=64, help="files of each kind")
    parser.add_argument("--batches", type=int, default=10, help="in a run")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    return parser


if __name__ == "__main__":
    main(parser().parse_args())
