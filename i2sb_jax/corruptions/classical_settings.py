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
from i2sb_jax.corruptions.jpeg_quality import estimate_quality
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
    1.0: _Wiener(0.998, 2.27, 3.68, 17.4, 2.57),
    1.5: _Wiener(1.5, 1.91, 3.22, 40.6, 2.73),
    2.0: _Wiener(2, 4.17, 3.58, 89.6, 2.98),
}
_WIENER_NOISELESS = {
    1.0: _Wiener(1.0, 0.0518, 2.97, 0.784, 3.12),
    1.5: _Wiener(1.5, 0.101, 3.24, 0.599, 2.3),
    2.0: _Wiener(2.0, 0.0635, 2.71, 0.679, 2.13),
}
_DEBLUR = _Deblur(1.11, 0.0767, 1.55, 14.9, 3.0, 5.73, 5.13)
_DEBLUR_TOLD = {
    1.0: _Deblur(1.0, 0.247, 3.2, 4.23, 3.0, 5.64, 5.47),
    1.5: _Deblur(1.5, 0.475, 3.2, 39.5, 3.0, 5.91, 4.51),
    2.0: _Deblur(2.0, 0.801, 3.2, 23.9, 3.0, 6.03, 6.36),
}
_DEBLUR_NOISELESS = {
    1.0: _Deblur(1.0, 0.0072, 3.2, 0.9, 3.0, 0.84, 0.78),
    1.5: _Deblur(1.5, 0.0072, 3.2, 0.9, 3.0, 0.84, 0.78),
    2.0: _Deblur(2.0, 0.0072, 3.2, 0.9, 3.0, 0.84, 0.78),
}
# Thresholds of luma and chroma over the noise's standard deviation, by that deviation in levels.
_NOISE_TOLD = {5: (2.44, 3.02), 10: (2.6, 3.0), 15: (2.6, 3.0), 25: (2.63, 3.83)}
# Thresholds in levels over the coarseness of the quantisation, by JPEG quality.
_JPEG_TOLD = {
    10: (11.0, 17.3),
    20: (13.6, 19.9),
    30: (15.5, 14.5),
    50: (18.0, 17.6),
    75: (19.1, 20.2),
}
# Of X_1, the small picture enlarged.
_REDUCTION = {
    2: _Wiener(0.883, 0.415, 0.91, 1.06, 1.14),
    4: _Wiener(1.86, 0.611, 0.829, 1.54, 1.03),
}
_REAL = _Deblur(0.9, 1.0, 1.5, 15.0, 3.0, 30.0, 40.0)


def best_repair(
    name: str,
    *,
    sigma: float | None = None,
    noise: float | None = None,
    quality: int | None = None,
) -> Repair | None:
    """The classical repair that gained most on training photographs.

    Without what may be told it is one setting for all that the corruption does, but that the level
    of noise and the quality of a JPEG file are estimated from the picture. A name whose range is
    one number tells it.

    Args:
        name: of a corruption. Of a reduction the repair takes X_1, the small picture enlarged.
        sigma: the width of the blur, pixels, where it is told (blur-photo).
        noise: the standard deviation of the noise, levels (noise, noise-float; of a blur of told
            width whether there is any).
        quality: of the JPEG file (jpeg-file, jpeg-told).

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
            known = only if sigma is None else sigma
            settings = _for_blur(known, noise, _DEBLUR, _DEBLUR_TOLD, _DEBLUR_NOISELESS)
            return _deblurring(settings)
        case "noise" | "noise-float":
            known = only if noise is None else noise
            return Repair("cosine thresholding", functools.partial(_denoise, noise=known))
        case "jpeg-file" | "jpeg-told":
            known = only if quality is None else quality
            return Repair("cosine thresholding", functools.partial(_smooth_file, quality=known))
        case "sr2x-photo" | "sr4x-photo":
            return Repair("bicubic and Wiener filter", _wiener(_REDUCTION[int(kind[2])]))
        case "real":
            return _deblurring(_REAL)
    return None


def wiener_filter(*, sigma: float | None = None, noise: float | None = None) -> Repair:
    """The Wiener filter alone, for blurs: the best linear one, and the one in textbooks.

    Args:
        sigma: the width of the blur, pixels, where it is told; else one setting for all.
        noise: 0 if it is told that there is none.
    """
    settings = _for_blur(sigma, noise, _WIENER, _WIENER_TOLD, _WIENER_NOISELESS)
    return Repair("Wiener filter", _wiener(settings))


def _for_blur(sigma, noise, default, known, noiseless):
    if sigma is None:
        return default
    between = _between(noiseless if noise == 0 else known, sigma)
    return type(default)(*between)._replace(sigma=sigma)


def _smooth_file(picture: np.ndarray, *, quality: float | None) -> np.ndarray:
    quality = estimate_quality(picture) if quality is None else quality
    if quality is None:  # flat
        return picture
    coarseness = 50 / quality if quality < 50 else 2 - quality / 50
    luma, chroma = _between(_JPEG_TOLD, quality)
    return _thresholding(luma * coarseness, chroma * coarseness)(picture)


def _denoise(picture: np.ndarray, *, noise: float | None) -> np.ndarray:
    deviation = classical.estimate_noise(picture) if noise is None else noise
    luma, chroma = _between(_NOISE_TOLD, deviation)
    return _thresholding(luma * deviation, chroma * deviation)(picture)


def _between(table: Mapping[float, tuple[float, ...]], level: float) -> tuple[float, ...]:
    """Settings between those of the nearest levels; beyond the last ones theirs."""
    return tuple(
        float(np.interp(level, list(table), column)) for column in zip(*table.values(), strict=True)
    )


def _deblurring(settings: _Deblur) -> Repair:
    repair = functools.partial(classical.wiener_thresholding, **settings._asdict())
    return Repair("Wiener filter and thresholding", repair)


def _wiener(settings: _Wiener) -> Callable[[np.ndarray], np.ndarray]:
    return functools.partial(classical.wiener, **settings._asdict())


def _thresholding(luma: float, chroma: float) -> Callable[[np.ndarray], np.ndarray]:
    return functools.partial(classical.dct_thresholding, threshold=luma, chroma_threshold=chroma)
