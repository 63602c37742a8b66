"""Pictures a second of the whole input pipeline, beside an older checkout's.

    git worktree add ../older COMMIT
    python -m experiments.benchmarks.reading --older ../older [--repeats N] [--output DIR]

Both sides read the same folders of JPEGs and PNGs, 500×375 at quality 90, in turns and on the same
core: the files are listed, decoded, cut to 256² in batches of 32 as `i2sb-train` does, scaled or at
native resolution, with nothing cached and no corruption. That both give the same pixels is looked
at as well. Then windows of 64² from JPEGs of 12 megapixels: the older checkout's from the files,
this one's from tiles that `i2sb-prepare --tiles` cut of them.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from PIL import Image

from experiments.benchmarks import results, timing
from i2sb_jax.data.synthetic import random_picture

NAME = "reading"
KINDS = {"JPEG": {"quality": 90}, "PNG": {}}
CROPS = ("resize", "window")
_SIZE = 256  # pixels, of a window
_SMALL, _LARGE = (375, 500), (3000, 4000)
_ROOT = pathlib.Path(__file__).parents[2]
_PROCESS = pathlib.Path(__file__).with_name("reading_process.py")


@contextlib.contextmanager
def _side(checkout: pathlib.Path) -> Iterator[subprocess.Popen]:
    """A process that reads with one checkout."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(_PROCESS)],
        cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(BrokenPipeError):  # of one that has ended
            process.stdin.close()
        process.stdout.close()
        process.wait()


def measure(
    older: pathlib.Path, *, pictures: int = 64, batches: int = 10, repeats: int = 5
) -> dict[str, Any]:
    """Reads with both checkouts in turn.

    Args:
        older: the other checkout.
        pictures: files of each kind.
        batches: that are timed in a run.
        repeats: rounds.

    Returns:
        Kind and crop -> pictures a second of both, and this one's over the older one's, by the
        clock and by the processor; and whether their pixels are the same.

    Raises:
        ValueError: `older` is no checkout, or one cannot read.
    """
    if not (older / "i2sb_jax").is_dir():  # an installed package would stand in for it
        raise ValueError(f"{older} holds no i2sb_jax: name another checkout")
    found: dict[str, Any] = {"pictures a run": None}
    with tempfile.TemporaryDirectory() as folder, _side(_ROOT) as this, _side(older) as other:
        for kind, options in KINDS.items():
            make_pictures(pathlib.Path(folder, kind), kind, pictures, **options)
        for kind in KINDS:
            for crop in CROPS:
                request = {"folder": f"{folder}/{kind}", "crop": crop, "batches": batches}
                request |= {"size": _SIZE, "source": "folder"}
                told = _alternate({"this": this, "older": other}, request, repeats)
                found[f"{kind}, {crop}"] = _rates(told)
                found["pictures a run"] = told["this"][0]["pictures"]
        found["12 megapixels, windows of 64²"] = _from_tiles(this, other, folder, repeats)
    return found


def _from_tiles(
    this: subprocess.Popen, older: subprocess.Popen, folder: str, repeats: int
) -> dict[str, Any]:
    """Small windows of large photographs, from tiles and from the files."""
    photographs, tiles = pathlib.Path(folder, "large"), pathlib.Path(folder, "tiles")
    make_pictures(photographs, "JPEG", 2, size=_LARGE, **KINDS["JPEG"])
    prepare = ("-m", "i2sb_jax.cli.prepare", f"--path={photographs}", f"--output={tiles}")
    subprocess.run(
        [sys.executable, *prepare, "--tiles=512"], cwd=_ROOT, check=True, stdout=sys.stderr
    )
    request = {"crop": "window", "batches": 2, "size": 64}
    requests = {
        "this": request | {"folder": str(tiles), "source": "records"},
        "older": request | {"folder": str(photographs), "source": "folder"},
    }
    found = _rates(_alternate({"this": this, "older": older}, requests, repeats))
    del found["same pixels"]  # they are others
    return found


def _alternate(
    sides: dict[str, subprocess.Popen], request: dict, repeats: int
) -> dict[str, list[dict]]:
    """Answers to one request, or to one for each side."""
    told: dict[str, list[dict]] = {name: [] for name in sides}

    def timed(name: str) -> timing.Side:
        def run(runs: int) -> float:
            for _ in range(runs):
                print(json.dumps(request.get(name, request)), file=sides[name].stdin, flush=True)
                if not (line := sides[name].stdout.readline()):
                    raise ValueError(f"reading ({name}) ended with status {sides[name].wait()}")
                told[name].append(json.loads(line))
            return told[name][-1]["seconds"]

        return run

    timing.alternate({name: timed(name) for name in sides}, rounds=repeats, warm_up=0)
    # the first of two runs a round only warms up
    return {name: runs[1::2] for name, runs in told.items()}


def _rates(told: dict[str, list[dict]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for unit, title in (("seconds", "clock"), ("processor seconds", "processor")):
        each = {name: [run["pictures"] / run[unit] for run in runs] for name, runs in told.items()}
        found[title] = {
            f"{name}, pictures a second": timing.spread(rates) for name, rates in each.items()
        } | {"this over older": timing.ratio(each["this"], each["older"])}
    pixels = {run["pixels"] for runs in told.values() for run in runs}
    return found | {"same pixels": len(pixels) == 1}


def make_pictures(
    folder: pathlib.Path, kind: str, count: int, *, size: tuple[int, int] = _SMALL, **options: Any
) -> None:
    """Files with the spectrum of photographs, of `size` rows and columns."""
    folder.mkdir()
    for number in range(count):
        picture = Image.fromarray(random_picture(number, height=size[0], width=size[1]))
        picture.save(folder / f"{number:04d}.{kind.lower()}", kind, **options)


def main() -> None:
    """Measures, prints and writes."""
    parser = results.make_parser(__doc__)
    parser.add_argument("--older", type=pathlib.Path, required=True, help="another checkout")
    parser.add_argument("--pictures", type=results.positive, default=64, help="files of each kind")
    parser.add_argument("--batches", type=results.positive, default=10, help="timed in a run")
    given = parser.parse_args()
    found = measure(
        given.older.resolve(),
        pictures=given.pictures, batches=given.batches, repeats=given.repeats,
    )  # fmt: skip
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
