"""What restoring whole photographs from files gained, beside the best classical repair.

    python -m experiments.quickstart.held_out DIR --blur 1 1.5 2
    i2sb-restore --model RUN --input DIR/degraded --output DIR/restored
    python -m experiments.quickstart.table DIR/clean DIR/degraded DIR/restored

Two classical repairs stand beside it: the Wiener filter, and the best that was found, the same with
thresholded cosines. They have one setting for all files, as a person would who does not know the
width; by width there is also what they gain when told it, and that where there is no noise.
Settings were chosen on training photographs (experiments/classical).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from experiments.quickstart.held_out import NOISE, blurred
from i2sb_jax import metrics
from i2sb_jax.corruptions.classical_settings import Repair, best_repair, wiener_filter
from i2sb_jax.pictures import decode_rgb, from_uint8, to_pixels

_ssim = jax.jit(metrics.ssim)


class Score(NamedTuple):
    """PSNR in dB and SSIM."""

    psnr: float
    ssim: float


class Row(NamedTuple):
    """Scores of one file, and of the same photograph blurred as much without noise.

    Attributes:
        name: without suffix, e.g. coffee_1.5.
        width: of its blur, pixels.
        file: as it is.
        wiener, best: repaired by one setting for all files.
        restored: by the network.
        told: repaired by both, told the width.
        noiseless: the photograph blurred without noise.
        noiseless_told: that repaired by both, told the width and that there is no noise.
    """

    name: str
    width: float
    file: Score
    wiener: Score
    best: Score
    restored: Score
    told: tuple[Score, Score]
    noiseless: Score
    noiseless_told: tuple[Score, Score]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clean", help="folder of the photographs as they were")
    parser.add_argument("degraded", help="folder of files of the same names, NAME_WIDTH.png")
    parser.add_argument("restored", help="folder of what was made of them")
    parser.add_argument("--noise", type=float, default=NOISE, help="of the files, levels")
    given = parser.parse_args(arguments)
    try:
        rows = measure(given.clean, given.degraded, given.restored, noise=given.noise)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print("\n".join(report(rows)))


def measure(clean: str, degraded: str, restored: str, *, noise: float) -> list[Row]:
    """The scores of all files of `degraded`, by name.

    Raises:
        ValueError: no files, none of that name elsewhere, another size, or a name without a width.
    """
    stems = sorted(path.stem for path in epath.Path(degraded).glob("*.png"))
    if not stems:
        raise ValueError(f"{degraded} holds no PNG files")
    return [_row(f"{stem}.png", clean, degraded, restored, noise) for stem in stems]


def report(rows: Sequence[Row]) -> list[str]:
    """Markdown: a line a file, then means by width and over all."""
    lines = ["| PSNR, gain, SSIM | file | Wiener | and thresholds | restored |", "|---" * 5 + "|"]
    for row in rows:
        file = f"{row.file.psnr:.2f} {row.file.ssim:.3f}"
        others = (
            f"{score.psnr:.2f} {score.psnr - row.file.psnr:+.2f} {score.ssim:.3f}"
            for score in (row.wiener, row.best, row.restored)
        )
        lines.append(f"| {row.name} | {file} | {' | '.join(others)} |")
    lines += [
        "",
        "| gain, dB | file | Wiener, and thr. | restored | both, told | no noise | both, told |",
        "|---" * 7 + "|",
    ]
    for width in sorted({row.width for row in rows}):
        lines.append(_mean(f"width {width:g}", [row for row in rows if row.width == width]))
    lines.append(_mean("all", rows))
    least = min(rows, key=lambda row: row.restored.psnr - row.file.psnr)
    gain = least.restored.psnr - least.file.psnr
    return [*lines, "", f"The restored picture that gained least is {least.name}: {gain:+.2f} dB."]


def _mean(name: str, rows: Sequence[Row]) -> str:
    def gains(before: Callable[[Row], Score], *after: Callable[[Row], Score]) -> str:
        means = (np.mean([one(row).psnr - before(row).psnr for row in rows]) for one in after)
        return ", ".join(f"{mean:+.2f}" for mean in means)

    def file(row: Row) -> Score:
        return row.file

    def noiseless(row: Row) -> Score:
        return row.noiseless

    cells = (
        f"{np.mean([row.file.psnr for row in rows]):.2f}",
        gains(file, lambda row: row.wiener, lambda row: row.best),
        gains(file, lambda row: row.restored),
        gains(file, lambda row: row.told[0], lambda row: row.told[1]),
        f"{np.mean([row.noiseless.psnr for row in rows]):.2f}",
        gains(noiseless, lambda row: row.noiseless_told[0], lambda row: row.noiseless_told[1]),
    )
    return f"| {name} | {' | '.join(cells)} |"


def _row(name: str, clean: str, degraded: str, restored: str, noise: float) -> Row:
    truth, seen, made = (_read(folder, name) for folder in (clean, degraded, restored))
    if not truth.shape == seen.shape == made.shape:
        raise ValueError(f"{name} has other sizes: {truth.shape}, {seen.shape}, {made.shape}")
    stem = name.removesuffix(".png")
    try:
        width = float(stem.rpartition("_")[2])
    except ValueError:
        raise ValueError(f"{name} does not end with the width of its blur: NAME_1.5.png") from None
    noiseless = blurred(truth, width=width, noise=0, seed=0)

    def score(levels: np.ndarray) -> Score:
        pair = from_uint8(levels)[None], from_uint8(truth)[None]
        return Score(float(metrics.psnr(*pair)[0]), float(_ssim(*pair)[0]))

    def repaired(levels: np.ndarray, repair: Repair) -> Score:
        picture = repair.repair(from_uint8(levels))
        return score(to_pixels(picture, np.dtype(np.uint8)))

    def told(levels: np.ndarray, **facts: float) -> tuple[Score, Score]:
        both = wiener_filter(**facts), best_repair("blur-photo", **facts)
        return tuple(repaired(levels, repair) for repair in both)

    wiener, best = told(seen)
    return Row(
        name=stem,
        width=width,
        file=score(seen),
        wiener=wiener,
        best=best,
        restored=score(made),
        told=told(seen, sigma=width, noise=noise),
        noiseless=score(noiseless),
        noiseless_told=told(noiseless, sigma=width, noise=0),
    )


def _read(folder: str, name: str) -> np.ndarray:
    path = epath.Path(folder) / name
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    return decode_rgb(path.read_bytes())


if __name__ == "__main__":
    main()
