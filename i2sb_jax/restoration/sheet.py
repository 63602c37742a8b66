"""Comparison sheets: the same pictures side by side under their titles."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

_CELL = 256  # pixels
_TITLE = 20
_GAP = 4
MAX_ROWS = 8


def comparison_sheet(rows: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """One column a title, one row a picture.

    Args:
        rows: title -> uint8 [h, w, 3]; all rows have the same titles. The first `MAX_ROWS` count.

    Returns:
        uint8 [h, w, 3]; small pictures are enlarged without smoothing, large ones reduced.
    """
    rows = rows[:MAX_ROWS]
    titles = list(rows[0])
    width = len(titles) * (_CELL + _GAP) - _GAP
    height = _TITLE + len(rows) * (_CELL + _GAP) - _GAP
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        left = column * (_CELL + _GAP)
        draw.text((left + 4, 4), title, fill="black")
        for number, row in enumerate(rows):
            cell = _fit(Image.fromarray(row[title]))
            top = _TITLE + number * (_CELL + _GAP)
            sheet.paste(cell, (left + (_CELL - cell.width) // 2, top + (_CELL - cell.height) // 2))
    return np.asarray(sheet)


def _fit(image: Image.Image) -> Image.Image:
    scale = _CELL / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    # pixels of a small picture stay squares: smoothing would flatter what is shown
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return image.resize(size, resample)
