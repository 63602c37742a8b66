"""What each model gains on whole photographs from files, beside the classical repair.

    python -m experiments.models.measure --output DIR [--models DIR] [--tasks jpeg …]

DIR of the models holds a folder a task; without it the shipped ones are measured. The photographs
are those that no model has seen; with `--split validation` the ones on which something may be
chosen. Classical repairs are the best that were found, tuned on other photographs: of JPEG files
and noise told the level, of blurs told the width, of reductions Pillow's bicubic enlargement.
"""

import argparse
import functools
import io
import json
import pathlib
import time
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from experiments.quickstart import held_out
from i2sb_jax import metrics, zoo
from i2sb_jax.corruptions.classical import enlarge
from i2sb_jax.corruptions.classical_settings import best_repair
from i2sb_jax.pictures import decode_rgb, encode_png, from_uint8, to_pixels
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options

LEVELS = {
    "jpeg": (10, 20, 30, 50, 75, 90),
    "deblur": (1.0, 1.5, 2.0),
    "denoise": (5, 15, 25, 50),
    "sr4x": (4,),
}
_NOISE = 2.0  # levels, of blurred pictures


class File(NamedTuple):
    """A degraded photograph: its name, its bytes, and what a classical repair makes of it."""

    name: str
    data: bytes
    classical: np.ndarray | None = None


def degraded(
    task: str, name: str, clean: np.ndarray, level: float, *, repaired: bool = True
) -> File:
    """One photograph at one level, as a file; uint8 [h, w, 3] in.

    Args:
        task: of `LEVELS`.
        name: of the photograph, which decides the noise.
        clean: the photograph.
        level: of the task.
        repaired: whether the classical repair is made, too.
    """
    seed = zlib.crc32(f"{name}_{level:g}".encode())
    stem = f"{name}_{level:g}"
    match task:
        case "jpeg":
            file = io.BytesIO()
            Image.fromarray(clean).save(file, "JPEG", quality=int(level), subsampling="4:2:0")
            seen = decode_rgb(file.getvalue())
            repair = best_repair("jpeg-file-5-95", quality=int(level)).repair
            data, suffix = file.getvalue(), "jpg"
        case "deblur":
            seen = held_out.blurred(clean, width=level, noise=_NOISE, seed=seed)
            repair = best_repair("blur-photo-0-2.5", sigma=level, noise=_NOISE).repair
        case "denoise":
            seen = held_out.blurred(clean, width=0, noise=level, seed=seed)
            repair = best_repair("noise-0-60", noise=level).repair
        case "sr4x":
            size = (clean.shape[1] // 4, clean.shape[0] // 4)
            seen = np.asarray(Image.fromarray(clean).resize(size, Image.Resampling.BICUBIC))
            repair = functools.partial(enlarge, factor=4, kernel="bicubic")
    if task != "jpeg":
        data, suffix = encode_png(seen), "png"
    return File(f"{stem}.{suffix}", data, pixels_of(repair(from_uint8(seen))) if repaired else None)


def pixels_of(picture: np.ndarray) -> np.ndarray:
    """Returns a float picture in [-1, 1] as the uint8 pixels of a file."""
    return to_pixels(picture, np.dtype(np.uint8))


def psnr(seen: np.ndarray, truth: np.ndarray) -> float:
    """In dB, of uint8 pictures."""
    pair = (from_uint8(picture)[None] for picture in (seen, truth))
    return float(metrics.psnr(*pair)[0])


def measure(
    task: str, model: pathlib.Path, split: str, output: pathlib.Path, nfe: int | None
) -> Iterator[dict[str, float | str]]:
    """A row a photograph and level, and one of each photograph as it was."""
    multiple = 4 if task == "sr4x" else 1
    truths = {}
    for name, clean in held_out.photographs(split):
        height, width = (side // multiple * multiple for side in clean.shape[:2])
        truths[name] = clean[:height, :width]
    files = [
        (name, level, degraded(task, name, truths[name], level))
        for name in truths
        for level in LEVELS[task]
    ]
    if task != "sr4x":
        files += [
            (name, 0, File(f"{name}_itself.png", encode_png(clean)))
            for name, clean in truths.items()
        ]
    for _, _, file in files:
        (output / "degraded").mkdir(parents=True, exist_ok=True)
        (output / "degraded" / file.name).write_bytes(file.data)
    start = time.monotonic()
    restore_folder(
        model, output / "degraded", output / "restored", Options(nfe=nfe, overwrite=True),
        quiet=True,
    )  # fmt: skip
    pixels = sum(truths[name].shape[0] * truths[name].shape[1] for name, _, _ in files)
    print(f"{task}: {(time.monotonic() - start) / pixels * 1e6:.2f} s a megapixel", flush=True)
    for name, level, file in files:
        made = (output / "restored" / file.name).with_suffix(".png").read_bytes()
        row = {"task": task, "picture": name, "level": level}
        row["restored"] = psnr(decode_rgb(made), truths[name])
        if level:
            row["classical"] = psnr(file.classical, truths[name])
            seen = decode_rgb(file.data)
            if seen.shape == truths[name].shape:
                row["file"] = psnr(seen, truths[name])
            else:
                row["file"] = row["classical"]
        yield row


def report(rows: Sequence[dict[str, float | str]]) -> str:
    """Markdown: a line a level, gains over the file in dB."""
    lines = ["| task | level | file, dB | classical | restored | least |", "|---" * 6 + "|"]
    for task in dict.fromkeys(row["task"] for row in rows):
        for level in dict.fromkeys(row["level"] for row in rows if row["task"] == task):
            those = [row for row in rows if row["task"] == task and row["level"] == level]
            if not level:
                least = min(row["restored"] for row in those)
                lines.append(f"| {task} | itself | | | {least:.1f} dB at least | |")
                continue
            file = np.mean([row["file"] for row in those])
            classical, restored = (
                [row[side] - row["file"] for row in those] for side in ("classical", "restored")
            )
            lines.append(
                f"| {task} | {level:g} | {file:.2f} | {np.mean(classical):+.2f} |"
                f" {np.mean(restored):+.2f} | {min(restored):+.2f} |"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints the table; rows go to OUTPUT/rows.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--tasks", nargs="+", choices=zoo.MODELS, default=list(zoo.MODELS))
    parser.add_argument("--split", choices=held_out.SPLITS, default="eval")
    parser.add_argument("--nfe", type=int)
    given = parser.parse_args(arguments)
    rows = []
    for task in given.tasks:
        model = zoo.shipped_folder(task) if given.models is None else given.models / task
        rows += measure(task, model, given.split, given.output / task, given.nfe)
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "rows.json").write_text(json.dumps(rows, indent=1))
    print(report(rows))


if __name__ == "__main__":
    main()
