"""The classical repairs, on pictures that each of them restores exactly."""

import numpy as np
import pytest

from i2sb_jax.corruptions import make_corruption
from i2sb_jax.corruptions.classical_settings import best_repair
from i2sb_jax.metrics import psnr
from i2sb_jax.restoration.baselines import baseline_for


def ramp(size=32):
    """A picture that is linear in its coordinates."""
    axis = np.linspace(-0.8, 0.8, size, dtype=np.float32)
    yy, xx = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([yy, xx, (yy + xx) / 2], axis=-1)[None]


def test_bicubic_upsampling_is_exact_on_a_ramp():
    corruption = make_corruption("sr4x-pool", image_size=32)
    degraded = corruption.degrade(ramp())
    name, repair = baseline_for(corruption)
    inside = (slice(None), slice(8, 24), slice(8, 24))
    assert name == "bicubic upsampling"
    np.testing.assert_allclose(repair(degraded, None)[inside], ramp()[inside], atol=1e-4)
    assert np.abs(degraded - ramp())[inside].max() > 0.05


@pytest.mark.parametrize("kind", ["blur-gauss-exact", "blur-uni-exact"])
def test_brightness_matching_is_exact_on_a_plain_picture(kind):
    corruption = make_corruption(kind, image_size=32)
    plain = np.full((1, 32, 32, 3), 0.3, np.float32)
    degraded = corruption.degrade(plain)
    name, repair = baseline_for(corruption)
    assert name == "brightness matching"
    np.testing.assert_allclose(repair(degraded, None), plain, atol=1e-5)
    assert float(psnr(plain, degraded)[0]) < 20


def test_biharmonic_filling_is_exact_on_a_ramp():
    pytest.importorskip("skimage")
    corruption = make_corruption("inpaint-center", image_size=32)
    mask = np.zeros((1, 32, 32, 1), np.float32)
    mask[:, 12:20, 12:20] = 1
    name, repair = baseline_for(corruption)
    assert name == "biharmonic filling"
    repaired = repair(corruption.degrade(ramp(), mask), mask)
    np.testing.assert_allclose(repaired, ramp(), atol=1e-3)


@pytest.mark.parametrize("kind", ["jpeg-10", "colorize"])
def test_no_customary_baseline(kind):
    assert baseline_for(make_corruption(kind, image_size=32)) is None


def test_photographic_corruptions_have_the_best_one_that_was_measured():
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    name, repair = baseline_for(make_corruption("noise-10-10", image_size=16))
    best = best_repair("noise", noise=10)
    assert name == best.name
    expected = np.stack([best.repair(picture) for picture in pictures])
    np.testing.assert_array_equal(repair(pictures, None), expected)
    other = baseline_for(make_corruption("noise-20-20", image_size=16))
    assert np.abs(other.repair(pictures, None) - expected).max() > 0.01
