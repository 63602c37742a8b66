"""Windows whose borders are no borders of the photograph.

What a blur, a reduction or a codec makes of a pixel depends on its neighbours, and those of a
window's outermost pixels lie outside of it. So a window is cut with the margin that its corruption
declares, mirrored where the photograph ends, degraded with it, and then the margin is cut away:
training and evaluation see what a tile in the middle of a picture sees. Windows start at multiples
of the corruption's grid, lest blocks and reduced pixels begin elsewhere than in the photograph.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from i2sb_jax.corruptions import Corrupted, Corruption, make_corruption

Array = Any  # np.ndarray or tf.Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowCorruption:
    """A corruption of squares that are windows with a margin around them.

    Attributes:
        corruption: of squares of `side` pixels.
        image_size: of the windows.
        margin: pixels on each side, cut away from all that is returned.
        grid: windows (without margin) start at multiples of so many pixels.
    """

    corruption: Callable[..., Corrupted]
    image_size: int
    margin: int = 0
    grid: int = 1

    @property
    def side(self) -> int:
        """The side of the squares: a window and its margin on both sides."""
        return self.image_size + 2 * self.margin

    def __call__(
        self, key: Any, squares: Array, *, index: Array | None = None
    ) -> tuple[Array, Corrupted]:
        """The clean windows and what becomes of them.

        Args:
            key: as the corruption takes it.
            squares: float32 [batch, side, side, c] in [-1, 1].
            index: as the corruption takes it.
        """
        corrupted = self.corruption(key, squares, index=index)
        return self.trimmed(squares), Corrupted(*map(self.trimmed, corrupted))

    def degrade(
        self, squares: np.ndarray, mask: np.ndarray | None = None, *, index: np.ndarray
    ) -> np.ndarray:
        """The degraded windows as a person would see them; arguments as the corruption's."""
        return self.trimmed(self.corruption.degrade(squares, mask, index=index))

    def trimmed(self, squares: Array | None) -> Array | None:
        """The windows [batch, image_size, image_size, c] of squares; None of None."""
        if squares is None or not self.margin:
            return squares
        window = slice(self.margin, self.margin + self.image_size)
        return squares[:, window, window]


def window_corruption(
    corruption: Callable[..., Corrupted], *, image_size: int, crop: str
) -> WindowCorruption:
    """Returns the function that cuts and corrupts the windows of a run.

    Args:
        corruption: of pictures of `image_size`, as the run restores them; or any function of the
            same arguments, which needs no margin.
        image_size: of the windows.
        crop: "window", or "resize", where the square is the whole picture and has no margin.
    """
    if crop != "window" or not isinstance(corruption, Corruption):
        return WindowCorruption(corruption=corruption, image_size=image_size)
    margin, grid = corruption.facts.margin, corruption.facts.grid
    if margin:  # of none with a mask file, whose masks are of one size
        corruption = make_corruption(corruption.name, image_size=image_size + 2 * margin)
    return WindowCorruption(corruption=corruption, image_size=image_size, margin=margin, grid=grid)


def window_at(
    image: np.ndarray, top: int, left: int, *, image_size: int, margin: int = 0
) -> np.ndarray:
    """A window and its margin, mirrored beyond the picture (the border's pixels come twice).

    Args:
        image: [h, w, c].
        top: first row of the window, without margin.
        left: first column.
        image_size: side of the window.
        margin: pixels on each side.

    Returns:
        [image_size + 2 · margin, image_size + 2 · margin, c]; a view where nothing is mirrored.
    """
    rows, columns = (
        _mirrored(start - margin, start + image_size + margin, length)
        for start, length in zip((top, left), image.shape[:2], strict=True)
    )
    return image[rows][:, columns]


def central_window(
    image: np.ndarray, *, image_size: int, margin: int = 0, grid: int = 1
) -> np.ndarray:
    """The window in the middle, its start rounded down to the grid; as `window_at` gives it."""
    # halves are rounded as torchvision does
    top, left = (round((side - image_size) / 2) // grid * grid for side in image.shape[:2])
    return window_at(image, top, left, image_size=image_size, margin=margin)


def _mirrored(start: int, stop: int, length: int) -> slice | np.ndarray:
    """Returns the places of the pixels start … stop - 1 in a line of so many pixels."""
    if start >= 0 and stop <= length:
        return slice(start, stop)
    place = np.arange(start, stop) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)
