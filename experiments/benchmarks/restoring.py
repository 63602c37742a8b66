"""Restoring photographs from files: time a pixel beside an older checkout's, and memory.

    git worktree add ../older COMMIT
    python -m experiments.benchmarks.restoring --older ../older [--model KEY=VALUE ...]
        [--megapixels 12 100] [--output DIR]

Both sides restore a picture of 1200×800 with the network of their own quickstart, of random
weights, at one evaluation: this checkout at its default settings, the older one in the tiles named
by --older-tile. Time runs from the compiled program to the written file. Memory is the peak of a
process that has restored a small picture before, beyond what it held then, the decoded picture and
the result; it needs Linux.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from experiments.benchmarks import results, timing

NAME = "restoring"
SIZE = (1200, 800)  # width, height
MEMORY_SIZES = {12: (4000, 3000), 100: (12500, 8000)}  # megapixels -> width, height
_SMALL = (64, 64)
_ROOT = pathlib.Path(__file__).parents[2]
_PROCESS = pathlib.Path(__file__).with_name("restoring_process.py")
_ROWS = 500


class Side:
    """A process that restores with one checkout."""

    def __init__(self, checkout: pathlib.Path, folder: pathlib.Path, changes: Sequence[str]):
        """Starts it; what it makes lies in `folder`."""
        self._folder, self._count = folder, 0
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(_PROCESS), str(folder / "model"), *changes],
            cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def restore(self, source: pathlib.Path, **options: Any) -> dict[str, float]:
        """What the process tells of one picture."""
        self._count += 1
        output = self._folder / str(self._count)
        request = {"source": str(source), "output": str(output), "options": {"nfe": 1} | options}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            raise ValueError(f"restoring {source.name} ended with status {self.process.wait()}")
        for path in output.iterdir():
            path.unlink()
        return json.loads(line)


@contextlib.contextmanager
def _side(checkout: pathlib.Path, changes: Sequence[str] = ()) -> Iterator[Side]:
    with tempfile.TemporaryDirectory() as folder:
        side = Side(checkout, pathlib.Path(folder), changes)
        try:
            yield side
        finally:
            with contextlib.suppress(BrokenPipeError):  # of one that has ended
                side.process.stdin.close()
            side.process.stdout.close()
            side.process.wait()


def measure_speed(
    older: pathlib.Path, *, older_tile: int = 256, changes: Sequence[str] = (), repeats: int = 3
) -> dict[str, Any]:
    """Times both checkouts in turn.

    Args:
        older: the other checkout.
        older_tile: side of its tiles.
        changes: KEY=VALUE, of this checkout's model.
        repeats: rounds.

    Returns:
        Microseconds a pixel of the picture, of the clock and of the processors, and their ratio.
    """
    told: dict[str, list[dict[str, float]]] = {"this": [], "older": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        _side(_ROOT, changes) as this,
        _side(older) as other,
    ):
        source = make_picture(pathlib.Path(folder), SIZE)
        sides = {"this": (this, {}), "older": (other, {"tile": older_tile})}

        def timed(name: str) -> timing.Side:
            side, options = sides[name]

            def run(runs: int) -> float:
                answers = [side.restore(source, **options) for _ in range(runs)]
                told[name] += answers
                return answers[-1]["seconds"]

            return run

        timing.alternate({name: timed(name) for name in sides}, rounds=repeats, warm_up=0)
    found: dict[str, Any] = {"older tile": older_tile}
    for unit in ("seconds", "processor seconds"):
        # the first of two runs a round only warms up
        each = {name: [run[unit] for run in runs[1::2]] for name, runs in told.items()}
        pixels = SIZE[0] * SIZE[1]
        found[unit] = {
            f"{name}, µs a pixel": timing.spread([1e6 * second / pixels for second in seconds])
            for name, seconds in each.items()
        } | {"this over older": timing.ratio(each["this"], each["older"])}
    return found


def measure_memory(megapixels: int, *, changes: Sequence[str] = ()) -> dict[str, float]:
    """MB of a process that restores one large JPEG, at its peak.

    Args:
        megapixels: a key of MEMORY_SIZES.
        changes: KEY=VALUE, of the model.
    """
    width, height = MEMORY_SIZES[megapixels]
    with tempfile.TemporaryDirectory() as folder, _side(_ROOT, changes) as side:
        small = make_picture(pathlib.Path(folder), _SMALL)
        large = make_picture(pathlib.Path(folder), (width, height))
        before, after = side.restore(small), side.restore(large)
    picture = 3 * width * height
    held = before["resident bytes"] + 2 * picture
    return {
        "start-up, MB": before["resident bytes"] / 1e6,
        "decoded picture, MB": picture / 1e6,
        "result, MB": picture / 1e6,
        "peak, MB": after["peak resident bytes"] / 1e6,
        "beyond these, MB": (after["peak resident bytes"] - held) / 1e6,
        "seconds": after["seconds"],
        "processor seconds": after["processor seconds"],
    }


def make_picture(folder: pathlib.Path, size: tuple[int, int]) -> pathlib.Path:
    """A JPEG of waves and a little noise, width × height."""
    width, height = size
    rng, columns = np.random.default_rng(0), np.arange(width) / 40
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        rows = np.arange(top, min(top + _ROWS, height))[:, None] / 40
        waves = [np.sin(rows * a + columns * b) for a, b in ((0.4, 1.1), (0.9, 0.5), (1.3, 0.8))]
        noise = rng.normal(0, 3, (*waves[0].shape, 3)).astype(np.float32)
        picture[top : top + _ROWS] = np.clip(np.stack(waves, axis=-1) * 90 + 128 + noise, 0, 255)
    path = folder / f"{width}x{height}.jpg"
    Image.fromarray(picture).save(path, quality=90)
    return path


def main() -> None:
    """Measures, prints and writes."""
    parser = results.make_parser(__doc__)
    parser.add_argument(
        "--older", type=pathlib.Path, help="another checkout; without: memory alone"
    )
    parser.add_argument("--older-tile", type=results.positive, default=256, help="its tiles")
    parser.add_argument(
        "--model", nargs="*", default=[], metavar="KEY=VALUE", help="of this checkout's network"
    )
    parser.add_argument(
        "--megapixels", nargs="*", type=int, choices=MEMORY_SIZES, default=list(MEMORY_SIZES)
    )
    given = parser.parse_args()
    found: dict[str, Any] = {"model": given.model}
    if given.older is not None:
        found["speed"] = measure_speed(
            given.older.resolve(), older_tile=given.older_tile, changes=given.model,
            repeats=given.repeats,
        )  # fmt: skip
    for megapixels in given.megapixels or []:
        found[f"memory, {megapixels} megapixels"] = measure_memory(megapixels, changes=given.model)
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
