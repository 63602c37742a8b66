"""A page of what the models and their peers make of the same crops, to be looked at.

    python -m experiments.models.crops [--output SHEET.jpg]

A row a task, cut at 100 % out of a photograph that no model has seen. Peers that are not installed
leave their place empty.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from experiments.models.measure import degraded
from experiments.models.peers import SHARP, cases
from experiments.models.peers_process import make_repair
from experiments.quickstart import held_out
from i2sb_jax.pictures import decode_rgb

_SIDE = 160  # pixels that are shown
_MARGIN = 32  # that repairs see around them
_LABEL = 16  # pixels of a line of text
_GAP = 4


class Row(NamedTuple):
    """A crop of a photograph, and whose results are shown.

    Attributes:
        task, level: as of `peers`.
        picture: the photograph.
        top, left: where the crop begins, multiples of 16.
        methods: names of `peers`.
    """

    task: str
    level: float
    picture: str
    top: int
    left: int
    methods: tuple[str, ...]


_OURS = ("restored", f"restored, nfe {SHARP}")
ROWS = (
    Row("jpeg", 10, "coffee", 192, 256, (*_OURS, "non-local means", "BM3D")),
    Row("deblur", 1.5, "chelsea", 64, 160, (*_OURS, "Wiener", "Richardson-Lucy")),
    Row("denoise", 25, "astronaut", 32, 144, (*_OURS, "non-local means", "BM3D")),
    Row("sr4x", 4, "astronaut", 32, 144, (*_OURS, "waifu2x", "x4plus")),
)


def panels(row: Row) -> dict[str, np.ndarray | None]:
    """Title -> uint8 [side, side, 3]; None for what is not installed."""
    whole = dict(held_out.photographs("eval"))[row.picture]
    height, width = (side // 4 * 4 for side in whole.shape[:2])
    clean = whole[:height, :width]
    file = degraded(row.task, row.picture, clean, row.level, repaired=row.task == "sr4x")
    scale = 4 if row.task == "sr4x" else 1
    shown = file.classical if row.task == "sr4x" else decode_rgb(file.data)
    around = tuple(
        slice(max(at - _MARGIN, 0) // scale, (at + _SIDE + _MARGIN) // scale)
        for at in (row.top, row.left)
    )
    seen = np.ascontiguousarray(decode_rgb(file.data)[around])
    found: dict[str, np.ndarray | None] = {
        f"{row.task} {row.level:g}": _cut(shown, row.top, row.left)
    }
    there = {case.name: case for case in cases([row.task], [row.level], row.methods)}
    for name in row.methods:
        found[name] = None
        if (case := there.get(name)) is not None:
            repair = make_repair(case.method, case.task, case.level, dict(case.settings))
            starts = (scale * each.start for each in around)
            found[name] = _cut(
                repair(file.data, seen),
                *(at - start for at, start in zip((row.top, row.left), starts, strict=True)),
            )
    return found | {"clean": _cut(clean, row.top, row.left)}


def _cut(picture: np.ndarray, top: int, left: int) -> np.ndarray:
    return picture[top : top + _SIDE, left : left + _SIDE]


def sheet(rows: list[dict[str, np.ndarray | None]]) -> Image.Image:
    """Lays panels out, each under its title."""
    columns = max(map(len, rows))
    page = Image.new(
        "RGB", (columns * (_SIDE + _GAP), len(rows) * (_SIDE + _GAP + _LABEL)), "white"
    )
    draw = ImageDraw.Draw(page)
    for down, row in enumerate(rows):
        for across, (title, picture) in enumerate(row.items()):
            left, top = across * (_SIDE + _GAP), down * (_SIDE + _GAP + _LABEL)
            draw.text((left + 2, top + 2), title, fill="black")
            if picture is not None:
                page.paste(Image.fromarray(picture), (left, top + _LABEL))
    return page


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    here = pathlib.Path(__file__).with_name("crops.jpg")
    parser.add_argument("--output", type=pathlib.Path, default=here, help="a JPEG file")
    given = parser.parse_args(arguments)
    sheet([panels(row) for row in ROWS]).save(given.output, quality=90)


if __name__ == "__main__":
    main()
