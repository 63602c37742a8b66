"""Pictures as people have them: what the photographic corruptions share.

The published operators define X_1 on a square of floats. A person has a file: pixels of whole 8-bit
levels, as large as it likes, of which a network sees a window. So these corruptions run on pictures
of any size, in float64 on the host of every backend, and what they give at a pixel depends on no
more than `facts.margin` pixels around it: a window that is cut with that margin, degraded and freed
of it equals the same place of the degraded whole picture.

What happens to a picture is decided by a few numbers in [0, 1) of its own. In training they are
drawn; an index takes row `index mod 4096` of one table whose columns are multiples of square roots,

    u_ij = frac(1/2 + i frac(√p_j)),  p = 5, 2, 3, 13, 7, 11, ...                             (1)

so that any few pictures in a row are spread evenly over what might happen, on every backend alike.
From the seventh column on numbers are random (and the same for ever): there evenness is of no use.
"""

import abc
import dataclasses
import functools
from typing import ClassVar

import numpy as np

from i2sb_jax.corruptions.constants import cubic
from i2sb_jax.corruptions.corruption import GRAIN, PARAMETERS, Corrupted, Corruption

# The roots whose fractions fill gaps fastest come first; 5 is the golden ratio's.
_PRIMES = (5, 2, 3, 13, 7, 11)
_ROWS = 4096


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Photographic(Corruption):
    """A corruption of pictures of any size, decided by `num_draws` numbers in [0, 1) a picture.

    Attributes:
      num_draws: of numbers that decide what happens.
      num_noises: of fields of N(0, 1), of the picture's shape, that are added on the way; `degrade`
        leaves them out.
    """

    num_draws: ClassVar[int]
    num_noises: ClassVar[int] = 0
    is_random = True

    @abc.abstractmethod
    def degrade_picture(
        self, image: np.ndarray, draws: np.ndarray, noise: np.ndarray | None = None
    ) -> np.ndarray:
        """X_1 of one picture, without randomness.

        Args:
          image: float32 [h, w, 3] in [-1, 1], of any size that `facts.unit` divides.
          draws: [num_draws] in [0, 1).
          noise: [num_noises, h, w, 3], as N(0, 1); None adds none.

        Returns:
          float32 [h, w, 3].
        """

    def corrupt(self, xp, keys, images, index):
        size = self.image_size
        draws = (
            xp.uniform(keys, PARAMETERS, (self.num_draws,))
            if index is None
            else self._spread(xp, index)
        )
        if not self.num_noises:
            return Corrupted(self._on_host(xp, images, draws))
        noise = xp.normal(keys, GRAIN, (self.num_noises, size, size, 3))
        return Corrupted(self._on_host(xp, images, draws, noise))

    def show(self, xp, images, mask, index):
        del mask
        return self._on_host(xp, images, self._spread(xp, index))

    def _spread(self, xp, index):
        return xp.take(_spread_table(self.num_draws), index % _ROWS)

    def _on_host(self, xp, *elements):
        return xp.map_on_host(self.degrade_picture, elements, (self.image_size,) * 2 + (3,))


@functools.cache
def _spread_table(columns: int) -> np.ndarray:
    """Equation (1), float32 [4096, columns]."""
    steps = np.sqrt(_PRIMES[:columns]) % 1
    even = (0.5 + np.arange(_ROWS)[:, None] * steps) % 1
    random = np.random.default_rng(0).random((max(0, columns - len(_PRIMES)), _ROWS))
    table = np.concatenate([even, random.T], axis=1)
    return np.minimum(table, 1 - 2**-24).astype(np.float32)  # rounding must not reach 1


def between(ends: tuple[float, float], draw: float) -> float:
    """The place between two ends that a number in [0, 1) tells."""
    low, high = ends
    return low + (high - low) * draw


def to_levels(image: np.ndarray) -> np.ndarray:
    """[-1, 1] as 8-bit levels 0 ... 255, unrounded float64."""
    return (image.astype(np.float64) + 1) * 127.5


def round_levels(levels: np.ndarray) -> np.ndarray:
    """Rounds and clips levels as a file does, uint8."""
    levels = np.rint(levels)
    return np.clip(levels, 0, 255, out=levels).astype(np.uint8)


def from_levels(levels: np.ndarray) -> np.ndarray:
    """Levels of a file as float32 in [-1, 1]."""
    return levels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def enlarge_smoothly(images: np.ndarray, factor: int) -> np.ndarray:
    """Enlarges pictures by a whole factor, bicubic as Pillow has it (a = -0.5, centres aligned).

    y_{f i + p} = Σ_k w_pk x_{i + k - 2}, w_pk = cubic(k - 2 + 1/2 - (p + 1/2) / f), along both
    sides; borders are mirrored with their last pixel (-1 → 0), where Pillow leaves taps out.

    Args:
      images: floats [..., h, w, c].
      factor: a positive integer.

    Returns:
      Of the same type, [..., factor·h, factor·w, c]. Values may leave the range of the images.
    """
    phases = (np.arange(factor)[:, None] + 0.5) / factor
    weights = cubic(np.arange(5) - 1.5 - phases).astype(images.dtype)  # [factor, 5]
    for axis in (-2, -3):  # the fast one while the picture is small
        images = _enlarge_axis(images, weights, images.ndim + axis)
    return images


def _enlarge_axis(images: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    size, factor = images.shape[axis], len(weights)
    padding = [(0, 0)] * images.ndim
    padding[axis] = (2, 2)
    padded = np.pad(images, padding, mode="symmetric")
    padded = np.ascontiguousarray(np.moveaxis(padded, axis, 0))  # strides of 3 floats are slow
    enlarged = np.empty((size, factor, *padded.shape[1:]), images.dtype)
    for phase, taps in enumerate(weights):
        first, *rest = np.flatnonzero(taps)
        enlarged[:, phase] = taps[first] * padded[first : first + size]
        for tap in rest:
            enlarged[:, phase] += taps[tap] * padded[tap : tap + size]
    return np.moveaxis(enlarged.reshape(size * factor, *padded.shape[1:]), 0, axis)
