"""Data consistency: pictures made to agree with what a degraded one says for certain.

A network's X̂_0, degraded once more, is not the picture y that it was made of. Where the operator A
is known, X̂_0 can be moved to where it is (CDDB, Chung et al. 2023, arXiv 2305.19809):

    X̂_0 ← X̂_0 + A⁺ (y - A X̂_0)                       projection                            (1)
    X̂_0 ← X̂_0 + Aᵀ (y - A X̂_0) / ‖A‖²                 gradient of ‖A X̂_0 - y‖², η = 1/(2‖A‖²)  (2)

Most operators here are separable, A x + 1 = U (S ∘ (Vᵀ (x + 1) V)) Uᵀ for each channel, with white
as it was. In these waves (1) multiplies by S / (S² + λ), and λ = (σ_y / σ_e)² keeps what y was
rounded by, σ_y, from being amplified: σ_e is how far X̂_0 is taken to be off. (2) multiplies by
S / max S². Nothing is asked of pixels of y that were clipped, but to stay beyond.

JPEG is no linear operator: it is known of each cosine c that

    (k - 1/2) T - w <= c <= (k + 1/2) T + w                                                 (3)

with the file's whole numbers k and steps T. c is clipped to this cell, which is its projection, for
the DCT is orthonormal. Where chroma is halved by means D over pixels, D Dᵀ = I / n of n pixels, so
that D⁺ repeats: what is missing is added to each of the n. Encoders round colours to 8 bits before
the DCT, and means again: by that the clean picture's own c leaves the cell, and w lets it
(`encoder_rounding`).

A measurement is a pytree of arrays, which a compiled program takes as any other input.
"""

import functools
import math
import re
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.corruptions import constants
from i2sb_jax.corruptions.backend import backend_of
from i2sb_jax.corruptions.colorize import GREY_FROM_RGB
from i2sb_jax.corruptions.jpeg import block_dct
from i2sb_jax.corruptions.names import parse_name
from i2sb_jax.corruptions.photo_blur import gaussian_psf
from i2sb_jax.jpeg_tables import CHROMINANCE_TABLE, LUMINANCE_TABLE
from i2sb_jax.types import Array

METHODS = ("projection", "gradient")
KERNELS = ("box", "bilinear", "bicubic", "lanczos")

EIGHT_BITS = 2 / 255 / math.sqrt(12)  # standard deviation of rounding to them, of [-1, 1]
_FLOAT = 1e-6  # the same of float32 after some products
_ERROR = 0.05  # σ_e: 32 dB

_WIDENING = 1.0  # standard deviations of an encoder's rounding by which a cell is wider, w of (3)

# luma and chromas of RGB as files have them (JFIF)
_YCBCR = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168735892, -0.331264108, 0.5],
        [0.5, -0.418687589, -0.081312411],
    ]
)
_MATRICES_OF_FILES = (_YCBCR.astype(np.float32), np.linalg.inv(_YCBCR).astype(np.float32))


class Measurement(Protocol):
    """A degraded picture and its operator."""

    def correct(self, x0: Array) -> Array:
        """X̂_0 [h, w, 3] in [-1, 1] moved to agree with it."""


class Factors(NamedTuple):
    """A matrix along one side, U diag(s) Vᵀ.

    Attributes:
      u: [m, k].
      v: [n, k].
    """

    u: Array
    v: Array


class LinearMeasurement(NamedTuple):
    """A picture y of a separable operator.

    Attributes:
      low, high: what A x has to lie between, [m, m', 3]; both y, but where y was clipped.
      rows, columns: factors of A.
      gain: S, [k, k', 1] or one for each channel.
      back: what waves of y - A x are multiplied by.
    """

    low: Array
    high: Array
    rows: Factors
    columns: Factors
    gain: Array
    back: Array

    def degraded(self, x0: Array) -> Array:
        """A x of [n, n', 3]: [m, m', 3]."""
        waves = _both_sides(self.rows.v, self.columns.v, x0 + 1)
        return _both_sides(self.rows.u.T, self.columns.u.T, self.gain * waves) - 1

    def transposed(self, y: Array) -> Array:
        """Aᵀ y without the constant, of [m, m', 3]: [n, n', 3]."""
        waves = _both_sides(self.rows.u, self.columns.u, y)
        return _both_sides(self.rows.v.T, self.columns.v.T, self.gain * waves)

    def correct(self, x0: Array) -> Array:
        """Equation (1) or (2), as `back` has it."""
        again = self.degraded(x0)
        missing = _namespace(again).clip(again, self.low, self.high) - again
        waves = self.back * _both_sides(self.rows.u, self.columns.u, missing)
        return x0 + _both_sides(self.rows.v.T, self.columns.v.T, waves)


