"""A photograph of a phone's size through each model: what is told in advance, and what comes.

    python -m experiments.models.large PHOTOGRAPH --output DIR [--tasks jpeg sr4x]

The photograph is degraded whole, and restored by `i2sb-restore` in a process of its own, on a
machine that should have nothing else to do. Told are the time, of all from the compiled program on,
and the memory; they stand beside the time from then to the end of the process and its peak resident
memory. DIR gets the file, the result, and of both the middle at 100 %, to be looked at; the table
has how far the mean of each channel lies from the photograph's, levels.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from experiments.models.measure import LEVELS, degraded
from i2sb_jax.pictures import decode_rgb, write_png

_LEVEL = {"jpeg": 50, "deblur": 1.5, "denoise": 25, "sr4x": 4}
_CUT = 600  # pixels of a side of what is shown at 100 %


class Told(NamedTuple):
    """What a job said, or took.

    Attributes:
        seconds: from the compiled program to the end.
        gigabytes: at the peak.
    """

    seconds: float
    gigabytes: float


def told_in(line: str) -> dict[str, float]:
    """Returns what a line of `i2sb-restore` tells in advance, by the fields of `Told`."""
    if found := re.search(r"about ([\d.]+) GB of memory", line):
        return {"gigabytes": float(found[1])}
    if found := re.search(r"an evaluation: about (?:(\d+):(\d+):(\d+)|([\d.]+) s)", line):
        if found[4]:
            return {"seconds": float(found[4])}
        hours, minutes, seconds = map(int, found.groups()[:3])
        return {"seconds": 3600.0 * hours + 60 * minutes + seconds}
    return {}


def restore(task: str, source: pathlib.Path, result: pathlib.Path) -> tuple[Told, Told]:
    """What is told of restoring a file, and what it takes."""
    command = [sys.executable, "-m", "i2sb_jax.cli.restore", "--model", task, "--overwrite"]
    command += ["--input", str(source), "--output", str(result)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    peaks: list[float] = []
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks))
    watcher.start()
    told, compiled = {}, time.monotonic()
    for line in process.stderr:
        print(line, end="", file=sys.stderr, flush=True)
        said = told_in(line)
        if "gigabytes" in said:  # the last that is said before the first call
            compiled = time.monotonic()
        told |= said
    status, took = process.wait(), time.monotonic() - compiled
    watcher.join()
    if status or len(told) < 2:
        raise ValueError(f"{task}: status {status}, told {told}")
    return Told(**told), Told(took, max(peaks))


def _watch(pid: int, peaks: list[float]) -> None:
    """Collects the peak of a process, in gigabytes, until it ends.

    What `wait4` tells would begin with the peak of this process, which degraded the photograph.
    """
    status = pathlib.Path(f"/proc/{pid}/status")
    while status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        peaks.append(int(found[1]) * 1024 / 1e9)
        time.sleep(0.05)


def measure(task: str, clean: np.ndarray, output: pathlib.Path) -> str:
    """A line of the table."""
    name = f"{task}_{_LEVEL[task]:g}"
    file = degraded(task, "large", clean, _LEVEL[task], repaired=False)
    source, result = output / f"{name}_file{pathlib.Path(file.name).suffix}", output / f"{name}.png"
    source.write_bytes(file.data)
    told, took = restore(task, source, result)
    made = decode_rgb(result.read_bytes())
    seen = decode_rgb(file.data)
    if seen.shape != made.shape:
        seen = np.asarray(Image.fromarray(seen).resize(made.shape[1::-1], Image.Resampling.BICUBIC))
    top, left = (max(0, side - _CUT) // 2 for side in made.shape[:2])
    cut = slice(top, top + _CUT), slice(left, left + _CUT)
    write_png(output / f"{name}_cut.png", np.concatenate([seen[cut], made[cut]], axis=1))
    shift = [np.mean(each, axis=(0, 1), dtype=np.float64) for each in (made, clean)]
    cells = [
        f"{task} {_LEVEL[task]:g}", f"{made.shape[1]}×{made.shape[0]}",
        f"{told.seconds:.0f}", f"{took.seconds:.0f}", f"{told.seconds / took.seconds:.2f}",
        f"{told.gigabytes:.2f}", f"{took.gigabytes:.2f}",
        f"{told.gigabytes / took.gigabytes:.2f}", f"{np.abs(shift[0] - shift[1]).max():.2f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photograph", type=pathlib.Path, help="of 12 megapixels or so")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder")
    parser.add_argument("--tasks", nargs="+", choices=LEVELS, default=list(LEVELS))
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True, exist_ok=True)
    clean = decode_rgb(given.photograph.read_bytes())
    height, width = (side // 4 * 4 for side in clean.shape[:2])
    print("| task | result | told, s | took | of it | told, GB | took | of it | shift |")
    print("|---" * 9 + "|", flush=True)
    for task in given.tasks:
        print(measure(task, clean[:height, :width], given.output), flush=True)


if __name__ == "__main__":
    main()
