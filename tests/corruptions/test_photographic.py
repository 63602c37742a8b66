"""What the photographic corruptions share: draws, pixels of files, light, and smooth enlarging."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.corruptions import enlarge_smoothly, make_corruption
from tests.corruptions.cases import (
    BACKENDS,
    PHOTOGRAPHIC,
    cached_corruption,
    corrupt,
    degrade,
    import_tensorflow,
)
from tests.golden import synthetic

SIZE = 32
IMAGES = synthetic.photo(10, SIZE, 9)
FILES = ("blur-photo", "noise", "real")  # X_1 of these are the pixels of a file


def photos(names=PHOTOGRAPHIC):
    return pytest.mark.parametrize("name", names)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "numpy"])
@photos()
def test_an_index_decides_alike_on_every_backend(name, backend):
    corruption = cached_corruption(name, image_size=SIZE)
    expected = corruption.degrade(IMAGES)
    np.testing.assert_array_equal(degrade(backend, corruption, IMAGES), expected)
    if corruption.num_noises == 0:
        called = corrupt(backend, corruption, 0, IMAGES, np.arange(10)).image
        np.testing.assert_array_equal(called, expected)


@photos(("blur-photo", "sr2x-photo", "real"))
def test_indices_differ_and_repeat_after_4096(name):
    corruption = cached_corruption(name, image_size=SIZE)
    same = np.repeat(IMAGES[:1], 4, axis=0)
    seen = corruption.degrade(same, index=np.array([2, 3, 5, 4096 + 2]))
    np.testing.assert_array_equal(seen[0], seen[3])
    assert (seen[0] != seen[1]).any() and (seen[1] != seen[2]).any()


def test_any_few_indices_are_spread_evenly():
    """Widths of ten successive pictures leave no fifth of the range out; random ones would."""
    corruption = cached_corruption("noise-float-0-100", image_size=8)
    ones = np.zeros((50, 8, 8, 3), np.float32)
    image = corruption(np.random.default_rng(0), ones, index=np.arange(50)).image
    levels = image.std(axis=(1, 2, 3)) * 127.5  # within a few percent of what was drawn

    def widest_gap(levels):
        ends = [[0, *sorted(levels[start : start + 10]), 100] for start in range(40)]
        return max(np.diff(end).max() for end in ends)

    assert widest_gap(levels) < 25
    assert widest_gap(np.random.default_rng(1).uniform(0, 100, 50)) > 25


@photos(FILES)
def test_pixels_are_those_of_a_file(name):
    images = IMAGES * 1.2  # beyond [-1, 1], where a file clips
    image = cached_corruption(name, image_size=SIZE)(np.random.default_rng(0), images).image
    levels = (image + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    assert np.abs(image).max() <= 1


@photos()
def test_a_flat_picture_keeps_its_light(name):
    """120 comes back as 120, but for the noise and for what coarse quantisation of JPEG rounds."""
    corruption = cached_corruption(name, image_size=SIZE)
    flat = np.full((40, SIZE, SIZE, 3), 120 / 127.5 - 1, np.float32)
    seen = (corruption.degrade(flat) + 1) * 127.5
    assert np.abs(seen - 120).max() < {"sr2x-photo": 1.01, "sr4x-photo": 1.01, "real": 2.01}.get(
        name, 1e-3
    )
    noisy = (corruption(np.random.default_rng(0), flat).image + 1) * 127.5
    error = noisy.std() / noisy.size**0.5
    assert abs(noisy.mean() - 120) < 5 * error + (0.3 if name == "real" else 0.1)
    if corruption.num_noises:
        assert noisy.std() > 1
    published = cached_corruption("blur-gauss", image_size=SIZE).degrade(flat)
    assert np.abs((published + 1) * 127.5 - 120).max() > 20  # which is why


@photos(("blur-photo", "noise", "sr4x-photo", "real"))
@pytest.mark.parametrize("backend", ("jax", "numpy", "tf"))
def test_no_images(backend, name):
    corruption = cached_corruption(name, image_size=SIZE)
    empty = np.zeros((0, SIZE, SIZE, 3), np.float32)
    asarray = {"jax": jnp.asarray, "numpy": np.asarray}.get(backend)
    asarray = asarray or import_tensorflow().constant
    assert corruption.degrade(asarray(empty)).shape == empty.shape


def test_the_gradient_is_refused_with_the_reason():
    corruption = cached_corruption("blur-photo", image_size=SIZE)
    with pytest.raises(ValueError, match=r"no gradient.*jax.lax.stop_gradient"):
        jax.grad(lambda images: jnp.sum(corruption.degrade(images)))(jnp.asarray(IMAGES[:1]))


@photos(("blur-photo", "noise", "sr2x-photo", "real"))
def test_draws_are_an_images_own(name):
    """Of a NumPy batch the first images meet the same whatever follows them."""
    corruption = cached_corruption(name, image_size=SIZE)
    other = np.concatenate([IMAGES[:2], IMAGES[:2] * 0.5])
    first = corruption(np.random.default_rng(3), IMAGES[:4]).image
    np.testing.assert_array_equal(first[:2], corruption(np.random.default_rng(3), other).image[:2])


@pytest.mark.parametrize("name", ("blur-photo", "sr4x-photo", "real"))
def test_the_smallest_pictures(name):
    corruption = make_corruption(name, image_size=8)
    assert np.isfinite(corruption.degrade(IMAGES[:, :8, :8])).all()


@pytest.mark.parametrize("factor", (1, 2, 3, 4))
def test_smooth_enlarging_is_pillows_bicubic_with_mirrored_borders(factor):
    image = IMAGES[0, :9, :11]
    planes = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="symmetric")
    size = (factor * planes.shape[1], factor * planes.shape[0])
    expected = np.stack(
        [
            np.asarray(Image.fromarray(planes[..., c]).resize(size, Image.Resampling.BICUBIC))
            for c in range(3)
        ],
        axis=2,
    )
    border = slice(8 * factor, -8 * factor)
    actual = enlarge_smoothly(image, factor)
    np.testing.assert_allclose(actual, expected[border, border], atol=1e-6)
    assert actual.dtype == np.float32
    batch = enlarge_smoothly(np.stack([image[None]] * 2).astype(np.float64), factor)
    assert batch.shape == (2, 1, 9 * factor, 11 * factor, 3) and batch.dtype == np.float64
    np.testing.assert_allclose(batch[1, 0], actual, atol=1e-6)
