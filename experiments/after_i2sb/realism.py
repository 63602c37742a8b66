"""Measures what `--realism` trades on whole photographs: PSNR against a distance of distributions.

    python -m experiments.after_i2sb.realism [--write realism.json] [--sheet docs/realism.jpg]
    python -m experiments.after_i2sb.realism --study runs/study [--write realism_study.json]

The four photographs of scikit-image that no model has seen are degraded and restored whole by each
shipped model. A walk is taken once: the first X̂_0 and the end are mixed here, as the option mixes
them. The kernel distance compares the results' windows of 64 pixels with those of the photographs,
by the features "block-DCT" of `experiments.nfe_sweep.features`. With --study the ends are those of
flows from a shipped model's answer, which `experiments.after_i2sb.study` has kept in its output.
"""

import argparse
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from experiments.models.measure import degraded, pixels_of, psnr
from experiments.nfe_sweep.features import block_dct, standardiser
from experiments.quickstart import held_out
from i2sb_jax import zoo
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.evaluation.kernel import kernel_distance
from i2sb_jax.pictures import decode_rgb, from_uint8
from i2sb_jax.restoration import Restorer

REALISMS = (0.0, 0.25, 0.5, 0.75, 1.0)
LEVELS = {"jpeg": 10, "deblur": 1.5, "denoise": 25, "sr4x": 4}
NFE = 10
_SIDE = 64  # of windows
_FLOW = "flow-from-answer"  # the run of the study
_SHOWN = "deblur", "chelsea"  # task and photograph
_CROP, _ENLARGED, _LABEL, _GAP = (64, 224, 96), 2, 16, 4  # top, left and side; times; pixels


class Walk(NamedTuple):
    """A photograph and the two ends of what restores it, float32 [h, w, 3]."""

    clean: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def mixed(self, realism: float) -> np.ndarray:
        """The pixels of a file of this realism, uint8."""
        return pixels_of(np.clip((1 - realism) * self.first + realism * self.last, -1, 1))


def walks(task: str, nfe: int) -> dict[str, Walk]:
    """Restores the degraded photographs by a shipped model, whole."""
    restorer, found = Restorer.shipped(task), {}
    for name, photograph in held_out.photographs("eval"):
        height, width = (side // 4 * 4 for side in photograph.shape[:2])
        clean = photograph[:height, :width]
        file = degraded(task, name, clean, LEVELS[task], repaired=False)
        seen = from_uint8(decode_rgb(file.data))
        if task == "sr4x":
            seen = enlarge_smoothly(seen, 4)
        told = {"told": [file.data]} if task == "jpeg" else {}
        samples = restorer(seen[None], nfe=nfe, record=(nfe - 1,), names=[name], **told)
        found[name] = Walk(clean, samples.x0_path[0, 0], samples.x0[0])
    return found


def walks_of_study(output: pathlib.Path, task: str) -> dict[str, Walk]:
    """The windows that the study has restored from the shipped model's answer, of a task."""
    files = sorted((output / "windows").glob("*.png"))
    first, last = (
        from_uint8(np.load(output / "restored" / f"{task}_{_FLOW}_ode_{nfe}.npy"))
        for nfe in (1, NFE)
    )
    pairs = zip(files, first, last, strict=True)
    return {file.stem: Walk(decode_rgb(file.read_bytes()), *ends) for file, *ends in pairs}


def _windows(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """uint8 [n, side, side, 3] of windows that do not overlap."""
    return np.stack([
        picture[top : top + _SIDE, left : left + _SIDE]
        for picture in pictures
        for top in range(0, picture.shape[0] - _SIDE + 1, _SIDE)
        for left in range(0, picture.shape[1] - _SIDE + 1, _SIDE)
    ])  # fmt: skip


def rows(task: str, found: dict[str, Walk]) -> list[dict[str, object]]:
    """A row a realism: mean PSNR in dB, and the kernel distance to the photographs."""
    clean = block_dct(_windows([walk.clean for walk in found.values()]))
    scale, measured = standardiser(clean), []
    for realism in REALISMS:
        made = [walk.mixed(realism) for walk in found.values()]
        pairs = zip(made, found.values(), strict=True)
        quality = np.mean([psnr(picture, walk.clean) for picture, walk in pairs])
        distance = kernel_distance(scale(block_dct(_windows(made))), scale(clean))
        measured.append({
            "task": task, "level": LEVELS[task], "nfe": NFE, "realism": realism,
            "psnr": round(float(quality), 3), "kernel": round(distance, 3),
        })  # fmt: skip
    return measured


def sheet(walk: Walk) -> Image.Image:
    """A crop at each realism beside that of the photograph, enlarged, each under its title."""
    top, left, side = _CROP
    pictures = {f"{realism:g}": walk.mixed(realism) for realism in REALISMS}
    pictures["photograph"] = walk.clean
    shown = _ENLARGED * side
    page = Image.new("RGB", (len(pictures) * (shown + _GAP) - _GAP, shown + _LABEL), "white")
    draw = ImageDraw.Draw(page)
    for across, (title, picture) in enumerate(pictures.items()):
        at = across * (shown + _GAP)
        draw.text((at + 2, 2), title, fill="black")
        crop = Image.fromarray(picture[top : top + side, left : left + side])
        page.paste(crop.resize((shown, shown), Image.Resampling.NEAREST), (at, _LABEL))
    return page


def report(measured: Sequence[dict[str, object]]) -> str:
    """Markdown: a line a task, PSNR in dB and kernel distance at each realism."""
    lines = ["| | " + " | ".join(f"{r:g}" for r in REALISMS) + " |", "|---" * 6 + "|"]
    for task in dict.fromkeys(row["task"] for row in measured):
        cells = [
            f"{row['psnr']:.2f}, {row['kernel']:.2f}" for row in measured if row["task"] == task
        ]
        lines.append(f"| {task} {LEVELS[task]:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table, and writes rows and picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=pathlib.Path, help="a file for the rows")
    parser.add_argument("--sheet", type=pathlib.Path, help="a file for the picture")
    parser.add_argument("--tasks", nargs="+", choices=tuple(zoo.MODELS), default=list(zoo.MODELS))
    parser.add_argument("--study", type=pathlib.Path, help="the output of a study")
    given = parser.parse_args(arguments)
    measured, tasks = [], given.tasks if given.study is None else ["jpeg", "sr4x"]
    for task in tasks:
        found = walks(task, NFE) if given.study is None else walks_of_study(given.study, task)
        measured += rows(task, found)
        if given.sheet is not None and task == _SHOWN[0]:
            sheet(found[_SHOWN[1]]).save(given.sheet, quality=92)
        print(report(measured), flush=True)
    if given.write is not None:
        given.write.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
