"""The classical repair that a trained bridge has to beat, for each kind of corruption.

The published tasks keep their customary repairs, which papers print; the photographic ones get the
best that was measured. The repairs themselves are in `corruptions/classical.py`.
"""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from i2sb_jax.corruptions import Corruption

_FACTOR = 4  # of the super-resolution corruptions


class Baseline(NamedTuple):
    """A named repair: (degraded [batch, h, w, 3] in [-1, 1], mask) -> repaired, same shape."""

    name: str
    repair: Callable[[np.ndarray, np.ndarray | None], np.ndarray]


def baseline_for(corruption: Corruption) -> Baseline | None:
    """The baseline of a corruption; None where there is no customary one (jpeg-Q, colour).

    Raises:
        ModuleNotFoundError: it needs a package that is not installed; one line.
    """
    # SciPy is imported only where a baseline is asked for
    from i2sb_jax.corruptions import classical, classical_settings

    name = corruption.facts.baseline
    match name:
        case "":
            return None
        case "bicubic upsampling":
            return Baseline(name, bicubic_upsampling)
        case "brightness matching":
            return Baseline(name, lambda x, _: classical.brightness_matching(corruption, x))
        case "biharmonic filling":
            if importlib.util.find_spec("skimage") is None:
                raise ModuleNotFoundError("biharmonic filling needs: pip install scikit-image")
            return Baseline(name, classical.biharmonic_filling)
    repair = classical_settings.best_repair(corruption.name).repair
    return Baseline(name, lambda x, _: np.stack([repair(picture) for picture in x]))


def bicubic_upsampling(degraded: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Takes one pixel of each 4×4 block and enlarges that by cubic interpolation."""
    del mask
    small = degraded[:, ::_FACTOR, ::_FACTOR]
    return np.asarray(jax.image.resize(small, degraded.shape, "cubic", antialias=False))
