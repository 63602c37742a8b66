"""What is seen of tiles: steps across their borders, beside those of other neighbours."""

import numpy as np

from i2sb_jax.restoration.tiles import Grid

_BESIDE = 8  # pixels from a border, as far as its own steps are compared to those of others


def step_ratio(picture: np.ndarray, grid: Grid, *, lead: tuple[int, int] = (0, 0)) -> float:
    """Mean step across the borders of tiles, over that between neighbours beside them.

    Borders are where windows begin and end, and where one takes over from the next. Others are the
    steps of the eight pixels on both sides: a picture is not equally rough everywhere.

    Args:
        picture: [h, w, c] of any type.
        grid: of its windows.
        lead: of the grid.

    Returns:
        The largest of both axes and the three kinds of borders, about 1 where tiles cannot be seen;
        NaN of a single tile.
    """
    values = np.asarray(picture, np.float64)
    ratios = []
    for axis, starts in enumerate((grid.rows, grid.columns)):
        steps = np.abs(np.diff(values, axis=axis)).mean(axis=(1 - axis, 2))
        for kind in _borders(starts, grid.side):
            borders = kind - lead[axis] - 1
            borders = borders[(borders >= 0) & (borders < len(steps))]
            if len(borders):
                away = np.abs(np.arange(len(steps))[:, None] - borders).min(axis=1)
                beside = steps[(away > 0) & (away <= _BESIDE)]
                ratios.append(steps[borders].mean() / beside.mean())
    return float(max(ratios, default=np.nan))


def _borders(starts: tuple[int, ...], side: int) -> tuple[np.ndarray, ...]:
    """First pixels of windows, behind windows, and where one takes over from the next."""
    begins, ends = np.array(starts[1:], int), np.array(starts[:-1], int) + side
    return begins, ends, (begins + ends) // 2
