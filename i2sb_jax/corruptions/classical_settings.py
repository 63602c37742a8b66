"""The best classical repair of each photographic corruption, with the settings tuned for it.

All numbers below were found by

    python -m experiments.classical

on training photographs of scikit-image; its README has what each repair gains.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from i2sb_jax.corruptions import classical
from i2sb_jax.corruptions.names import parse_name


class Repair(NamedTuple):
    """A named repair: picture float32 [h, w, 1 or 3] in [-1, 1] -> repaired, same size."""

    name: str
    repair: Callable[[np.ndarray], np.ndarray]


class _Wiener(NamedTuple):
    sigma: float
    ratio: float
    power: float
    chroma_ratio: float
    chroma_power: float


class _Deblur(NamedTuple):
    sigma: float
    ratio: float
    power: float
    chroma_ratio: float
    chroma_power: float
    threshold: float
    chroma_threshold: float


# One setting for Gaussian blurs of widths 1, 1.5 and 2 with noise of 2 levels, then each told,
# then each told that there is no noise but that of rounding.
_WIENER = _Wiener(1.19, 0.293, 1.41, 97.8, 3.02)
_WIENER_TOLD = {
    1.0: _Wiener(0.997, 4.34, 3.65, 26.3, 2.62),
    1.5: _Wiener(1.5, 3.76, 3.23, 66.9, 2.82),
    2.0: _Wiener(2.0, 8.46, 3.64, 157, 3.12),
}
_WIENER_NOISELESS = {
    1.0: _Wiener(1.0, 0.0518, 2.97, 0.784, 3.12),
    1.5: _Wiener(1.5, 0.101, 3.24, 0.599, 2.3),
    2.0: _Wiener(2.0, 0.0635, 2.71, 0.679, 2.13),
}
_DEBLUR = _Deblur(1.11, 0.0551, 1.4, 10.7, 3.0, 5.91, 5.55)
_DEBLUR_TOLD = {
    1.0: _Deblur(1.0, 0.297, 3.2, 65.7, 3.0, 5.71, 4.79),
    1.5: _Deblur(1.5, 0.297, 3.2, 65.7, 3.0, 5.71, 4.79),
    2.0: _Deblur(2.0, 0.297, 3.2, 65.7, 3.0, 5.71, 4.79),
}
_DEBLUR_NOISELESS = {
    1.0: _Deblur(1.0, 0.045, 3.2, 0.45, 3.0, 0.75, 1.05),
    1.5: _Deblur(1.5, 0.045, 3.2, 0.45, 3.0, 0.75, 1.05),
    2.0: _Deblur(2.0, 0.045, 3.2, 0.45, 3.0, 0.75, 1.05),
}
# Thresholds of luma and chroma over the noise's standard deviation, by that deviation in levels.
_NOISE_TOLD = {5: (2.6, 3.0), 10: (2.6, 3.0), 15: (2.6, 3.0), 25: (2.6, 3.0)}
# Thresholds in levels over the coarseness of the quantisation, by JPEG quality.
_JPEG_TOLD = {q: (11.0, 16.0) for q in (10, 20, 30, 50, 75, 90)}
_JPEG = (10.0, 15.0)  # levels, of any quality
# Of X_1, the small picture enlarged.
_REDUCTION = {
    2: _Wiener(0.883, 0.415, 0.91, 1.06, 1.14),
    4: _Wiener(1.86, 0.611, 0.829, 1.54, 1.03),
}
_REAL = (10.0, 15.0)  # levels


def best_repair(
    name: str,
    *,
    sigma: float | None = None,
    noise: float | None = None,
    quality: int | None = None,
) -> Repair | None:
    """The classical repair that gained most on training photographs.

    Without what may be told it is one setting for all that the corruption does, but that noise of
    an unknown level is estimated from the picture. A name whose range is one number tells it.

    Args:
        name: of a corruption. Of a reduction the repair takes X_1, the small picture enlarged.
        sigma: the width of the blur, pixels, where it is told (blur-photo).
        noise: the standard deviation of the noise, levels (noise, noise-float; of a blur of told
            width whether there is any).
        quality: of the JPEG file (jpeg-file).

    Returns:
        The repair; None for the published corruptions, whose customary ones are in
        `restoration/baselines.py`.

    Raises:
        ValueError: an unknown name.
    """
    kind, low, high = parse_name(name)
    only = low if low == high else None
    match kind:
        case "blur-photo":
            told = only if sigma is None else sigma
            settings = _for_blur(told, noise, _DEBLUR, _DEBLUR_TOLD, _DEBLUR_NOISELESS)
            repair = functools.partial(classical.wiener_thresholding, **settings._asdict())
            return Repair("Wiener filter and thresholding", repair)
        case "noise" | "noise-float":
            told = only if noise is None else noise
            return Repair("cosine thresholding", functools.partial(_denoise, noise=told))
        case "jpeg-file":
            settings = _jpeg(only if quality is None else quality)
            return Repair("cosine thresholding", _thresholding(*settings))
        case "sr2x-photo" | "sr4x-photo":
            return Repair("bicubic and Wiener filter", _wiener(_REDUCTION[int(kind[2])]))
        case "real":
            return Repair("cosine thresholding", _thresholding(*_REAL))
    return None


def wiener_filter(*, sigma: float | None = None, noise: float | None = None) -> Repair:
    """The Wiener filter alone, for blurs: the best linear one, and the one in textbooks.

    Args:
        sigma: the width of the blur, pixels, where it is told; else one setting for all.
        noise: 0 if it is told that there is none.
    """
    settings = _for_blur(sigma, noise, _WIENER, _WIENER_TOLD, _WIENER_NOISELESS)
    return Repair("Wiener filter", _wiener(settings))


def _for_blur(sigma, noise, untold, told, noiseless):
    if sigma is None:
        return untold
    between = _between(noiseless if noise == 0 else told, sigma)
    return type(untold)(*between)._replace(sigma=sigma)


def _jpeg(quality: float | None) -> tuple[float, float]:
    if quality is None:
        return _JPEG
    coarseness = 50 / quality if quality < 50 else 2 - quality / 50
    luma, chroma = _between(_JPEG_TOLD, quality)
    return luma * coarseness, chroma * coarseness


def _denoise(picture: np.ndarray, *, noise: float | None) -> np.ndarray:
    deviation = classical.estimate_noise(picture) if noise is None else noise
    luma, chroma = _between(_NOISE_TOLD, deviation)
    return _thresholding(luma * deviation, chroma * deviation)(picture)


def _between(table: Mapping[float, tuple[float, ...]], level: float) -> tuple[float, ...]:
    """Settings between those of the nearest levels; beyond the last ones theirs."""
    return tuple(
        float(np.interp(level, list(table), column)) for column in zip(*table.values(), strict=True)
    )


def _wiener(settings: _Wiener) -> Callable[[np.ndarray], np.ndarray]:
    return functools.partial(classical.wiener, **settings._asdict())


def _thresholding(luma: float, chroma: float) -> Callable[[np.ndarray], np.ndarray]:
    return functools.partial(classical.dct_thresholding, threshold=luma, chroma_threshold=chroma)
