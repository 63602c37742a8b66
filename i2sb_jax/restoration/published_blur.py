"""A person's blurred picture, turned into what the published blurs would have made.

Their matrix K holds every tap of the kernel k but the last, and black beyond the window: X_1 is
darker than the sharp picture, most of all at its borders, and half a pixel off. A bridge learns to
undo all of that, and a person's picture, blurred about each pixel's centre, has suffered none of
it. Restored as it is, it comes back overexposed, framed and moved. So it becomes first

    X_1 + 1 = (h ∗ picture + 1) · g,    g = (A(white) + 1) / 2,                             (1)
    h = argmin ‖h ∗ k - k'‖² + ε ‖h‖²  with  Σ h = 1                                        (2)

along both axes, where A is the operator at the window's size and k' is k without its last tap,
scaled to keep light. h moves by half a pixel and takes back the width of a tap; flat pictures it
leaves alone. (Blurred by all of k, chelsea and coffee gain 1.65 and 1.27 dB so, by the
network of configs/small_adm.py at one evaluation; with h = 1 they lose 1.71 and 0.63, as they are
17.7 and 11.3.)
"""

import functools
import sys

import numpy as np

from i2sb_jax.corruptions import corruption_facts, make_corruption
from i2sb_jax.corruptions.blur import ExactBlur, SpectralBlur

REACH = 8  # pixels that h looks at on either side
# Pixels that a window's dark border spoils: windows begin as far beyond the picture, and neighbours
# share twice as many. A 120, restored at one evaluation by the network of configs/small_adm.py, is
# wrong by 18 levels at 0 pixels from the border of its window, 6 at 4, 3 at 8 and 12, 1 from 16 on.
MARGIN = 16

_EPSILON = 0.01
_MOST_SIDE = 1024  # pixels, of an operator that is made for it: the published one takes an SVD
_LEAST_SIDE = 8


def as_published(name: str, images: np.ndarray, *, margin: int = 0) -> np.ndarray:
    """Returns X_1 of windows of a person's picture, by (1).

    Args:
        name: of the corruption.
        images: float32 [..., h + 2·margin, w + 2·margin, c] in [-1, 1].
        margin: pixels around the window that were cut with it, for h to look at; beyond them
            pictures are mirrored.

    Returns:
        float32 [..., h, w, c]; for corruptions that keep their light the window as it is.
    """
    if corruption_facts(name).keeps_light:
        return _without_margin(images, margin)
    from scipy import ndimage  # 0.2 s, which restoring by other tasks need not wait for

    taps = _conversion(name)
    for axis in (-3, -2):
        images = ndimage.correlate1d(images, taps, axis=images.ndim + axis, mode="reflect")
    images = _without_margin(images, margin)
    return (images + 1) * light_left(name, *images.shape[-3:-1]) - 1


@functools.lru_cache(maxsize=16)
def light_left(name: str, height: int, width: int) -> np.ndarray:
    """Returns g of (1), the share of its light that a white window keeps.

    Args:
        name: of the corruption.
        height: of the window, pixels.
        width: of the window, pixels.

    Returns:
        float32 [height, width, 3], read-only. Operators are square: of a window that is not, and of
        one beyond 1024 pixels, the middle is cut out of a square's or repeated.
    """
    side = min(max(height, width, _LEAST_SIDE), _MOST_SIDE)
    white = np.ones((1, side, side, 3), np.float32)
    share = (_operator(name, side).degrade(white)[0] + 1) / 2
    share = share[np.ix_(_stretched(height, side), _stretched(width, side))]
    share.flags.writeable = False
    return share


def dark_border(name: str) -> int:
    """Returns how many pixels at the border of a window are restored worse than the rest.

    Args:
        name: of the corruption, of a mixture where some member may darken borders.

    Returns:
        Pixels; 0 where all light is kept.
    """
    facts = corruption_facts(name)
    kept = [each.keeps_light for each in (facts, *map(corruption_facts, facts.members))]
    return 0 if all(kept) else MARGIN


def published_note(name: str) -> str:
    """Returns the line that tells what is done to pictures."""
    middle = float(light_left(name, 64, 64)[16:48, 16:48].mean())
    return (
        f"note: {name} leaves {middle:.2f} of the light, darkens borders, moves by half a pixel. "
        "Pictures of your own have not suffered that: window by window they are made so, and then "
        "restored"
    )


@functools.cache
def note_once(name: str) -> None:
    """Prints that line, once in a process."""
    print(published_note(name), file=sys.stderr)


def _operator(name: str, side: int) -> SpectralBlur | ExactBlur:
    operator = make_corruption(name, image_size=side)
    assert isinstance(operator, SpectralBlur | ExactBlur)  # what does not keep its light
    return operator


@functools.lru_cache(maxsize=16)
def _conversion(name: str) -> np.ndarray:
    """The taps h of (2), float32 [2·REACH + 1], to be correlated with."""
    kernel = _operator(name, _LEAST_SIDE).kernel
    count, taps = 2 * REACH + 1, len(kernel)
    blurs = np.zeros((count + taps - 1, count))
    for place in range(count):
        blurs[place : place + taps, place] = kernel
    wanted = np.zeros(count + taps - 1)
    wanted[REACH : REACH + taps - 1] = kernel[:-1] / kernel[:-1].sum()
    square = blurs.T @ blurs + _EPSILON * np.eye(count)
    free, constant = np.linalg.solve(square, np.stack([blurs.T @ wanted, np.ones(count)], axis=1)).T
    return (free + constant * (1 - free.sum()) / constant.sum()).astype(np.float32)


def _without_margin(images: np.ndarray, margin: int) -> np.ndarray:
    height, width = images.shape[-3:-1]
    return images[..., margin : height - margin, margin : width - margin, :]


def _stretched(length: int, side: int) -> np.ndarray:
    """Indices [length] of an axis of `side`: both ends as they are, the middle cut or repeated."""
    index = np.arange(length)
    from_start, from_end = np.minimum(index, side // 2), index - length + side
    return np.where(index < length // 2, from_start, np.maximum(from_end, side // 2))
