"""95 % intervals from resampled pictures (Efron 1979)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

LEAST_PICTURES = 10  # that an interval is made of: resamples of fewer say little
MEAN_RESAMPLES, SET_RESAMPLES = 1000, 50
_CHUNK = 2**22  # draws held at once
_NORMAL_95 = 1.959964


class Figure(NamedTuple):
    """A number with its 95 % interval.

    Attributes:
        value: of all pictures; None where there is none.
        low: None where an interval makes no sense: of fewer than `LEAST_PICTURES`.
        high: as low.
        pictures: that it is of.
    """

    value: float | None
    low: float | None
    high: float | None
    pictures: int


NO_FIGURE = Figure(None, None, None, 0)


def mean_figure(values: np.ndarray, *, seed: int) -> Figure:
    """The mean of finite values, one a picture, with the percentile interval of its resamples.

    Args:
        values: [n]; those that are not finite are left out.
        seed: of the resampling.
    """
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return NO_FIGURE
    if len(values) < LEAST_PICTURES:
        return Figure(float(values.mean()), None, None, len(values))
    means = np.concatenate([values[drawn].mean(axis=1) for drawn in _draws(len(values), seed)])
    low, high = np.percentile(means, (2.5, 97.5))
    return Figure(float(values.mean()), float(low), float(high), len(values))


def set_figure(
    value: float,
    resampled: Callable[[np.ndarray], np.ndarray],
    count: int,
    *,
    seed: int,
    least: float = -np.inf,
) -> Figure:
    """A figure of a whole set, with value ± 1.96 standard deviations of its resamples.

    Resamples repeat pictures, and so are farther from any reference than the set itself is: their
    spread can be used, but not their place.

    Args:
        value: of the set.
        resampled: counts [resamples, n], how often each picture is drawn -> values [resamples].
        count: n.
        seed: of the resampling.
        least: what the figure can be; an interval ends there.
    """
    if count < LEAST_PICTURES:
        return Figure(value, None, None, count)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(count, np.full(count, 1 / count), size=SET_RESAMPLES)
    spread = float(np.std(resampled(counts), ddof=1)) * _NORMAL_95
    return Figure(value, max(value - spread, least), value + spread, count)


def _draws(count: int, seed: int) -> Iterator[np.ndarray]:
    """Numbers of drawn pictures, [some resamples, count] at a time."""
    generator, left = np.random.default_rng(seed), MEAN_RESAMPLES
    while left:
        rows = min(left, max(1, _CHUNK // count))
        yield generator.integers(0, count, (rows, count))
        left -= rows
