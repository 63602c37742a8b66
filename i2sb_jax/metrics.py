"""Full-reference image quality: PSNR and SSIM, as scikit-image defines them, of colour and of luma.

Papers on super-resolution measure the luma Y of ITU-R BT.601, as MATLAB's `rgb2ycbcr` gives it,
without a border as wide as the factor (`psnr_y`, `ssim_y`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.types import Array

# Wang et al. (2004): an 11-tap Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03.
_WINDOW_STD = 1.5
_WINDOW_RADIUS = 5
_K1, _K2 = 0.01, 0.03
# BT.601 in studio range: Y of black is 16, of white 235
_LUMA, _LUMA_BLACK = (65.481, 128.553, 24.966), 16.0
_LUMA_RANGE = 255.0  # the peak that papers divide by, which no Y reaches

MOST_PSNR = 100.0  # dB, of `capped_psnr`
SSIM_SIDE = 2 * _WINDOW_RADIUS + 1  # of the smallest picture that has one, in pixels


def psnr(a: Array, b: Array, *, data_range: float = 2.0, valid: Array | None = None) -> jax.Array:
    """Peak signal-to-noise ratio in dB.

    Args:
        a: [batch, h, w, c].
        b: same shape.
        data_range: the largest difference that can occur; 2 for pictures in [-1, 1].
        valid: bool or 0 and 1, [batch, h, w, 1]: the pixels that count; None: all. What stands in
            the others must be finite.

    Returns:
        [batch]; infinite for equal pictures, NaN where no pixel counts.
    """
    squares, axes = jnp.square(a - b), tuple(range(1, a.ndim))
    where = None if valid is None else jnp.broadcast_to(jnp.asarray(valid) > 0.5, a.shape)
    error = jnp.mean(squares, axis=axes, where=where)
    return 10.0 * jnp.log10(data_range**2 / error)


def capped_psnr(
    a: Array, b: Array, *, data_range: float = 2.0, valid: Array | None = None
) -> jax.Array:
    """`psnr` of at most `MOST_PSNR` dB, so that equal pictures count in means of many."""
    return jnp.minimum(psnr(a, b, data_range=data_range, valid=valid), MOST_PSNR)


def ssim(a: Array, b: Array, *, data_range: float = 2.0, valid: Array | None = None) -> jax.Array:
    """Structural similarity (Wang et al. 2004) with the Gaussian window, mean over channels.

    The mean runs over the pixels whose whole window lies in the picture, which is what
    scikit-image's `structural_similarity(..., gaussian_weights=True, use_sample_covariance=False)`
    computes.

    Args:
        a: [batch, h, w, c]; h and w at least 11.
        b: same shape.
        data_range: as for `psnr`.
        valid: as for `psnr`; windows with a pixel that does not count are left out.

    Returns:
        [batch], at most 1; NaN where no window counts.

    Raises:
        ValueError: the pictures are smaller than the window.
    """
    if min(a.shape[1:3]) < SSIM_SIDE:
        least = f"{SSIM_SIDE}×{SSIM_SIDE}"
        raise ValueError(f"ssim needs pictures of at least {least}, got {a.shape[1:3]}")
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    var_a = _window_mean(a * a) - mean_a**2
    var_b = _window_mean(b * b) - mean_b**2
    cov = _window_mean(a * b) - mean_a * mean_b
    similarity = ((2 * mean_a * mean_b + c1) * (2 * cov + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    where = None
    if valid is not None:
        whole = jax.lax.reduce_window(
            jnp.asarray(valid, jnp.float32), jnp.inf, jax.lax.min,
            (1, SSIM_SIDE, SSIM_SIDE, 1), (1, 1, 1, 1), "VALID",
        )  # fmt: skip
        where = jnp.broadcast_to(whole > 0.5, similarity.shape)
    return jnp.mean(similarity, axis=(1, 2, 3), where=where)


def luma(images: Array) -> jax.Array:
    """Y of ITU-R BT.601 as MATLAB's `rgb2ycbcr` has it, but not rounded.

    Y = 16 + 65.481 R + 128.553 G + 24.966 B with R, G and B in [0, 1].

    Args:
        images: RGB in [-1, 1], [..., 3].

    Returns:
        [..., 1], 16 (black) … 235 (white).
    """
    unit = (jnp.asarray(images) + 1) / 2
    parts = (weight * unit[..., i : i + 1] for i, weight in enumerate(_LUMA))
    return sum(parts, _LUMA_BLACK)


def psnr_y(a: Array, b: Array, *, border: int = 0, valid: Array | None = None) -> jax.Array:
    """PSNR of `luma` in dB, with a peak of 255, as papers on super-resolution report it.

    Args:
        a: RGB in [-1, 1], [batch, h, w, 3].
        b: same shape.
        border: pixels left out on each side; in papers the factor of the reduction.
        valid: as for `psnr`.

    Returns:
        [batch]; infinite for equal pictures.

    Raises:
        ValueError: the border leaves nothing.
    """
    a, b, valid = (_shaved(x, border) for x in (a, b, valid))
    return psnr(luma(a), luma(b), data_range=_LUMA_RANGE, valid=valid)


def ssim_y(a: Array, b: Array, *, border: int = 0, valid: Array | None = None) -> jax.Array:
    """SSIM of `luma` with a range of 255; arguments as of `psnr_y`.

    Raises:
        ValueError: without the border the pictures are smaller than the window.
    """
    a, b, valid = (_shaved(x, border) for x in (a, b, valid))
    return ssim(luma(a), luma(b), data_range=_LUMA_RANGE, valid=valid)


def _shaved(x: Array | None, border: int) -> Array | None:
    """Images without so many pixels on each side; None of None."""
    if x is None:
        return None
    height, width = x.shape[1:3]
    if border < 0 or 2 * border >= min(height, width):
        raise ValueError(f"border={border} leaves nothing of {height}×{width} pixels")
    return x[:, border : height - border, border : width - border]


def _window_mean(x: Array) -> jax.Array:
    """Gaussian-weighted mean over the windows that lie wholly inside, rows then columns."""
    taps = np.exp(-0.5 * (np.arange(-_WINDOW_RADIUS, _WINDOW_RADIUS + 1) / _WINDOW_STD) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (1, 2):
        length = x.shape[axis] - 2 * _WINDOW_RADIUS
        x = sum(
            float(tap) * jax.lax.slice_in_dim(jnp.asarray(x), i, i + length, axis=axis)
            for i, tap in enumerate(taps)
        )
    return x
