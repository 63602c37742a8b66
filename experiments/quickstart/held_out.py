"""Writes the photographs that training never saw into a folder, as they are or blurred.

python -m experiments.quickstart.held_out FOLDER [--windows 64] [--split validation]
python -m experiments.quickstart.held_out FOLDER --blur 1 1.5 2 [--noise 2] [--split validation]

With --blur the folder gets clean/ and degraded/ with files of the same names, one for each
photograph and width: coffee_1.5.png. Blurs are Gaussian, of so many pixels, with mirrored borders;
then come noise of a standard deviation of so many 8-bit levels, and 8-bit rounding.

To choose something, `--split tuning` copies what a run may learn from (data.source=folder,
data.path=FOLDER, data.eval_path=OTHER) and `--split validation` what it is measured on; both are
training pictures, and those of eval stay unseen.
"""

import argparse
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from i2sb_jax.data import photos
from i2sb_jax.pictures import decode_rgb, write_png

SPLITS = {"eval": photos.EVAL, "validation": photos.VALIDATION, "tuning": photos.TUNING}
NOISE = 2.0  # levels


def main(folder: str, *, windows: int = 0, split: str = "eval") -> int:
    """Writes each photograph of a split as a PNG, or side by side windows of so many pixels.

    Returns:
        How many were written.
    """
    count = 0
    for name, image in photographs(split):
        parts = {name: image} if not windows else dict(_windows(name, image, windows))
        for part, pixels in parts.items():
            write_png(f"{folder}/{part}.png", pixels)
        count += len(parts)
    return count


def write_blurred(
    folder: str, *, widths: Sequence[float], noise: float = NOISE, split: str = "eval"
) -> int:
    """Writes each photograph of a split at each width into clean/ and degraded/.

    Returns:
        How many pairs were written.
    """
    count = 0
    for name, image in photographs(split):
        for width in widths:
            file = f"{name}_{width:g}.png"
            write_png(f"{folder}/clean/{file}", image)
            degraded = blurred(image, width=width, noise=noise, seed=zlib.crc32(file.encode()))
            write_png(f"{folder}/degraded/{file}", degraded)
            count += 1
    return count


def blurred(image: np.ndarray, *, width: float, noise: float, seed: int) -> np.ndarray:
    """Blurs a picture, adds noise and rounds.

    Args:
        image: uint8 [h, w, c].
        width: of the Gaussian, pixels; borders are mirrored.
        noise: standard deviation, levels.
        seed: of the noise.
    """
    levels = gaussian_filter(image.astype(np.float64), (width, width, 0), mode="reflect")
    if noise:
        levels += noise * np.random.default_rng(seed).standard_normal(image.shape)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def photographs(split: str) -> Iterator[tuple[str, np.ndarray]]:
    """(name, uint8 [h, w, 3])."""
    source = photos.named_photos(SPLITS[split])
    for index in range(len(source)):
        record = source.read(index)
        yield record.name.rsplit(".", 1)[0], decode_rgb(record.image)


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
    parser.add_argument("--blur", type=float, nargs="+", help="widths in pixels: clean/, degraded/")
    parser.add_argument("--noise", type=float, default=NOISE, help="of --blur, levels")
    given = parser.parse_args()
    if given.blur:
        write_blurred(given.folder, widths=given.blur, noise=given.noise, split=given.split)
    else:
        main(given.folder, windows=given.windows, split=given.split)
