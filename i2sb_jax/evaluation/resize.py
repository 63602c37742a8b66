"""The two resizes of the evaluation protocol, as PyTorch's `F.interpolate` defines them.

Half-pixel centres (`align_corners=False`), no antialias also where a picture shrinks, and taps
beyond the border read the border. Each is separable: one matrix along the rows, one along the
columns, made in float64 where PyTorch finds the positions in float32.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.types import Array

CUBIC_A = -0.75
"""PyTorch's and OpenCV's cubic; Keys' kernel and Pillow's has -0.5."""


def unit_range(images: Array) -> jax.Array:
    """Pictures as the classifiers' resizes take them.

    Args:
        images: uint8 [batch, h, w, 3].

    Returns:
        float32, the same shape, in [0, 1].

    Raises:
        ValueError: another type or shape, one line.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype}, must be uint8")
    if images.ndim != 4 or images.shape[3] != 3 or 0 in images.shape[1:3]:
        raise ValueError(f"images have shape {images.shape}, must be [batch, h, w, 3]")
    return jnp.asarray(images).astype(jnp.float32) / 255


def resize_bilinear(images: Array, size: int) -> jax.Array:
    """float32 [batch, h, w, c] -> [batch, size, size, c] by linear interpolation."""
    return _resize(images, size, bilinear_matrix)


def resize_bicubic(images: Array, size: int) -> jax.Array:
    """float32 [batch, h, w, c] -> [batch, size, size, c] by cubics of a = -0.75.

    The result is not clamped: it overshoots the range of the input at edges.
    """
    return _resize(images, size, bicubic_matrix)


def bilinear_matrix(length: int, size: int) -> np.ndarray:
    """float32 [size, length]: the weights of `length` samples in each of `size`; rows sum to 1."""
    position = np.maximum(_positions(length, size), 0)
    first = np.floor(position).astype(int)
    fraction = position - first
    return _gather(length, first, (0, 1), (1 - fraction, fraction))


def bicubic_matrix(length: int, size: int) -> np.ndarray:
    """Returns `bilinear_matrix` with four taps of the cubic convolution kernel (Keys 1981)."""
    position = _positions(length, size)
    first = np.floor(position).astype(int)
    fraction = position - first
    offsets = (-1, 0, 1, 2)
    return _gather(length, first, offsets, [_cubic(np.abs(fraction - tap)) for tap in offsets])


def _positions(length: int, size: int) -> np.ndarray:
    """Returns the centres of `size` pixels on the grid of `length`."""
    return (np.arange(size) + 0.5) * (length / size) - 0.5


def _cubic(distance: np.ndarray) -> np.ndarray:
    """The cubic convolution kernel at a distance of 0 ... 2 pixels."""
    near = ((CUBIC_A + 2) * distance - (CUBIC_A + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance - 4
    return np.where(distance <= 1, near, CUBIC_A * far)


def _gather(
    length: int, first: np.ndarray, offsets: Sequence[int], weights: Sequence[np.ndarray]
) -> np.ndarray:
    """The matrix of taps at `first` + offset; those beyond an end add to the last sample."""
    matrix = np.zeros((len(first), length))
    rows = np.arange(len(first))
    for offset, weight in zip(offsets, weights, strict=True):
        np.add.at(matrix, (rows, np.clip(first + offset, 0, length - 1)), weight)
    return matrix.astype(np.float32)


def _resize(images: Array, size: int, matrix: Callable[[int, int], np.ndarray]) -> jax.Array:
    rows, columns = (matrix(length, size) for length in images.shape[1:3])
    return jnp.einsum(
        "yh,bhwc,xw->byxc", rows, images, columns, precision=jax.lax.Precision.HIGHEST
    )
