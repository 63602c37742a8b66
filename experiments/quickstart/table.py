"""What restoring whole photographs from files gained, beside the best classical repair.

    python -m experiments.quickstart.held_out DIR --blur 1 1.5 2
    i2sb-restore --model RUN --input DIR/degraded --output DIR/restored
    python -m experiments.quickstart.table DIR/clean DIR/degraded DIR/restored

A classical repair has one setting for all files, for a person does not know how blurred they are;
beside it, by width: the same repair told each width, and what that gains where there is no noise.
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
from i2sb_jax import image_io, metrics
from i2sb_jax.corruptions.classical_settings import best_repair

_TASK = "blur-photo"
_ssim = jax.jit(metrics.ssim)


class Score(NamedTuple):
    """PSNR in dB and SSIM."""

    psnr: float
    ssim: float


class Row(NamedTuple):
    """Scores of one file: as it is, repaired by one setting and told its width, and restored.

    Attributes:
        name: without suffix, e.g. coffee_1.5.
        width: of its blur, pixels.
        file, classical, told, restored: scores.
        noiseless: of the same photograph, blurred as much and without noise.
        noiseless_told: of that, repaired as told.
    """

    name: str
    width: float
    file: Score
    classical: Score
    told: Score
    restored: Score
    noiseless: Score
    noiseless_told: Score


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
    repair = best_repair(_TASK).name
    lines = [
        f"| PSNR, SSIM | file | {repair} | restored |",
        "|---|---|---|---|",
        *(
            f"| {row.name} | {_told(row.file)} | {_told(row.classical, row.file)} "
            f"| {_told(row.restored, row.file)} |"
            for row in rows
        ),
        "",
        f"| mean gain, dB | file | {repair} | restored | {repair} told | no noise | told |",
        "|---|---|---|---|---|---|---|",
    ]
    for width in sorted({row.width for row in rows}):
        lines.append(_mean(f"width {width:g}", [row for row in rows if row.width == width]))
    lines.append(_mean("all", rows))
    least = min(rows, key=lambda row: row.restored.psnr - row.file.psnr)
    lines += ["", f"Restored gains least on {least.name}: {_gain(least.restored, least.file)} dB."]
    return lines


def _mean(name: str, rows: Sequence[Row]) -> str:
    def gain(after: Callable[[Row], Score], before: Callable[[Row], Score]) -> str:
        return f"{np.mean([after(row).psnr - before(row).psnr for row in rows]):+.2f}"

    file, noiseless = (
        f"{np.mean([score(row).psnr for row in rows]):.2f}"
        for score in (lambda row: row.file, lambda row: row.noiseless)
    )
    cells = [
        *(file, gain(lambda row: row.classical, lambda row: row.file)),
        gain(lambda row: row.restored, lambda row: row.file),
        gain(lambda row: row.told, lambda row: row.file),
        *(noiseless, gain(lambda row: row.noiseless_told, lambda row: row.noiseless)),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _told(score: Score, before: Score | None = None) -> str:
    gain = "" if before is None else f" ({_gain(score, before)})"
    return f"{score.psnr:.2f} dB{gain}, {score.ssim:.3f}"


def _gain(after: Score, before: Score) -> str:
    return f"{after.psnr - before.psnr:+.2f}"


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
        pair = image_io.from_uint8(levels)[None], image_io.from_uint8(truth)[None]
        return Score(float(metrics.psnr(*pair)[0]), float(_ssim(*pair)[0]))

    def repaired(levels: np.ndarray, **told: float) -> Score:
        repair = best_repair(_TASK, **told).repair
        picture = repair(image_io.from_uint8(levels))
        return score(image_io.to_pixels(picture, np.dtype(np.uint8)))

    return Row(
        name=stem,
        width=width,
        file=score(seen),
        classical=repaired(seen),
        told=repaired(seen, sigma=width, noise=noise),
        restored=score(made),
        noiseless=score(noiseless),
        noiseless_told=repaired(noiseless, sigma=width, noise=0),
    )


def _read(folder: str, name: str) -> np.ndarray:
    path = epath.Path(folder) / name
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    return image_io.decode_rgb(path.read_bytes())


if __name__ == "__main__":
    main()