class JpegCell(NamedTuple):
    """The cosines that a JPEG file allows, (3), in 8-bit levels and in their blocks' places.

    Attributes:
      luma, luma_half: middles and half widths [h, w]; infinitely wide where nothing is known.
      chroma, chroma_half: the same [h / n, w / n', 2].
      weights: of the n × n' pixels that share a chroma, [n, n'], sum 1.
      ycbcr: [3, 3], luma and chromas of RGB.
      rgb: [3, 3], its inverse.
    """

    luma: Array
    luma_half: Array
    chroma: Array
    chroma_half: Array
    weights: Array
    ycbcr: Array
    rgb: Array

    def cosines(self, x0: Array) -> tuple[Array, Array]:
        """Cosines of a picture [h, w, 3]: luma [h, w] and chroma [h / n, w / n', 2]."""
        ycbcr = _mixed(self.ycbcr, (x0 + 1) * 127.5)
        down, across = self.weights.shape
        height, width = x0.shape[:2]
        shared = ycbcr[..., 1:].reshape(height // down, down, width // across, across, 2)
        means = _einsum("ydxac,da->yxc", shared, self.weights)
        return _block_dct(ycbcr[..., :1] - 128)[..., 0], _block_dct(means)

    def outside(self, x0: Array) -> tuple[Array, Array]:
        """How far the nearest allowed cosines are from those of a picture, signed; as `cosines`."""
        luma, chroma = self.cosines(x0)
        return (
            _to_cell(luma, self.luma, self.luma_half),
            _to_cell(chroma, self.chroma, self.chroma_half),
        )

    def correct(self, x0: Array) -> Array:
        """Clips cosines to their cells; what is missing of a chroma goes to its pixels by D⁺."""
        luma, chroma = self.outside(x0)
        luma = _block_dct(luma[..., None], inverse=True)
        share = self.weights / (self.weights**2).sum()
        chroma = _einsum("yxc,da->ydxac", _block_dct(chroma, inverse=True), share)
        chroma = chroma.reshape(*luma.shape[:2], 2)
        change = _mixed(self.rgb[:, :1], luma) + _mixed(self.rgb[:, 1:], chroma)
        return x0 + change / 127.5


class GreyMeasurement(NamedTuple):
    """The luma of a picture, as `colorize` has it.

    Attributes:
      grey: [h, w, 1].
    """

    grey: Array

    def correct(self, x0: Array) -> Array:
        """Equation (1), A⁺ = wᵀ / ‖w‖² of luma's weights w."""
        weights = GREY_FROM_RGB[:1]
        missing = self.grey - _mixed(weights, x0)
        return x0 + _mixed(weights.T / np.sum(weights**2), missing)


class KnownPixels(NamedTuple):
    """Pixels outside of holes.

    Attributes:
      image: [h, w, 3], of any value in holes.
      mask: [h, w, 1], 1 = hole.
    """

    image: Array
    mask: Array

    def correct(self, x0: Array) -> Array:
        """Puts them back, A⁺ of a mask."""
        return _namespace(x0).where(self.mask > 0.5, x0, self.image)


_GAUSSIAN = re.compile(r"gauss-(\d{1,2}(?:\.\d{1,3})?)", re.ASCII)
_WIDEST = 20.0  # pixels

# corruptions that draw their operator -> what a person may name
_BLIND = {
    "sr2x-photo": KERNELS,
    "sr4x-photo": KERNELS,
    "blur-photo": ("gauss-S with S its width in pixels, e.g. gauss-1.5",),
}
_UNKNOWN = {
    "noise": "changes every pixel at random, and tells none for certain",
    "noise-float": "changes every pixel at random, and tells none for certain",
    "real": "is a chain of operators that pictures do not tell",
    "mixture": "is of several operators",
}


def refusal(corruption: str, operator: str = "") -> str:
    """Why pictures of a corruption tell nothing to be consistent with; "" where they do.

    Args:
      corruption: its name.
      operator: the one that made the pictures, where the corruption draws it.
    """
    kind = parse_name(corruption).kind
    if kind in _UNKNOWN:
        return f"{corruption} {_UNKNOWN[kind]}"
    if kind not in _BLIND:
        if not operator:
            return ""
        return f"{corruption} is an operator of its own: leave out operator={operator!r}"
    if operator and (operator in _BLIND[kind] or _is_blur(kind, operator)):
        return ""
    known = ", ".join(_BLIND[kind])
    if operator:
        return f"operator={operator!r} of {corruption} must be one of {known}"
    return f"{corruption} draws its operator, which pictures do not tell: name it, one of {known}"


def x1_refusal(corruption: str) -> str:
    """Why X_1 alone, without its file, tells nothing to be consistent with; "" where it does."""
    if reason := refusal(corruption) if parse_name(corruption).kind not in _BLIND else "":
        return reason
    if parse_name(corruption).kind in _PUBLISHED:
        return ""
    return f"X_1 of {corruption} alone does not tell how it was made: only pictures of one's own do"


def blur_width(operator: str) -> float | None:
    """The width in pixels of a Gaussian blur by its name; None of other names."""
    match = _GAUSSIAN.fullmatch(operator)
    return float(match[1]) if match and 0 < float(match[1]) <= _WIDEST else None


def _is_blur(kind: str, operator: str) -> bool:
    return kind == "blur-photo" and blur_width(operator) is not None


# --- Separable operators ------------------------------------------------------------------------


class Decomposed(NamedTuple):
    """A matrix along one side with its singular values, U diag(s) Vᵀ.

    Attributes:
      u: [m, k].
      s: [k].
      v: [n, k].
    """

    u: np.ndarray
    s: np.ndarray
    v: np.ndarray


def decompose(matrix: np.ndarray, *, most: int | None = None) -> Decomposed:
    """The singular values of a matrix [m, n], float32; only so many, the largest, if `most`."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    kept = (u[:, :most], s[:most], vt[:most].T)
    return Decomposed(*(np.ascontiguousarray(x, np.float32) for x in kept))


def separable_measurement(
    low: Array,
    high: Array,
    rows: Decomposed,
    columns: Decomposed,
    *,
    rounding: float,
    method: str,
) -> LinearMeasurement:
    """A picture whose rows and columns were multiplied by matrices.

    Args:
      low: what it has to be at least, [m, m', 3].
      high: at most.
      rows: the matrix along the height.
      columns: along the width.
      rounding: standard deviation of what y was rounded by, [-1, 1].
      method: one of METHODS.
    """
    gain = np.multiply.outer(rows.s, columns.s)[..., None]
    factors = (Factors(each.u, each.v) for each in (rows, columns))
    return LinearMeasurement(low, high, *factors, gain, _back(gain, rounding, method))


def _back(gain: np.ndarray, rounding: float, method: str) -> np.ndarray:
    if method == "gradient":
        return gain / np.max(gain) ** 2
    return (gain / (gain**2 + (rounding / _ERROR) ** 2)).astype(np.float32)


@functools.lru_cache(maxsize=64)
def reduction_factors(kernel: str, factor: int, length: int, start: int, side: int) -> Decomposed:
    """How a window of one side of a photograph shows in the photograph reduced.

    Pixels of the reduced one that look beyond the window, or lie outside of the photograph, have
    rows of zeros: nothing is asked of them.

    Args:
      kernel: one of KERNELS, as Pillow reduces.
      factor: of the reduction.
      length: of the photograph, pixels, a multiple of `factor`.
      start: of the window, a multiple of `factor`; may be negative.
      side: of the window, a multiple of `factor`.
    """
    matrix = np.zeros((side // factor, side))
    for row in range(side // factor):
        place = start // factor + row
        if 0 <= place < length // factor:
            first, taps = _reduction_taps(kernel, factor, length, place)
            if start <= first and first + len(taps) <= start + side:
                matrix[row, first - start : first - start + len(taps)] = taps
    return decompose(matrix)


def _reduction_taps(kernel: str, factor: int, length: int, place: int) -> tuple[int, np.ndarray]:
    """(first pixel, weights) of a pixel of a reduced picture; outside of the large one are none."""
    weigh, support = _WEIGHTS[kernel]
    centre = (place + 0.5) * factor
    first = max(int(centre - support * factor + 0.5), 0)
    last = min(int(centre + support * factor + 0.5), length)
    taps = weigh((np.arange(first, last) - centre + 0.5) / factor)
    return first, taps / taps.sum()


# kernel -> its weight at a distance in reduced pixels, and where it ends
_WEIGHTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "box": (lambda x: ((x > -0.5) & (x <= 0.5)).astype(float), 0.5),
    "bilinear": (lambda x: np.maximum(1 - np.abs(x), 0), 1.0),
    "bicubic": (constants.cubic, 2.0),
    "lanczos": (lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0), 3.0),
}


@functools.lru_cache(maxsize=64)
def blur_factors(width: float, length: int, start: int, side: int) -> Decomposed:
    """The same of a photograph blurred by a Gaussian of a width in pixels, mirrored at its ends.

    Waves of which less than a thousandth comes through are left out: exp(-σ² ω² / 2) < 1e-3.
    """
    taps = gaussian_psf(width, width, 0.0).sum(axis=0)
    radius, matrix = len(taps) // 2, np.zeros((side, side))
    for row in range(side):
        pixels = start + row + np.arange(-radius, radius + 1)
        if 0 <= start + row < length:
            pixels = np.where(pixels < 0, -1 - pixels, pixels)
            pixels = np.where(pixels >= length, 2 * length - 1 - pixels, pixels) - start
            if pixels.min() >= 0 and pixels.max() < side:
                np.add.at(matrix[row], pixels, taps)
    limit = math.sqrt(2 * math.log(1e3)) / width / math.pi  # of the waves that pixels have
    return decompose(matrix, most=min(side, math.ceil(limit * side) + 1))


# --- Whole pictures under the published operators -----------------------------------------------


def measure(
    corruption: str, x1: Array, mask: Array | None, cond: Array | None, *, method: str
) -> Measurement:
    """The measurement that X_1 of a published operator is; traceable.

    Args:
      corruption: its name.
      x1: the whole picture, [h, w, 3], as the operator left it.
      mask: [h, w, 1], 1 = hole; of inpainting.
      cond: [h, w, 3]; of `colorize`.
      method: one of METHODS.

    Raises:
      ValueError: X_1 alone does not tell how it was made; one line.
    """
    kind, quality, _ = parse_name(corruption)
    if kind in _MATRICES:
        y = x1[::4, ::4] if kind.startswith("sr4x") else x1
        sides = (_published_factors(kind, side) for side in x1.shape[:2])
        return separable_measurement(y, y, *sides, rounding=_FLOAT, method=method)
    if kind in _SPECTRAL:
        return _spectral_blur(_SPECTRAL[kind], x1, method)
    if kind in _HOLES:
        return KnownPixels(x1, mask)
    if kind == "colorize":
        return GreyMeasurement(cond[..., :1])
    if kind == "jpeg":
        return _published_jpeg(x1, int(quality))
    raise ValueError(x1_refusal(corruption))


_MATRICES: dict[str, Callable[[int], np.ndarray]] = {
    "sr4x-pool": constants.pool_matrix,
    "sr4x-bicubic": constants.bicubic_matrix,
    "blur-uni-exact": functools.partial(constants.blur_matrix, constants.UNIFORM_KERNEL),
    "blur-gauss-exact": functools.partial(constants.blur_matrix, constants.GAUSSIAN_KERNEL),
}
_SPECTRAL = {"blur-uni": constants.UNIFORM_KERNEL, "blur-gauss": constants.GAUSSIAN_KERNEL}
_HOLES = ("inpaint-center", "inpaint-freeform1020", "inpaint-freeform2030")
_PUBLISHED = (*_MATRICES, *_SPECTRAL, *_HOLES, "colorize", "jpeg")


@functools.lru_cache(maxsize=16)
def _published_factors(kind: str, side: int) -> Decomposed:
    return decompose(_MATRICES[kind](side))


def _spectral_blur(kernel: np.ndarray, x1: Array, method: str) -> LinearMeasurement:
    height, width = x1.shape[:2]
    if height != width:
        raise ValueError(f"the published blur is of squares, got {height}x{width}")
    u, v, gain = constants.blur_factors(kernel, height)
    factors = Factors(u, v)
    return LinearMeasurement(x1, x1, factors, factors, gain, _back(gain, _FLOAT, method))


def _published_jpeg(x1: Array, quality: int) -> JpegCell:
    luma, chroma = (
        constants.quantisation_table(table, quality)
        for table in (LUMINANCE_TABLE, CHROMINANCE_TABLE)
    )
    rows, columns = (side // 8 for side in x1.shape[:2])
    luma = np.tile(luma, (rows, columns))
    chroma = np.tile(chroma, (rows // 2, columns // 2))[..., None].repeat(2, axis=2)
    every_second = np.float32([[1, 0], [0, 0]])
    matrices = constants.YCBCR_FROM_RGB, np.linalg.inv(constants.YCBCR_FROM_RGB)
    cell = JpegCell(luma, luma / 2, chroma, chroma / 2, every_second, *matrices)
    at_luma, at_chroma = cell.cosines(x1)
    return cell._replace(
        luma=(at_luma / luma).round() * luma, chroma=(at_chroma / chroma).round() * chroma
    )


# --- JPEG files ---------------------------------------------------------------------------------


class JpegPlane(NamedTuple):
    """The blocks of a JPEG file that lie in a window.

    Attributes:
      waves: whole numbers [rows, columns, 8, 8].
      table: steps [8, 8].
      known: bool [rows, columns]; of other blocks nothing is known.
      down, across: pixels of the picture that share one of the plane.
    """

    waves: np.ndarray
    table: np.ndarray
    known: np.ndarray
    down: int
    across: int


def file_cell(luma: JpegPlane, chroma: Sequence[JpegPlane]) -> JpegCell:
    """The cell of a window of a JPEG file.

    Args:
      luma: at every pixel.
      chroma: two, sampled alike; or none, where there is no colour.
    """
    middle, half = _middle_and_half(luma)
    if not chroma:
        grey = np.zeros((*middle.shape, 2), np.float32)
        return JpegCell(middle, half, grey, grey, np.ones((1, 1), np.float32), *_MATRICES_OF_FILES)
    pairs = [_middle_and_half(plane) for plane in chroma]
    middles, halves = (np.stack(parts, axis=2) for parts in zip(*pairs, strict=True))
    shared = chroma[0].down, chroma[0].across
    weights = np.full(shared, 1 / math.prod(shared), np.float32)
    return JpegCell(middle, half, middles, halves, weights, *_MATRICES_OF_FILES)


def _middle_and_half(plane: JpegPlane) -> tuple[np.ndarray, np.ndarray]:
    """Middles and half widths of a plane's cells in their places, float32 [h, w]."""
    half = plane.table / 2 + _WIDENING * encoder_rounding(plane.down, plane.across)
    half = np.where(plane.known[..., None, None], half, np.inf)
    rows, columns = plane.known.shape
    return tuple(
        x.astype(np.float32).swapaxes(1, 2).reshape(8 * rows, 8 * columns)
        for x in (plane.waves * plane.table, half)
    )


def encoder_rounding(down: int, across: int) -> float:
    """Standard deviation of what an encoder's rounding adds to a cosine, 8-bit levels.

    Luma, and chroma at every pixel, are rounded once: 1 / √12. Means over n pixels are means of
    rounded ones, and rounded to whole levels again: of multiples of 1/n, σ² = 1/12 + 1/(6 n²) where
    n is even.

    Args:
      down: rows that share a sample.
      across: columns.
    """
    count = down * across
    if count == 1:
        return math.sqrt(1 / 12)
    return math.sqrt(1 / (12 * count) + 1 / 12 + 1 / (6 * count**2))


# --- Arithmetic ---------------------------------------------------------------------------------


def _namespace(x: Array) -> ModuleType:
    """NumPy of its own arrays: what runs once need not be compiled."""
    return np if isinstance(x, np.ndarray) else jnp


def _einsum(spec: str, *arrays: Array) -> Array:
    """Sums of products, in full float32."""
    if all(isinstance(x, np.ndarray) for x in arrays):
        return np.einsum(spec, *arrays, optimize=True)
    return jnp.einsum(spec, *arrays, precision=jax.lax.Precision.HIGHEST)


def _both_sides(left: Array, right: Array, x: Array) -> Array:
    """leftᵀ x right of each channel: [n, k], [n', k'] and [n, n', 3] to [k, k', 3]."""
    return _einsum("kmc,ml->klc", _einsum("nk,nmc->kmc", left, x), right)


def _mixed(matrix: Array, x: Array) -> Array:
    """M x of the channels: [d, c] and [h, w, c] to [h, w, d]."""
    return _einsum("hwc,dc->hwd", x, matrix)


def _block_dct(planes: Array, *, inverse: bool = False) -> Array:
    """`block_dct` of planes [h, w, c]."""
    xp = _namespace(planes)
    waves = block_dct(backend_of(planes), xp.moveaxis(planes, 2, 0), inverse=inverse)
    return xp.moveaxis(waves, 0, 2)


def _to_cell(cosine: Array, middle: Array, half: Array) -> Array:
    return _namespace(cosine).clip(cosine, middle - half, middle + half) - cosine
