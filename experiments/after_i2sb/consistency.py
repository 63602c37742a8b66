"""Measures what `--consistency` adds to shipped models on whole photographs, from files to files.

    python -m experiments.after_i2sb.consistency --output DIR [--write consistency.json]

The four photographs of scikit-image that no model has seen, reduced by Pillow's bicubic kernel for
sr4x, saved as JPEG files for jpeg and blurred by 1.5 pixels for deblur, are restored by
i2sb-restore's defaults with the correction and without. A row has the PSNR of the files written,
and of JPEG the share of a restored picture's whole numbers that are the file's again where it is
saved likewise.
"""

import argparse
import io
import itertools
import json
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from experiments.models.measure import File, degraded, psnr
from experiments.quickstart import held_out
from i2sb_jax import zoo
from i2sb_jax.corruptions.consistency import METHODS
from i2sb_jax.pictures import decode_rgb, encode_png, read_jpeg_waves
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options

QUALITIES = (10, 30, 50, 75, 90)
SAMPLINGS = {"4:4:4": 0, "4:2:0": 2}
BLUR, NOISES = 1.5, (0, 2)  # pixels; levels
_OPERATOR = {"sr4x": "bicubic", "jpeg": None, "deblur": f"gauss-{BLUR}"}
_METHODS = {"sr4x": METHODS, "jpeg": METHODS[:1], "deblur": METHODS}  # of cells both are the same


def degraded_files(
    task: str, name: str, clean: np.ndarray
) -> Iterator[tuple[tuple[float, str], File]]:
    """((level, what else there is to say), file) of one photograph."""
    if task == "sr4x":
        yield (4, ""), degraded(task, name, clean, 4, repaired=False)
    elif task == "deblur":
        for noise in NOISES:
            seen = held_out.blurred(clean, width=BLUR, noise=noise, seed=len(name))
            yield (BLUR, f"noise {noise}"), File(f"{name}_{noise}.png", encode_png(seen))
    else:
        for quality, sampling in itertools.product(QUALITIES, SAMPLINGS):
            yield (quality, sampling), jpeg_file(name, clean, quality, sampling)


def jpeg_file(name: str, clean: np.ndarray, quality: int, sampling: str) -> File:
    """One photograph as a JPEG file."""
    file = io.BytesIO()
    _save(clean, file, quality, sampling)
    return File(f"{name}_{quality}_{SAMPLINGS[sampling]}.jpg", file.getvalue())


def _save(pixels: np.ndarray, file: io.BytesIO, quality: int, sampling: str) -> None:
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=SAMPLINGS[sampling])


def same_numbers(data: bytes, pixels: np.ndarray, quality: int, sampling: str) -> float:
    """The share of a file's whole numbers that pixels have again where they are saved likewise."""
    again = io.BytesIO()
    _save(pixels, again, quality, sampling)
    planes = (read_jpeg_waves(each).components for each in (data, again.getvalue()))
    pairs = zip(*planes, strict=True)
    same = [np.ravel(mine.waves == other.waves) for mine, other in pairs]
    return float(np.concatenate(same).mean())


def measure(task: str, output: pathlib.Path, nfe: int | None) -> Iterator[dict[str, object]]:
    """A row a photograph and level: PSNR in dB without and with each method."""
    files, truths = {}, {}
    for name, clean in held_out.photographs("eval"):
        height, width = (side // 4 * 4 for side in clean.shape[:2])
        truths[name] = clean[:height, :width] if task == "sr4x" else clean
        for (level, kind), file in degraded_files(task, name, truths[name]):
            files[name, level, kind] = file
    seen = output / task / "degraded"
    seen.mkdir(parents=True, exist_ok=True)
    for file in files.values():
        (seen / file.name).write_bytes(file.data)
    for method in ("", *_METHODS[task]):
        operator = _OPERATOR[task] if method else None
        restore_folder(
            zoo.shipped_folder(task), seen, output / task / (method or "plain"),
            Options(nfe=nfe, consistency=method, operator=operator), quiet=True,
        )  # fmt: skip
    for (name, level, kind), file in files.items():
        row = {"task": task, "picture": name, "level": level, "kind": kind}
        for method in ("plain", *_METHODS[task]):
            made = (output / task / method / file.name).with_suffix(".png").read_bytes()
            pixels = decode_rgb(made)
            row[method] = round(psnr(pixels, truths[name]), 4)
            if task == "jpeg":
                same = same_numbers(file.data, pixels, level, kind)
                row[f"same {method}"] = round(same, 5)
        yield row


def report(rows: Sequence[dict[str, object]]) -> str:
    """Markdown: a line a level, the mean and the least gain of four photographs, in dB."""
    lines = ["| | without | projection | least gain | same numbers |", "|---|---|---|---|---|"]
    for key in dict.fromkeys((row["task"], row["level"], row["kind"]) for row in rows):
        mine = [row for row in rows if (row["task"], row["level"], row["kind"]) == key]
        plain, corrected = (
            np.array([row[method] for row in mine]) for method in ("plain", "projection")
        )
        gains = corrected - plain
        shares = [row["same projection"] for row in mine if "same projection" in row]
        shown = f"{100 * min(shares):.1f} %" if shares else ""
        lines.append(
            f"| {' '.join(map(str, key)).strip()} | {plain.mean():.2f} | {gains.mean():+.3f} | "
            f"{gains.min():+.3f} | {shown} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--write", type=pathlib.Path, help="a file for the rows")
    parser.add_argument("--tasks", nargs="+", choices=tuple(_OPERATOR), default=list(_OPERATOR))
    parser.add_argument("--nfe", type=int, help="evaluations; the models' choice if not given")
    given = parser.parse_args(arguments)
    rows = [row for task in given.tasks for row in measure(task, given.output, given.nfe)]
    if given.write is not None:
        given.write.write_text(json.dumps(rows, indent=1) + "\n")
    print(report(rows))


if __name__ == "__main__":
    main()
