"""Gaussian noise, as a file has it and as papers report it.

| name | X_1, in 8-bit levels |
|---|---|
| `noise-LO-HI` | round(x + s n), clipped to 0...255 |
| `noise-float-LO-HI` | x + s n, neither rounded nor clipped |

n ~ N(0, 1) at each pixel and colour, s uniform in LO...HI for each picture.
"""

import dataclasses

import numpy as np

from i2sb_jax.corruptions.photographic import (
    Photographic,
    between,
    from_levels,
    round_levels,
    to_levels,
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Noise(Photographic):
    """The noise of a file. There is no gradient.

    Attributes:
      low, high: the range of s in 8-bit levels.
    """

    low: float
    high: float
    num_draws = 1
    num_noises = 1

    def degrade_picture(self, image, draws, noise=None):
        return from_levels(round_levels(self.noisy_levels(image, draws, noise)))

    def noisy_levels(
        self, image: np.ndarray, draws: np.ndarray, noise: np.ndarray | None
    ) -> np.ndarray:
        """X + s n, float64."""
        levels = to_levels(image)
        if noise is not None:
            levels += between((self.low, self.high), float(draws[0])) * noise[0]
        return levels


class FloatNoise(Noise):
    """The same without rounding and clipping."""

    def degrade_picture(self, image, draws, noise=None):
        levels = self.noisy_levels(image, draws, noise)
        return (levels / 127.5 - 1).astype(np.float32)


def make_noise(name: str, image_size: int, low: float, high: float) -> Noise:
    """Noise of a file, of `low` ... `high` levels."""
    return Noise(name=name, image_size=image_size, low=low, high=high)


def make_float_noise(name: str, image_size: int, low: float, high: float) -> FloatNoise:
    """Noise on floats, of `low` ... `high` levels."""
    return FloatNoise(name=name, image_size=image_size, low=low, high=high)
