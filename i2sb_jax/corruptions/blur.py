"""Blur of images in [0, 1], as published with its spectral slip, and as a plain filter.

| name | operator |
|---|---|
| `blur-uni`, `blur-gauss` | y_c = U (F_c ∘ (Vᵀ x_c V)) Uᵀ, the operator of the published weights |
| `blur-uni-exact`, `blur-gauss-exact` | y_c = K x_c Kᵀ, with the K = U diag(s) Vᵀ behind it |

They differ: the published one zeroes singular values below 3e-2 and multiplies coefficients by one
another's factors (`constants.blur_factors` has the index). Both darken the image, since K lacks the
kernel's last tap. From DDRM (Kawar et al. 2022), as I²SB (Liu et al. 2023) uses it.
"""

import dataclasses

import numpy as np

from i2sb_jax.corruptions import constants
from i2sb_jax.corruptions.corruption import DeterministicCorruption
from i2sb_jax.corruptions.super_resolution import apply_separable


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SpectralBlur(DeterministicCorruption):
    """The published blur, y_c = U (F_c ∘ (Vᵀ x_c V)) Uᵀ.

    Attributes:
      factors: U, V and F.
      kernel: float64 [taps], all of them; the last is not in K.
    """

    factors: constants.BlurFactors
    kernel: np.ndarray

    def transform(self, xp, images):
        u, v, gain = self.factors
        coefficients = apply_separable(xp, v.T, (images + 1) / 2)
        return apply_separable(xp, u, coefficients * xp.asarray(gain[None])) * 2 - 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExactBlur(DeterministicCorruption):
    """The plain blur, y_c = K x_c Kᵀ.

    Attributes:
      matrix: K, float32 [image_size, image_size].
      kernel: float64 [taps], all of them; the last is not in K.
    """

    matrix: np.ndarray
    kernel: np.ndarray

    def transform(self, xp, images):
        return apply_separable(xp, self.matrix, (images + 1) / 2) * 2 - 1


def make_spectral_blur(name: str, image_size: int, kernel: np.ndarray) -> SpectralBlur:
    """The published blur with a kernel [taps]."""
    factors = constants.blur_factors(kernel, image_size)
    return SpectralBlur(name=name, image_size=image_size, factors=factors, kernel=kernel)


def make_exact_blur(name: str, image_size: int, kernel: np.ndarray) -> ExactBlur:
    """The plain blur with a kernel [taps]."""
    matrix = constants.blur_matrix(kernel, image_size).astype(np.float32)
    return ExactBlur(name=name, image_size=image_size, matrix=matrix, kernel=kernel)
