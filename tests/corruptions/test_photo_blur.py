"""Point spread functions, and which of them a picture meets."""

import numpy as np
import pytest
from scipy import ndimage, stats

from i2sb_jax.corruptions.facts import psf_radius
from i2sb_jax.corruptions.photo_blur import convolve, disc_psf, gaussian_psf, noise_level
from tests.corruptions.cases import cached_corruption, corrupt
from tests.golden import synthetic

UNLIKELY = 1e-6  # a p-value below it is no chance
SHARP = synthetic.photo(1, 48, 5)[0]
LEVELS = np.round((SHARP + 1) * 127.5)


def moments(psf):
    """The covariance matrix of a point spread function."""
    place = np.arange(len(psf)) - len(psf) // 2
    y, x = np.meshgrid(place, place, indexing="ij")
    return np.array([[(psf * x * x).sum(), (psf * x * y).sum()], [0, (psf * y * y).sum()]])


@pytest.mark.parametrize("width", (0.4, 1.0, 2.0))
def test_a_round_gaussian_is_scipys_with_mirrored_borders(width):
    actual = convolve(LEVELS, gaussian_psf(width, width, 0.0))
    expected = ndimage.gaussian_filter(LEVELS, (width, width, 0), mode="reflect", truncate=6)
    np.testing.assert_allclose(actual, expected, atol=0.02)


def test_no_width_is_the_identity():
    image = (LEVELS / 127.5 - 1).astype(np.float32)
    for shape in (0.1, 0.7, 0.9):
        draws = np.array([0.0, shape, 0.0, 0.3, 0.0])
        blurred = cached_corruption("blur-photo-0-3", image_size=48).degrade_picture(image, draws)
        np.testing.assert_array_equal(blurred, image)


@pytest.mark.parametrize("radius", (0.3, 0.5, 1.0, 2.5, 4.1))
def test_a_pixel_takes_the_area_that_a_disc_covers(radius):
    psf = disc_psf(radius)
    fine = 201
    place = (np.arange(len(psf) * fine) + 0.5) / fine - len(psf) / 2
    inside = place[:, None] ** 2 + place**2 < radius**2
    area = inside.reshape(len(psf), fine, len(psf), fine).mean(axis=(1, 3))
    np.testing.assert_allclose(psf, area / (np.pi * radius**2), atol=2e-3 / radius)
    assert psf.min() >= 0


@pytest.mark.parametrize("width", (1.0, 1.5, 3.0))
def test_all_shapes_of_a_width_blur_as_much(width):
    square = width**2
    np.testing.assert_allclose(moments(gaussian_psf(width, width, 0)).diagonal(), square, rtol=1e-3)
    disc = moments(disc_psf(2 * width)).diagonal()  # pixels are no points: 1/12, and corners
    np.testing.assert_allclose(disc, square + 1 / 12, rtol=0.04)
    turned = moments(gaussian_psf(width, 2 * width, 0.5))
    cos, sin = np.cos(0.5), np.sin(0.5)
    np.testing.assert_allclose(turned[0, 0], square * (cos**2 + 4 * sin**2), rtol=2e-3)
    np.testing.assert_allclose(turned[1, 1], square * (sin**2 + 4 * cos**2), rtol=2e-3)
    np.testing.assert_allclose(turned[0, 1], square * (1 - 4) * cos * sin, rtol=2e-3)


@pytest.mark.parametrize("width", (0.3, 1.0, 3.0))
def test_less_than_a_ten_thousandth_lies_outside(width):
    radius = psf_radius(width)
    place = np.arange(-4 * radius, 4 * radius + 1)
    profile = np.exp(-((place / width) ** 2) / 2)
    inside = profile[np.abs(place) <= radius].sum() / profile.sum()
    assert 1 - inside**2 < 1e-4
    assert len(disc_psf(2 * width)) // 2 <= radius


def test_noise_levels():
    assert [noise_level(draw) for draw in (0, 0.2, 0.25, 0.625, 1)] == [0, 0, 0, 2, 4]


