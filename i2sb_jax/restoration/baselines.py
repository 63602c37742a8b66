"""The classical repair that a trained bridge has to beat, for each kind of corruption."""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from i2sb_jax.corruptions import Corruption

_FACTOR = 4  # of the super-resolution corruptions
_DARKEST = 0.1  # below this share of the light, dividing by it would only amplify noise


class Baseline(NamedTuple):
    """A named repair: (degraded [batch, h, w, 3] in [-1, 1], mask) -> repaired, same shape."""

    name: str
    repair: Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def baseline_for(corruption: Corruption) -> Baseline | None:
    """The baseline of a corruption; None where there is no customary one (JPEG, colour).

    Raises:
        ModuleNotFoundError: it needs a package that is not installed; one line.
    """
    name = corruption.name
    if name in ("sr4x-pool", "sr4x-bicubic"):
        return Baseline("bicubic upsampling", bicubic_upsampling)
    if name in ("blur-uni", "blur-gauss", "blur-uni-exact", "blur-gauss-exact"):
        return Baseline("brightness matching", lambda x, _: brightness_matching(corruption, x))
    if corruption.has_mask:
        if importlib.util.find_spec("skimage") is None:
            raise ModuleNotFoundError("biharmonic filling needs: pip install scikit-image")
        return Baseline("biharmonic filling", biharmonic_filling)
    return None


def bicubic_upsampling(degraded: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Takes one pixel of each 4×4 block and enlarges that by cubic interpolation."""
    del mask
    small = degraded[:, ::_FACTOR, ::_FACTOR]
    return np.asarray(jax.image.resize(small, degraded.shape, "cubic", antialias=False))


def brightness_matching(corruption: Corruption, degraded: np.ndarray) -> np.ndarray:
    """Divides, in [0, 1], by what the blur leaves of a white picture.

    The blurs of I²SB drop a tap and pad with black, so they darken, most of all at the borders;
    this undoes that exactly and leaves only the smoothing.
    """
    white = np.ones((1, corruption.image_size, corruption.image_size, 3), np.float32)
    gain = np.maximum((corruption.degrade(white) + 1) / 2, _DARKEST)
    return np.clip((degraded + 1) / gain - 1, -1, 1)


def biharmonic_filling(degraded: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Fills holes with the solution of the biharmonic equation (scikit-image)."""
    from skimage.restoration import inpaint_biharmonic  # not in the base install

    return np.stack(
        [
            inpaint_biharmonic(image, hole[..., 0] > 0.5, channel_axis=-1)
            for image, hole in zip(degraded, mask, strict=True)
        ]
    ).astype(np.float32)
