"""What the photographic corruptions share: pixels of files, and pictures made larger."""

import numpy as np

from i2sb_jax.corruptions.constants import cubic


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
    for axis in (-3, -2):
        images = _enlarge_axis(images, weights, images.ndim + axis)
    return images


def _enlarge_axis(images: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    size, factor = images.shape[axis], len(weights)
    padding = [(0, 0)] * images.ndim
    padding[axis] = (2, 2)
    padded = np.moveaxis(np.pad(images, padding, mode="symmetric"), axis, 0)
    enlarged = np.empty((size, factor, *padded.shape[1:]), images.dtype)
    for phase, taps in enumerate(weights):
        first, *rest = np.flatnonzero(taps)
        enlarged[:, phase] = taps[first] * padded[first : first + size]
        for tap in rest:
            enlarged[:, phase] += taps[tap] * padded[tap : tap + size]
    return np.moveaxis(enlarged.reshape(size * factor, *padded.shape[1:]), 0, axis)
