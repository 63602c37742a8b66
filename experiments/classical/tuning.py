"""Settings of the largest mean gain, found by Nelder and Mead's search over their logarithms.

A linear filter with the factor g(f) at frequency f leaves of a picture, in cosines,

    |x̂ - x|² = Σ_f g² |y_f|² - 2 g y_f x_f + |x_f|²                                            (1)

by Parseval's theorem, so it is tuned on three sums a ring of frequencies, taken once of the whole
pictures; other repairs on the 8-bit results that they make of windows.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import scipy.fft
from scipy.optimize import minimize

from i2sb_jax.corruptions.classical import layers_of
from i2sb_jax.pictures import from_uint8, to_pixels

_RINGS = 1024
Pair = tuple[np.ndarray, np.ndarray]
"""(clean, seen), float32 [h, w, 3] in [-1, 1]."""


class Rings(NamedTuple):
    """The sums of (1), |y|², y x and |x|², [2, 3, rings]: of luma, and of both chromas."""

    sums: np.ndarray


def rings_of(pair: Pair) -> Rings:
    """Takes the sums of one picture."""
    clean, seen = (
        [scipy.fft.dctn(layer, norm="ortho") for layer in layers_of(picture)] for picture in pair
    )
    height, width = clean[0].shape
    frequency = np.hypot(np.arange(height)[:, None] / (2 * height), np.arange(width) / (2 * width))
    ring = (frequency * (_RINGS / np.sqrt(0.5))).astype(int).ravel()
    sums = np.zeros((2, 3, _RINGS))
    for i, (x, y) in enumerate(zip(clean, seen, strict=True)):
        for row, product in enumerate((y * y, y * x, x * x)):
            sums[min(i, 1), row] += np.bincount(ring, product.ravel(), minlength=_RINGS)
    return Rings(sums)


def tune_filter(
    gains: Callable[..., Pair],
    start: Mapping[str, float],
    pictures: list[Rings],
    *,
    fixed: Mapping[str, float],
) -> dict[str, float]:
    """Tunes (frequency, **settings) -> factors of luma and chromas."""
    frequency = (np.arange(_RINGS) + 0.5) * (np.sqrt(0.5) / _RINGS)

    def loss(**settings: float) -> float:
        factors = np.stack(gains(frequency, **settings, **fixed))
        weights = np.stack([factors**2, -2 * factors, np.ones_like(factors)], axis=1)
        return float(np.mean([10 * np.log10(np.sum(weights * p.sums)) for p in pictures]))

    return _search(loss, start, evaluations=2000)


def tune(
    repair: Callable[..., np.ndarray],
    start: Mapping[str, float],
    pairs: list[Pair],
    *,
    evaluations: int,
) -> dict[str, float]:
    """Tunes (picture, **settings) -> repaired."""

    def loss(**settings: float) -> float:
        told = functools.partial(repair, **settings)
        return -float(np.mean([psnr(told(seen), clean) for clean, seen in pairs]))

    return _search(loss, start, evaluations=evaluations)


def psnr(picture: np.ndarray, clean: np.ndarray) -> float:
    """Of the picture in 8 bits."""
    return float(10 * np.log10(4 / np.mean((in_8_bits(picture) - clean) ** 2)))


def in_8_bits(picture: np.ndarray) -> np.ndarray:
    """Rounded to levels, as a file keeps it; float32 in [-1, 1]."""
    return from_uint8(to_pixels(picture, np.dtype(np.uint8)))


def _search(
    loss: Callable[..., float], start: Mapping[str, float], *, evaluations: int
) -> dict[str, float]:
    names, first = list(start), np.log(list(start.values()))
    steps = [0.1 if name == "sigma" else 0.4 for name in names]
    found = minimize(
        lambda x: loss(**dict(zip(names, np.exp(x), strict=True))), first, method="Nelder-Mead",
        options={
            "maxfev": evaluations,
            "initial_simplex": np.vstack([first, first + np.diag(steps)]),
            "xatol": 1e-3, "fatol": 1e-4,
        },
    )  # fmt: skip
    return {name: float(f"{np.exp(x):.3g}") for name, x in zip(names, found.x, strict=True)}