def measured_widths(images):
    """σ along x of images of an upright edge, from the light on its wrong side.

    Of an edge of height H blurred by h that is H E|X|, with X distributed as h; E|X| = σ √(2/π)
    for a Gaussian. Noise is averaged over rows and colours.
    """
    profile = (images.mean(axis=(1, 3)) + 1) / 2
    step = (np.arange(profile.shape[1]) >= profile.shape[1] // 2) * 0.5 + 0.25
    wrong = np.sign(step - 0.5) * (step - profile)
    return wrong.sum(axis=1) / 0.5 / np.sqrt(2 / np.pi)


def expected_widths(count, low, high, *, others=True):
    """The same by the shares and ranges that the module's docstring states."""
    rng = np.random.default_rng(0)
    width, other = rng.uniform(low, high, (2, count))
    angle, shape = rng.uniform(0, np.pi, count), rng.random(count)
    if not others:
        return width
    elongated = np.hypot(width * np.cos(angle), other * np.sin(angle))
    disc = width * (8 / (3 * np.pi)) / np.sqrt(2 / np.pi)  # E|X| of a disc of radius r: 4r / 3π
    return np.select([shape < 0.6, shape < 0.85], [width, elongated], disc)


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_which_widths_are_drawn(backend):
    edge = np.zeros((1, 48, 48, 3), np.float32) - 0.5
    edge[:, :, 24:] = 0.5
    corruption = cached_corruption("blur-photo-1-3", image_size=48)
    images = corrupt(backend, corruption, 3, np.repeat(edge, 500, axis=0)).image
    widths = measured_widths(images)
    expected = expected_widths(20000, 1, 3)
    assert stats.ks_2samp(widths, expected).pvalue > UNLIKELY
    assert stats.ks_2samp(widths, expected_widths(20000, 1, 2.5)).pvalue < UNLIKELY
    assert stats.ks_2samp(widths, expected_widths(20000, 0.5, 3)).pvalue < UNLIKELY


def test_how_often_shapes_are_drawn():
    """Of a point on black a disc leaves a flat spot with an edge, an elongated one no symmetry."""
    point = np.full((600, 33, 33, 3), -1, np.float32)
    point[:, 16, 16] = 1
    corruption = cached_corruption("blur-photo-2-3", image_size=33)
    draws = np.random.default_rng(5).random((600, corruption.num_draws), np.float32)
    spots = np.stack([corruption.degrade_picture(*pair) for pair in zip(point, draws, strict=True)])
    spots = (spots[..., 0] + 1) * 127.5
    peak = spots[:, 16, 16]
    is_disc = (spots[:, 16, 13:20].min(axis=1) == peak) & (spots[:, 13:20, 16].min(axis=1) == peak)
    turned = np.rot90(spots, axes=(1, 2))
    is_elongated = ~is_disc & (np.abs(turned - spots).max(axis=(1, 2)) > 0)
    counts = np.array([600 - is_disc.sum() - is_elongated.sum(), is_elongated.sum(), is_disc.sum()])
    assert stats.chisquare(counts, 600 * np.array([0.6, 0.25, 0.15])).pvalue > UNLIKELY
    assert stats.chisquare(counts, 600 * np.array([1, 1, 1]) / 3).pvalue < UNLIKELY


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_which_noise_is_drawn(backend):
    flat = np.full((400, 32, 32, 3), 120 / 127.5 - 1, np.float32)
    images = corrupt(backend, cached_corruption("blur-photo", image_size=32), 3, flat).image
    measured = (images * 127.5).std(axis=(1, 2, 3))
    draws = np.random.default_rng(0).random(20000)
    levels = 4 * np.maximum(0, draws - 0.25) / 0.75
    rounded = np.sqrt(levels**2 + np.where(levels > 0.4, 1 / 12, 0))
    none = measured < 1e-3
    assert abs((levels < 0.13).mean() - none.mean()) < 5 * (0.2 / 400) ** 0.5  # 0.13 rounds away
    seen, expected = measured[measured > 1], rounded[rounded > 1]
    assert stats.ks_2samp(seen, expected).pvalue > UNLIKELY
    assert stats.ks_2samp(seen, 1.3 * expected).pvalue < UNLIKELY
