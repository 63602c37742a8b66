"""Noise of files and of papers: its level, its law, and what a file does to it."""

import numpy as np
import pytest
from scipy import stats

from tests.corruptions.cases import cached_corruption, corrupt

UNLIKELY = 1e-6  # a p-value below it is no chance
FLAT = np.full((400, 16, 16, 3), 128 / 127.5 - 1, np.float32)


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
@pytest.mark.parametrize("name", ("noise-5-25", "noise-float-5-25"))
def test_levels_are_uniform_in_the_range(name, backend):
    image = corrupt(backend, cached_corruption(name, image_size=16), 3, FLAT).image
    measured = ((image - FLAT) * 127.5).std(axis=(1, 2, 3))
    # 768 pixels tell a deviation to 2.6 %
    rng = np.random.default_rng(0)
    expected = rng.uniform(5, 25, 20000) * (1 + 0.026 * rng.standard_normal(20000))
    assert stats.ks_2samp(measured, expected).pvalue > UNLIKELY
    assert stats.ks_2samp(measured, expected * 1.2).pvalue < UNLIKELY
    assert stats.ks_2samp(measured, np.full(20000, 15.0)).pvalue < UNLIKELY


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_noise_is_gaussian_and_white(backend):
    corruption = cached_corruption("noise-float-20-20", image_size=16)
    noise = (corrupt(backend, corruption, 3, FLAT).image - FLAT) * 127.5 / 20
    assert stats.kstest(noise.ravel(), "norm").pvalue > UNLIKELY
    assert stats.kstest(np.round(noise.ravel() * 2) / 2, "norm").pvalue < UNLIKELY
    channels = np.corrcoef(noise.reshape(-1, 3).T)
    assert np.abs(channels - np.eye(3)).max() < 5 / (noise.size / 3) ** 0.5
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 5 / noise.size**0.5
    assert abs((noise[1:] * noise[:-1]).mean()) < 5 / noise.size**0.5


def test_a_file_rounds_and_clips_and_floats_do_not():
    images = np.concatenate([FLAT[:20] * 0 + 1, FLAT[:20] * 0 - 1])
    file, floats = (
        corrupt("numpy", cached_corruption(name, image_size=16), 0, images).image
        for name in ("noise-20-20", "noise-float-20-20")
    )
    levels = (file + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    np.testing.assert_array_equal(file, np.clip(file, -1, 1))
    assert abs((np.abs(file) == 1).mean() - 0.51) < 0.02  # half of it was clipped
    assert np.abs(floats).max() > 1.3
    # the same draws: a file is what becomes of the floats
    whole = np.clip(np.round((floats.astype(np.float64) + 1) * 127.5), 0, 255)
    assert (np.abs(whole - levels) < 1e-3).mean() > 0.999


def test_the_widest_floats_are_within_their_bound():
    corruption = cached_corruption("noise-float-100-100", image_size=64)
    white = np.ones((4, 64, 64, 3), np.float32)
    largest = np.abs(corruption(np.random.default_rng(0), white).image).max()
    assert 4 < largest < corruption.facts.bound


def test_what_a_person_sees_has_no_noise():
    for name in ("noise", "noise-float"):
        seen = cached_corruption(name, image_size=16).degrade(FLAT)
        np.testing.assert_allclose(seen, FLAT, atol=1e-6)
