"""What trained runs gain, in dB, on real JPEG files of photographs that they never saw.

    python -m experiments.jpeg_file.table RUN [RUN …] [--sheet SHEET.png]

Each held-out photograph of scikit-image is written as a whole JPEG file by Pillow, read again, and
cut into windows, which start on multiples of the encoder's blocks. Gains are differences
of PSNR, a photograph's PSNR being that of all of its windows together.
"""

import argparse
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from i2sb_jax.data import open_source
from i2sb_jax.metrics import psnr
from i2sb_jax.pictures import decode_rgb, from_uint8, to_uint8, write_png
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.sheet import comparison_sheet

QUALITIES = (5, 10, 20, 30, 50, 70, 90)
SUBSAMPLINGS = ("4:2:0", "4:4:4")
SHOWN = ((5, 74), (10, 134), (30, 174), (70, 124))  # (quality, number of a window) of the sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table as markdown, line by line as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", help="folders of runs")
    parser.add_argument("--size", type=int, default=64, help="side of a window, a multiple of 16")
    parser.add_argument("--nfe", type=int, default=1, help="network evaluations")
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES)
    parser.add_argument("--sheet", help="a PNG of a few windows, at 4:2:0")
    options = parser.parse_args(arguments)
    restorers = {run: Restorer.from_workdir(run) for run in options.runs}
    photographs, size = _held_out(), options.size
    names = [restorer.corruption.name for restorer in restorers.values()]
    header = ["quality", "subsampling", "the file", *names]
    count = sum(len(windows(photograph, size)) for photograph in photographs)
    print(f"{len(photographs)} photographs, {count} windows of {size}², nfe {options.nfe}\n")
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for subsampling in SUBSAMPLINGS:
        for quality in options.qualities:
            before, gains = measure(
                photographs, restorers.values(), quality, subsampling, size=size, nfe=options.nfe
            )
            told = [f"{before:.2f} dB", *(f"{gain:+.2f}" for gain in gains)]
            print(f"| {quality} | {subsampling} | {' | '.join(told)} |", flush=True)
    if options.sheet:
        _write_sheet(options.sheet, photographs, restorers, size=size, nfe=options.nfe)


def measure(
    photographs: Sequence[np.ndarray],
    restorers: Sequence[Restorer],
    quality: int,
    subsampling: str,
    *,
    size: int,
    nfe: int,
) -> tuple[float, list[float]]:
    """The PSNR of the files and what each restorer adds to it; means over the photographs."""
    scores = []
    for photograph in photographs:
        clean = windows(photograph, size)
        file = windows(through_a_file(photograph, quality, subsampling), size)
        restored = [restorer(file, nfe=nfe) for restorer in restorers]
        scores.append([_psnr(x, clean) for x in (file, *restored)])
    before, *after = np.mean(scores, axis=0)
    return before, [x - before for x in after]


def through_a_file(photograph: np.ndarray, quality: int, subsampling: str) -> np.ndarray:
    """Writes uint8 [h, w, 3] as a JPEG and reads it again."""
    file = io.BytesIO()
    Image.fromarray(photograph).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return decode_rgb(file.getvalue())


def windows(photograph: np.ndarray, size: int) -> np.ndarray:
    """All windows side by side: uint8 [h, w, 3] to float32 [count, size, size, 3] in [-1, 1]."""
    rows, columns = (side // size for side in photograph.shape[:2])
    cut = photograph[: rows * size, : columns * size]
    cut = cut.reshape(rows, size, columns, size, 3).swapaxes(1, 2)
    return from_uint8(cut.reshape(-1, size, size, 3))


def _held_out() -> list[np.ndarray]:
    source = open_source("photos", split="eval")
    return [decode_rgb(source.read(i).image) for i in range(len(source))]


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of all windows together: a flat one that a file keeps exactly has no PSNR of its own."""
    together = (1, -1, *a.shape[2:])
    return float(psnr(a.reshape(together), b.reshape(together))[0])


def _write_sheet(path, photographs, restorers, *, size, nfe):
    clean = np.concatenate([windows(photograph, size) for photograph in photographs])
    rows = []
    for quality, number in SHOWN:
        files = [through_a_file(photograph, quality, "4:2:0") for photograph in photographs]
        file = np.concatenate([windows(x, size) for x in files])[number : number + 1]
        row = {"clean": clean[number], "file, 4:2:0": file[0]}
        for restorer in restorers.values():
            row[f"learnt on {restorer.corruption.name}"] = restorer(file, nfe=nfe)[0]
        rows.append({title: to_uint8(x) for title, x in row.items()})
    write_png(path, comparison_sheet(rows))


if __name__ == "__main__":
    main()
