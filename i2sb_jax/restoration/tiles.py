"""Pictures of any size as overlapping windows of one size, blended without seams.

Windows start at multiples of 16, so that they lie on the grid of the picture's JPEG blocks (with
halved chroma) and of the noise (`sampling.noise`). Along each axis the weights of all windows
add up to one at every pixel: what the windows agree on comes through unchanged.

Where the network looks at its surroundings alone, windows agree but for their borders: there they
end in zeros, while the picture goes on. So of what neighbours share the outer parts are not used,
and nothing tells the result from that of one window. Attention and the statistics of a
normalisation see all of a window: neighbours differ everywhere, and are blended over all that they
share.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from i2sb_jax.models import UNetConfig
from i2sb_jax.models.receptive_field import telling_radius
from i2sb_jax.sampling.noise import BLOCK

LARGEST = 512  # pixels, of windows that may be of any size
SMALLEST = 64  # of those that memory running out may lead to
_FEW_SIDES = 32  # divides such sides, lest there be a program to compile for every picture
_RAMP = 8  # pixels over which neighbours that agree are blended
_ROWS = 64  # finished rows that are handed on at once

WriteRows = Callable[[int, np.ndarray], None]
"""(first row, finished rows float32 [n, w, c]); called from the top down."""


class Grid(NamedTuple):
    """The starts of windows of one size in a picture.

    Attributes:
        height, width: of the picture.
        side: of the windows; those at the lower and right borders may reach beyond the picture.
        rows: first rows of the windows, ascending multiples of 16.
        columns: first columns.
        ramp: pixels in the middle of what neighbours share over which they are blended; None: all.
    """

    height: int
    width: int
    side: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    ramp: int | None = None

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def origins(self) -> Iterator[tuple[int, int]]:
        """(row, column) of every window, row by row."""
        return ((row, column) for row in self.rows for column in self.columns)


class Tiling(NamedTuple):
    """How the pictures of a job are cut into windows.

    Attributes:
        side: of the windows, pixels; of the largest where they adapt.
        overlap: that neighbours share at least.
        adapts: whether a picture has windows of the size that covers it with the fewest pixels. It
            depends on the picture's own size alone.
        unit: that divides such sides.
        margin: pixels beside a pixel that matter to it, 0 where all of the window does. So many,
            mirrored, follow below and right of the picture.
    """

    side: int
    overlap: int
    adapts: bool = False
    unit: int = BLOCK
    margin: int = 0

    @property
    def lead(self) -> int:
        """Rows and columns, mirrored, above and left of the picture, where JPEG blocks end."""
        return BLOCK if self.margin else 0

    def halved(self) -> "Tiling | None":
        """Returns windows of half the side, or of the multiple below that the network can take.

        Neighbours share as much as before, or half a window; where what matters to a pixel is
        known, that, or three quarters. None: these would be too small.
        """
        side = self.side // 2 // self.unit * self.unit
        if side < SMALLEST:
            return None
        most = _most_shared(side) if self.margin else side // 2 // BLOCK * BLOCK
        return self._replace(side=side, overlap=min(self.overlap, most))

    def grid(self, height: int, width: int) -> Grid:
        """The windows of a picture of so many rows and columns, those that lead to it included."""
        if not self.adapts:
            return self._grid(height, width, self.side)
        longest = max(height, width) + self.margin
        sides = range(self.unit, self.side + 1, self.unit)
        # of smaller sides neighbours could not share enough
        fitting = [side for side in sides if side >= min(longest, self.overlap + BLOCK)]
        grids = [self._grid(height, width, side) for side in fitting]
        return min(grids, key=lambda grid: (len(grid) * grid.side**2, -grid.side))

    def _grid(self, height: int, width: int, side: int) -> Grid:
        return make_grid(
            height, width, side=side, overlap=min(self.overlap, side - BLOCK),
            beyond=min(self.margin, side - BLOCK), ramp=_RAMP if self.margin else None,
        )  # fmt: skip


def choose_tiling(
    network: UNetConfig,
    *,
    image_size: int,
    tile: int | None = None,
    overlap: int | None = None,
    border: int = 0,
    start: UNetConfig | None = None,
) -> Tiling:
    """Returns windows that suit a network, or what a person chose.

    A network with attention knows windows of the run's own size, and their neighbours share a
    quarter. One without takes any, the larger, the less is computed twice: at most 512 pixels, and
    as few as cover the picture. Where it has no normalisation either, neighbours share what matters
    to both of two pixels side by side, and half a window at most; of a chosen size three quarters.

    A corruption that darkens the borders of windows is undone worst there: neighbours share both of
    theirs, or half a window. As the statistics of a normalisation see how much of a window is
    border, its windows are of the run's size unless the network has neither.

    Args:
        network: of the run.
        image_size: of the run.
        tile: side of the windows; None: by the network.
        overlap: of neighbours; None: by the network.
        border: pixels at a window's border that its corruption makes unlike the rest.
        start: of the model whose answer the run's bridge starts at, if it does: a pixel sees as far
            as both networks, one after the other.

    Raises:
        ValueError: sizes that do not fit; one line.
    """
    networks = [network] if start is None else [network, start]
    unit = math.lcm(*(each.downsampling_factor for each in networks), BLOCK)
    radii = [telling_radius(each) for each in networks]
    radius = None if None in radii else sum(radii)
    attends = any(each.has_attention for each in networks)
    adapts = tile is None and not attends and (radius is not None or not border)
    if adapts:
        unit = math.lcm(unit, _FEW_SIDES)
        tile = max(LARGEST // unit, 1) * unit
    elif tile is None:
        tile = -(-image_size // unit) * unit
    if tile < unit or tile % unit:
        right = max(unit, round(tile / unit) * unit)
        raise ValueError(f"tile={tile} must be a multiple of {unit}, e.g. {right}")
    if overlap is None:
        overlap = (
            tile // (8 if adapts else 4) // BLOCK * BLOCK
            if radius is None
            else min(
                -(-(2 * radius + _RAMP) // BLOCK) * BLOCK,
                tile // 2 // BLOCK * BLOCK if adapts else _most_shared(tile),
            )
        )
        overlap = max(overlap, min(2 * border, tile // 2) // BLOCK * BLOCK)
    _check_overlap(overlap, tile)
    return Tiling(tile, overlap, adapts, unit, radius or 0)


def make_grid(
    height: int, width: int, *, side: int, overlap: int, beyond: int = 0, ramp: int | None = None
) -> Grid:
    """Covers a picture with windows.

    Args:
        height: pixels.
        width: pixels.
        side: of the windows. A picture no larger is one window.
        overlap: neighbours share at least so many pixels; rounded up to where 16 divides
            side - overlap.
        beyond: pixels below and right of the picture that are covered, too.
        ramp: as in `Grid`.

    Raises:
        ValueError: the overlap leaves no way forward.
    """
    _check_overlap(overlap, side)
    rows, columns = (_starts(length + beyond, side, overlap) for length in (height, width))
    return Grid(height, width, side, rows, columns, ramp)


def _most_shared(side: int) -> int:
    """Pixels that neighbours share where more matters: a pixel is computed 16 times then."""
    return side - max(BLOCK, side // 4 // BLOCK * BLOCK)


def _check_overlap(overlap: int, side: int) -> None:
    if not 0 <= overlap <= side - BLOCK:
        raise ValueError(
            f"overlap={overlap} must lie in 0…{side - BLOCK} for windows of {side} pixels"
        )


def _starts(length: int, side: int, overlap: int) -> tuple[int, ...]:
    if length <= side:
        return (0,)
    last, stride = -(-(length - side) // BLOCK), (side - overlap) // BLOCK
    count = -(-last // stride) + 1
    # evenly spread: no two windows overlap by much more than others
    return tuple(BLOCK * (i * last // (count - 1)) for i in range(count))


def blend_weights(
    starts: tuple[int, ...], side: int, *, ramp_length: int | None = None
) -> np.ndarray:
    """Weights of windows along one axis, float32 [windows, side].

    Each falls to its neighbours as sin² does, over all that they share or over `ramp_length` pixels
    in the middle of it; where windows overlap the weights add up to one.
    """
    weights = np.ones((len(starts), side))
    for i in range(1, len(starts)):
        shared = starts[i - 1] + side - starts[i]
        length = shared if ramp_length is None else min(ramp_length, shared)
        place = (np.arange(shared) + 0.5 - (shared - length) / 2) / max(length, 1)
        ramp = np.sin(np.clip(place, 0, 1) * np.pi / 2) ** 2
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
        self._across, self._down = (
            blend_weights(starts, grid.side, ramp_length=grid.ramp)
            for starts in (grid.columns, grid.rows)
        )
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
        for first in range(0, done, _ROWS):
            some = self._band[first : min(first + _ROWS, done), : self._grid.width]
            self._write_rows(top + first, some)
        self._band[:-done] = self._band[done:].copy() if done < len(self._band) else 0
        self._band[len(self._band) - done :] = 0
