"""Copies the photographs that training never saw into a folder, whole or as windows.

python -m experiments.quickstart.held_out FOLDER [--windows 64] [--split validation]

To choose something, `--split tuning` copies what a run may learn from (data.source=folder,
data.path=FOLDER, data.eval_path=OTHER) and `--split validation` what it is measured on; both are
training pictures, and those of eval stay unseen.
"""

import argparse

import numpy as np

from i2sb_jax import image_io
from i2sb_jax.data import photos

SPLITS = {"eval": photos.EVAL, "validation": photos.VALIDATION, "tuning": photos.TUNING}


def main(folder: str, *, windows: int = 0, split: str = "eval") -> int:
    """Writes each photograph of a split as a PNG, or side by side windows of so many pixels.

    Returns:
        How many were written.
    """
    source, count = photos.named_photos(SPLITS[split]), 0
    for index in range(len(source)):
        record = source.read(index)
        name, image = record.name.rsplit(".", 1)[0], image_io.decode_rgb(record.image)
        parts = {name: image} if not windows else dict(_windows(name, image, windows))
        for part, pixels in parts.items():
            image_io.write_png(f"{folder}/{part}.png", pixels)
        count += len(parts)
    return count


def _windows(name: str, image: np.ndarray, side: int):
    """(name, [side, side, 3]) of windows that do not overlap."""
    for top in range(0, image.shape[0] - side + 1, side):
        for left in range(0, image.shape[1] - side + 1, side):
            yield f"{name}_{top:03d}_{left:03d}", image[top : top + side, left : left + side]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--windows", type=int, default=0, help="side in pixels; 0: whole pictures")
    parser.add_argument("--split", choices=SPLITS, default="eval")
    given = parser.parse_args()
    main(given.folder, windows=given.windows, split=given.split)
