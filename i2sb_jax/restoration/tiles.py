"""Pictures of any size as overlapping windows of one size, blended without seams.

Windows start at multiples of 16, so that they lie on the grid of the picture's JPEG blocks (with
halved chroma) and of the noise (`bridge.window_normal`). Along each axis the weights of all windows
add up to one at every pixel: what the windows agree on comes through unchanged.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from i2sb_jax.bridge.noise import BLOCK

WriteRows = Callable[[int, np.ndarray], None]
"""(first row, finished rows float32 [n, w, c]); called from the top down."""


class Grid(NamedTuple):
    """Where windows of one size start in a picture.

    Attributes:
        height, width: of the picture.
        side: of the windows; those at the lower and right borders may reach beyond the picture.
        rows: first rows of the windows, ascending multiples of 16.
        columns: first columns.
    """

    height: int
    width: int
    side: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def origins(self) -> Iterator[tuple[int, int]]:
        """(row, column) of every window, row by row."""
        return ((row, column) for row in self.rows for column in self.columns)


def make_grid(height: int, width: int, *, side: int, overlap: int) -> Grid:
    """Covers a picture with windows.

    Args:
        height: pixels.
        width: pixels.
        side: of the windows. A picture no larger is one window.
        overlap: neighbours share at least so many pixels; rounded up to where 16 divides
            side - overlap.

    Raises:
        ValueError: the overlap leaves no way forward.
    """
    if not 0 <= overlap <= side - BLOCK:
        raise ValueError(
            f"overlap={overlap} must lie in 0…{side - BLOCK} for windows of {side} pixels"
        )
    rows, columns = (_starts(length, side, overlap) for length in (height, width))
    return Grid(height, width, side, rows, columns)


def _starts(length: int, side: int, overlap: int) -> tuple[int, ...]:
    if length <= side:
        return (0,)
    last, stride = -(-(length - side) // BLOCK), (side - overlap) // BLOCK
    count = -(-last // stride) + 1
    # evenly spread: no two windows overlap by much more than others
    return tuple(BLOCK * (i * last // (count - 1)) for i in range(count))


def blend_weights(starts: tuple[int, ...], side: int) -> np.ndarray:
    """Weights of windows along one axis, float32 [windows, side].

    Each falls to its neighbours as sin² does; where windows overlap the weights add up to one.
    """
    weights = np.ones((len(starts), side))
    for i in range(1, len(starts)):
        shared = starts[i - 1] + side - starts[i]
        ramp = np.sin((np.arange(shared) + 0.5) / shared * np.pi / 2) ** 2
        weights[i, :shared] *= ramp
        weights[i - 1, side - shared :] *= ramp[::-1]
    total = np.zeros(starts[-1] + side)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + side] += weight
    for start, weight in zip(starts, weights, strict=True):
        weight /= total[start : start + side]
    return weights.astype(np.float32)


class Canvas:
    """Blends the windows of a grid, given row by row, and hands finished rows on.

    It holds one row of windows and no more, however tall the picture is.
    """

    def __init__(self, grid: Grid, write_rows: WriteRows):
        """Begins an empty picture."""
        self._grid = grid
        self._write_rows = write_rows
        self._across = blend_weights(grid.columns, grid.side)
        self._down = blend_weights(grid.rows, grid.side)
        self._band: np.ndarray | None = None
        self._count = 0

    def add(self, window: np.ndarray) -> bool:
        """Adds the next window, float32 [side, side, c]; True when the picture is finished."""
        if self._band is None:  # as wide as its windows: the last may reach beyond the picture
            width = self._grid.columns[-1] + self._grid.side
            self._band = np.zeros((self._grid.side, width, window.shape[2]), np.float32)
        row, column = divmod(self._count, len(self._grid.columns))
        weight = np.multiply.outer(self._down[row], self._across[column])[..., None]
        left = self._grid.columns[column]
        self._band[:, left : left + self._grid.side] += weight * window
        self._count += 1
        if column == len(self._grid.columns) - 1:
            self._finish_rows(row)
        return self._count == len(self._grid)

    def _finish_rows(self, row: int) -> None:
        """Hands on what no later window touches, and moves the rest up."""
        top, rows = self._grid.rows[row], self._grid.rows
        end = rows[row + 1] if row + 1 < len(rows) else self._grid.height
        done = end - top
        self._write_rows(top, self._band[:done, : self._grid.width])
        self._band[:-done] = self._band[done:].copy() if done < len(self._band) else 0
        self._band[len(self._band) - done :] = 0
