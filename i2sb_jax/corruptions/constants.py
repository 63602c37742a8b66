"""The matrices and tables behind the operators. NumPy only; float64 inside, float32 out."""

import functools
from typing import NamedTuple

import numpy as np

# --- JPEG: JFIF colour matrices as published with DDRM -------------

YCBCR_FROM_RGB = np.array(
    [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]], np.float32
)
RGB_FROM_YCBCR = np.array(
    [
        [1.0, -3.68199903e-5, 1.40198758],
        [1.0, -0.344113281, -0.714103821],
        [1.0, 1.77197812, -1.34583413e-4],
    ],
    np.float32,
)


def quantisation_table(table: np.ndarray, quality: int) -> np.ndarray:
    """Scales an Annex K table [8, 8] to a quality in 1...100, as libjpeg does; integers 1...255."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((scale * table + 50) / 100), 1, 255).astype(np.float32)


def _dct_matrix() -> np.ndarray:
    frequency, sample = np.arange(8)[:, None], np.arange(8)[None, :]
    matrix = np.cos(np.pi * frequency * (2 * sample + 1) / 16) / 2
    matrix[0] /= np.sqrt(2)
    return matrix.astype(np.float32)


DCT = _dct_matrix()  # orthonormal DCT-II of length 8, [frequency, sample]


# --- Super-resolution: down by 4, up again by nearest neighbour ---------------------------------


def pool_matrix(size: int) -> np.ndarray:
    """[size / 4, size]: the mean of each run of four samples."""
    return np.kron(np.eye(size // 4), np.full((1, 4), 0.25)).astype(np.float32)


def bicubic_matrix(size: int) -> np.ndarray:
    """[size / 4, size]: the 16-tap antialiased cubic (a = -0.5) at every fourth sample.

    Tap i weighs cubic((i - 8 + 1/2) / 4), normalised. Row r of the small image gathers samples
    4r - 6 ... 4r + 9; beyond the borders the signal is mirrored with its last sample (-1 → 0).
    """
    taps = cubic((np.arange(16) - 7.5) / 4)
    taps /= taps.sum()
    rows = np.arange(size // 4)[:, None]
    columns = 4 * rows + 2 - 8 + np.arange(16)
    columns = np.where(columns < 0, -1 - columns, columns)
    columns = np.where(columns >= size, 2 * size - 1 - columns, columns)
    down = np.zeros((size // 4, size))
    np.add.at(down, (np.broadcast_to(rows, columns.shape), columns), taps)
    return down.astype(np.float32)


def cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """The kernel of cubic convolution (Keys 1981), 0 beyond |x| = 2."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


# --- Blur --------------------------------------------------------------------------------------

UNIFORM_KERNEL = np.full(9, 1 / 9)
GAUSSIAN_KERNEL = np.exp(-0.5 * (np.arange(-2, 3) / 10) ** 2)
GAUSSIAN_KERNEL /= GAUSSIAN_KERNEL.sum()


class BlurFactors(NamedTuple):
    """The published blur as y_c = U (F_c ∘ (Vᵀ x_c V)) Uᵀ.

    Attributes:
      u, v: [size, size], singular vectors in columns.
      gain: [size, size, 3], F; the last axis is the colour channel.
    """

    u: np.ndarray
    v: np.ndarray
    gain: np.ndarray


def blur_matrix(kernel: np.ndarray, size: int) -> np.ndarray:
    """K [size, size]: row i holds every tap but the last at columns i - len//2 ... i + len//2 - 1.

    Columns outside are left out, so borders darken; the dropped tap makes every row sum to less
    than 1, so all of the image darkens. Float64.
    """
    half = len(kernel) // 2
    matrix = np.zeros((size, size))
    for tap, weight in enumerate(kernel[:-1]):
        matrix += weight * np.eye(size, k=tap - half)
    return matrix


@functools.lru_cache(maxsize=8)
def _cached_blur_factors(kernel: tuple[float, ...], size: int) -> BlurFactors:
    u, singular, vt = np.linalg.svd(blur_matrix(np.array(kernel), size))
    singular = np.where(singular < 3e-2, 0.0, singular)
    products = np.outer(singular, singular).ravel()
    order = np.argsort(-products, kind="stable")
    descending = products[order]
    gain = np.empty((size * size, 3))
    position = np.arange(size * size)
    for channel in range(3):
        gain[order, channel] = descending[(3 * position + channel) % (size * size)]
    as_float32 = (u, vt.T, gain.reshape(size, size, 3))
    return BlurFactors(*(np.ascontiguousarray(part, np.float32) for part in as_float32))


def blur_factors(kernel: np.ndarray, size: int) -> BlurFactors:
    """Factors the published blur operator (DDRM, Kawar et al. 2022, as I²SB was trained with it).

    K = U diag(s) Vᵀ with s below 3e-2 set to 0; S = outer(s, s) flattened, perm its descending
    order, S' = S[perm], N = size². Coefficient perm[p] of channel c is multiplied by
    S'[(3p + c) mod N] where a plain blur has S'[p]: sorted factors of three channels interleaved
    met coefficients that were not. The published weights were trained with this slip. Equal
    products (outer(s, s) is symmetric, so most come in pairs) may be sorted either way; results of
    different sorts differ by less than half an 8-bit level at 256².
    """
    return _cached_blur_factors(tuple(kernel.tolist()), size)
