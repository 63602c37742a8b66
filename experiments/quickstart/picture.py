"""Crops of the quickstart's photographs at 100 %: file, classical repair, restored, clean.

python -m experiments.quickstart.picture CLEAN DEGRADED RESTORED OUTPUT.png
"""

import argparse
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from i2sb_jax.corruptions.classical_settings import best_repair
from i2sb_jax.pictures import decode_rgb, from_uint8, to_pixels

_SIDE, _TITLE = 224, 20
# file, first row and column
_CROPS = (("astronaut_1.5", 20, 120), ("coffee_2", 110, 250), ("chelsea_1", 60, 120))


def main(clean: str, degraded: str, restored: str, output: str) -> None:
    """Writes a row a crop."""
    repair = best_repair("blur-photo")
    titles = ("file", repair.name, "restored", "clean")
    size = (_SIDE * len(titles), _TITLE + _SIDE * len(_CROPS))
    sheet = Image.new("RGB", size, "white")
    for column, title in enumerate(titles):
        ImageDraw.Draw(sheet).text((column * _SIDE + 4, 4), title, fill="black")
    for row, (name, top, left) in enumerate(_CROPS):
        seen, made, truth = (
            decode_rgb(pathlib.Path(folder, f"{name}.png").read_bytes())
            for folder in (degraded, restored, clean)
        )
        repaired = to_pixels(repair.repair(from_uint8(seen)), np.dtype(np.uint8))
        for column, pixels in enumerate((seen, repaired, made, truth)):
            crop = pixels[top : top + _SIDE, left : left + _SIDE]
            sheet.paste(Image.fromarray(crop), (column * _SIDE, _TITLE + row * _SIDE))
    sheet.save(output, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for argument in ("clean", "degraded", "restored", "output"):
        parser.add_argument(argument)
    main(**vars(parser.parse_args()))
