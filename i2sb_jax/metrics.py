"""Full-reference image quality: PSNR and SSIM, as scikit-image defines them."""

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.types import Array

# Wang et al. (2004): an 11-tap Gaussian window of σ = 1.5, K1 = 0.01, K2 = 0.03.
_WINDOW_STD = 1.5
_WINDOW_RADIUS = 5
_K1, _K2 = 0.01, 0.03

SSIM_SIDE = 2 * _WINDOW_RADIUS + 1  # of the smallest picture that has one, in pixels


def psnr(a: Array, b: Array, *, data_range: float = 2.0) -> jax.Array:
    """Peak signal-to-noise ratio in dB.

    Args:
        a: [batch, h, w, c].
        b: same shape.
        data_range: the largest difference that can occur; 2 for pictures in [-1, 1].

    Returns:
        [batch]; infinite for equal pictures.
    """
    error = jnp.mean(jnp.square(a - b), axis=tuple(range(1, a.ndim)))
    return 10.0 * jnp.log10(data_range**2 / error)


def ssim(a: Array, b: Array, *, data_range: float = 2.0) -> jax.Array:
    """Structural similarity (Wang et al. 2004) with the Gaussian window, mean over channels.

    The mean runs over the pixels whose whole window lies in the picture, which is what
    scikit-image's `structural_similarity(..., gaussian_weights=True, use_sample_covariance=False)`
    computes.

    Args:
        a: [batch, h, w, c]; h and w at least 11.
        b: same shape.
        data_range: as for `psnr`.

    Returns:
        [batch], at most 1.

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
    return jnp.mean(similarity, axis=(1, 2, 3))


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
