"""Super-resolution ×4: x_c → A x_c Aᵀ, A = (nearest-neighbour up) · (filter down).

The operators published with DDRM (Kawar et al. 2022), as I²SB (Liu et al. 2023) uses them.
"""

import dataclasses
from types import ModuleType

import numpy as np

from i2sb_jax.corruptions import constants
from i2sb_jax.corruptions.backend import Array
from i2sb_jax.corruptions.corruption import DeterministicCorruption


def apply_separable(xp: ModuleType, matrix: np.ndarray, images: Array) -> Array:
    """A x_c Aᵀ for each channel c: matrix [m, n], images [batch, n, n, 3] to [batch, m, m, 3]."""
    m, n = matrix.shape
    rows = xp.matmul(xp.asarray(matrix), xp.reshape(images, (-1, n, n * 3)))
    # channels before columns, so that the second product is one of two matrices
    rows = xp.matrix_transpose(xp.reshape(rows, (-1, m, n, 3)))
    both = xp.matmul(xp.reshape(rows, (-1, n)), xp.asarray(matrix.T))
    return xp.matrix_transpose(xp.reshape(both, (-1, m, 3, m)))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SuperResolution(DeterministicCorruption):
    """Down by 4 with a separable filter, up again by nearest neighbour.

    Attributes:
      matrix: the filter, float32 [image_size / 4, image_size].
    """

    matrix: np.ndarray

    def transform(self, xp, images):
        small = apply_separable(xp, self.matrix, images)
        return xp.repeat(xp.repeat(small, 4, axis=2), 4, axis=1)


def make_pool(name: str, image_size: int) -> SuperResolution:
    """Block means of 4×4 pixels, repeated."""
    matrix = constants.pool_matrix(image_size)
    return SuperResolution(name=name, image_size=image_size, matrix=matrix)


def make_bicubic(name: str, image_size: int) -> SuperResolution:
    """The antialiased bicubic filter (16 taps, a = -0.5, mirrored borders), repeated."""
    matrix = constants.bicubic_matrix(image_size)
    return SuperResolution(name=name, image_size=image_size, matrix=matrix)
