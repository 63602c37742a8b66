"""Pictures without files, made of their number alone: to measure a loop, or to try a new machine.

A few random pictures with the spectrum of photographs are periodic, so each of them, shifted by
whole pixels, gives many. What is trained on and what is held out are of different ones.
"""

import dataclasses
import functools

import numpy as np

from i2sb_jax.data.record import Record

SIDE = 256  # pixels
_SHIFT = 40_503  # odd, so multiples modulo SIDE² meet every shift once; neighbours lie far apart
_SPLITS = {"train": (range(8), 8192), "eval": (range(8, 10), 256)}  # seeds, pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticSource:
    """Shifted copies of a few random pictures, each uint8 [SIDE, SIDE, 3].

    Attributes:
        split: "train" or "eval".
        seeds: of the pictures that are shifted.
        count: number of pictures.
    """

    split: str
    seeds: range
    count: int

    def __len__(self) -> int:
        return self.count

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._name(index) for index in range(self.count))

    def read(self, index: int) -> Record:
        shift, seed = divmod(index, len(self.seeds))
        offset = divmod(shift * _SHIFT % SIDE**2, SIDE)
        image = np.roll(_unshifted(self.seeds[seed]), offset, axis=(0, 1))
        return Record(name=self._name(index), image=image)

    def _name(self, index: int) -> str:
        return f"{self.split}-{index:05d}"


def synthetic_source(*, split: str) -> SyntheticSource:
    """The pictures for "train" or "eval"; ValueError for any other split."""
    if split not in _SPLITS:
        raise ValueError(f"split={split!r} of synthetic must be 'train' or 'eval'")
    seeds, count = _SPLITS[split]
    return SyntheticSource(split=split, seeds=seeds, count=count)


def random_picture(seed: int, *, height: int, width: int) -> np.ndarray:
    """A periodic picture, uint8 [height, width, 3], whose amplitudes fall as 1 / frequency."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = np.inf  # the mean is set below
    noise = np.random.default_rng(seed).standard_normal((3, height, width))
    waves = np.fft.ifft2(np.fft.fft2(noise) / frequency).real
    light, warm, green = waves / waves.std(axis=(1, 2), keepdims=True)
    # as in photographs, most of the contrast is the same in all three channels
    colours = [light + 0.4 * warm, light + 0.4 * green - 0.2 * warm, light - 0.4 * warm]
    return np.clip(np.rint(115 + 40 * np.stack(colours, axis=-1)), 0, 255).astype(np.uint8)


@functools.cache
def _unshifted(seed: int) -> np.ndarray:
    return random_picture(seed, height=SIDE, width=SIDE)
