"""PSNR and SSIM against scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.metrics import MOST_PSNR, capped_psnr, luma, psnr, psnr_y, ssim, ssim_y

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


def test_equal_pictures_count_a_hundred_decibels_where_they_are_averaged():
    capped = capped_psnr(np.stack([CLEAN[0], CLEAN[0]]), np.stack([CLEAN[0], CLEAN[1]]))
    assert float(capped[0]) == MOST_PSNR == 100.0
    np.testing.assert_allclose(capped[1], psnr(CLEAN[:1], CLEAN[1:2])[0], rtol=1e-6)


def rgb2ycbcr_y(images):
    """MATLAB's rgb2ycbcr of doubles in [0, 1], its Y in levels, written out in float64."""
    red, green, blue = np.moveaxis(images.astype(np.float64) / 2 + 0.5, -1, 0)
    return 65.481 * red + 128.553 * green + 24.966 * blue + 16


def test_luma_is_that_of_bt601_in_studio_range():
    colours = np.array([[-1, -1, -1], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)
    expected = [16.0, 235.0, 81.481, 144.553, 40.966]
    np.testing.assert_allclose(luma(colours)[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(luma(CLEAN)[..., 0], rgb2ycbcr_y(CLEAN), rtol=1e-5)


@pytest.mark.parametrize("border", [0, 2, 3])
@pytest.mark.parametrize("name", ["noise", "a little noise", "darker"])
def test_luma_is_measured_as_papers_on_super_resolution_do(name, border):
    a, b = PAIRS[name]
    inside = slice(border, -border or None)
    x, y = (rgb2ycbcr_y(side)[:, inside, inside] for side in (a, b))
    expected = 10 * np.log10(255**2 / np.square(x - y).mean(axis=(1, 2)))
    np.testing.assert_allclose(psnr_y(a, b, border=border), expected, rtol=1e-5)
    expected = reference_ssim(x[..., None], y[..., None], 255.0)
    np.testing.assert_allclose(ssim_y(a, b, border=border), expected, atol=1e-5)
    # controls: neither the border nor the choice of luma is idle
    assert not np.allclose(psnr_y(a, b, border=border), psnr_y(a, b, border=border + 1), rtol=1e-5)
    assert not np.allclose(psnr_y(a, b, border=border), psnr(a, b), rtol=1e-3)


@pytest.mark.parametrize("border", [-1, 9])
def test_a_border_that_leaves_nothing(border):
    with pytest.raises(ValueError, match=f"border={border} leaves nothing of 24×17 pixels"):
        psnr_y(CLEAN, CLEAN, border=border)


def test_pixels_without_data_do_not_count():
    a, b = PAIRS["a little noise"]
    valid = np.random.default_rng(1).random((3, 24, 17, 1)) < 0.9
    spoilt = np.where(valid, b, 1e6).astype(np.float32)
    errors = np.where(valid, np.square((a - b).astype(np.float64)), 0).sum(axis=(1, 2, 3))
    expected = 10 * np.log10(4 / (errors / (3 * valid.sum(axis=(1, 2, 3)))))
    np.testing.assert_allclose(psnr(a, spoilt, valid=valid), expected, rtol=1e-5)
    assert (psnr(a, spoilt) < -50).all()
    whole = np.ones((3, 24, 17, 1), bool)
    whole[:, :3] = False  # windows of rows 3 … 23 alone
    spoilt = np.where(whole, b, 0.5)
    np.testing.assert_allclose(ssim(a, spoilt, valid=whole), ssim(a[:, 3:], b[:, 3:]), rtol=1e-5)
    assert np.isnan(psnr(a, b, valid=np.zeros_like(whole))).all()
    assert np.isnan(ssim(a, b, valid=np.zeros_like(whole))).all()
