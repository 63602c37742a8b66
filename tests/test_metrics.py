"""PSNR and SSIM against scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.metrics import psnr, ssim

RNG = np.random.default_rng(0)
CLEAN = RNG.uniform(-1, 1, (3, 24, 17, 3)).astype(np.float32)
SMOOTH = np.cumsum(CLEAN, axis=2) / 8  # neighbours alike, as in photographs
NOISE = RNG.standard_normal(CLEAN.shape).astype(np.float32)
PAIRS = {
    "noise": (CLEAN, np.roll(CLEAN, 1, axis=0)),
    "a little noise": (SMOOTH, SMOOTH + np.float32(0.1) * NOISE),
    "darker": (SMOOTH, np.float32(0.8) * SMOOTH),
    "flat": (SMOOTH, np.zeros_like(SMOOTH)),
}


def reference_psnr(a, b, data_range):
    skimage = pytest.importorskip("skimage.metrics")
    pairs = zip(a.astype(np.float64), b.astype(np.float64), strict=True)
    return [skimage.peak_signal_noise_ratio(x, y, data_range=data_range) for x, y in pairs]


def reference_ssim(a, b, data_range):
    skimage = pytest.importorskip("skimage.metrics")
    return [
        skimage.structural_similarity(
            x,
            y,
            data_range=data_range,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for x, y in zip(a.astype(np.float64), b.astype(np.float64), strict=True)
    ]


@pytest.mark.parametrize("data_range", [2.0, 1.0])
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_scikit_image(name, data_range):
    a, b = PAIRS[name]
    expected = reference_psnr(a, b, data_range)
    np.testing.assert_allclose(psnr(a, b, data_range=data_range), expected, rtol=1e-5)
    expected = reference_ssim(a, b, data_range)
    np.testing.assert_allclose(ssim(a, b, data_range=data_range), expected, atol=1e-5)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_jit_vmap_and_one_by_one(metric):
    a, b = PAIRS["a little noise"]
    expected = metric(a, b)
    assert expected.shape == (3,) and expected.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(metric)(a, b), expected, rtol=1e-6)
    stacked = jax.vmap(metric)(a[:, None], b[:, None])
    np.testing.assert_allclose(stacked[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(metric(a[1:2], b[1:2])[0], expected[1], rtol=1e-6)


def test_equal_pictures():
    assert bool(jnp.isinf(psnr(CLEAN, CLEAN)).all())
    np.testing.assert_allclose(ssim(CLEAN, CLEAN), 1.0, rtol=1e-6)


def test_too_small_for_the_window():
    with pytest.raises(ValueError, match=r"ssim needs pictures of at least 11×11, got \(10, 17\)"):
        ssim(CLEAN[:, :10], CLEAN[:, :10])
