"""Holes: where they are, what fills them, and the paper's mask file."""

import numpy as np
import pytest

from i2sb_jax.corruptions import brush, jax_backend, make_corruption, numpy_backend
from tests.corruptions.cases import BACKENDS, INPAINTING, cached_corruption, corrupt
from tests.golden import synthetic

SIZE = 32
BOUNDS = {"inpaint-freeform1020": (0.1, 0.2), "inpaint-freeform2030": (0.2, 0.3)}
KEYS = {"inpaint-freeform1020": "10-20% freeform", "inpaint-freeform2030": "20-30% freeform"}


def deviations_from_unit_normal(values):
    """Mean, variance and kurtosis off N(0, 1), in standard errors."""
    count = values.size
    return np.abs(
        [
            values.mean() * count**0.5,
            (values.var() - 1) * (count / 2) ** 0.5,
            ((values**4).mean() - 3) * (count / 96) ** 0.5,
        ]
    )


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
@pytest.mark.parametrize("name", INPAINTING[:2])
def test_noise_in_the_hole_and_clean_outside(name, backend):
    images = synthetic.photo(16, SIZE, 1)
    result = corrupt(backend, cached_corruption(name, image_size=SIZE), 5, images)
    hole = np.broadcast_to(result.mask > 0.5, images.shape)
    np.testing.assert_array_equal(result.image[~hole], images[~hole])
    assert (deviations_from_unit_normal(result.image[hole]) < 5).all()
    # negative controls: neither the clean pixels nor noise of another size pass
    assert (deviations_from_unit_normal(images[hole]) > 5).any()
    assert (deviations_from_unit_normal(result.image[hole] * 1.2) > 5).any()


@pytest.mark.parametrize("name", INPAINTING)
def test_degrade_shows_the_hole_in_white(name):
    corruption = cached_corruption(name, image_size=SIZE)
    images = synthetic.photo(2, SIZE, 1) * 0.9
    mask = corruption(np.random.default_rng(0), images, index=np.arange(2)).mask
    shown = corruption.degrade(images)
    np.testing.assert_array_equal(shown == 1, np.broadcast_to(mask == 1, images.shape))
    np.testing.assert_array_equal(shown, corruption.degrade(images, mask))
    whole = np.ones((1, SIZE, SIZE, 1), np.uint8)  # one mask for the batch, of another type
    np.testing.assert_array_equal(corruption.degrade(images, whole), np.ones_like(images))


@pytest.mark.parametrize("size", (33, 64))
@pytest.mark.parametrize("name", BOUNDS)
def test_area_of_every_stroke_mask_lies_within_its_bounds(name, size):
    low, high = BOUNDS[name]
    corruption = cached_corruption(name, image_size=size)
    images = np.zeros((250, size, size, 3), np.float32)
    for index in (None, np.arange(250)):
        mask = corruption(np.random.default_rng(1), images, index=index).mask
        area = mask.mean(axis=(1, 2, 3), dtype=np.float64)
        assert (low <= area).all() and (area <= high).all()
        # uniform in between: mean and spread, within five standard errors
        place = (area - low) / (high - low)
        assert abs(place.mean() - 0.5) < 5 / (12 * 250) ** 0.5
        assert abs(place.std() - 12**-0.5) < 0.05
        assert len(np.unique(mask.reshape(250, -1), axis=0)) == 250


@pytest.mark.parametrize("name", BOUNDS)
def test_stroke_masks_are_connected_strokes_and_not_dust(name):
    """Few pixels of a stroke lie at its edge, where scattered pixels would nearly all do."""
    corruption = cached_corruption(name, image_size=64)
    images = np.zeros((20, 64, 64, 3), np.float32)
    mask = corruption(np.random.default_rng(2), images).mask[..., 0]
    scattered = np.random.default_rng(0).permuted(mask.reshape(20, -1), axis=1).reshape(mask.shape)

    def changes(mask):
        return (mask[:, 1:] != mask[:, :-1]).mean() + (mask[:, :, 1:] != mask[:, :, :-1]).mean()

    assert changes(mask) < 0.15 < changes(scattered)
    # strokes lie all over the image, not only in the middle
    covered = np.concatenate([mask.any(axis=0)[:4], mask.any(axis=0)[-4:]])
    assert covered.mean() > 0.3


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_evaluation_masks_are_the_same_on_every_backend(backend):
    corruption = cached_corruption("inpaint-freeform1020", image_size=64)
    images = np.zeros((8, 64, 64, 3), np.float32)
    index = [0, 1, 2, 3, 9_998, 9_999, 10_000, 10_001]
    masks = corrupt("numpy", corruption, 0, images, index).mask
    np.testing.assert_array_equal(corrupt(backend, corruption, 1, images, index).mask, masks)
    np.testing.assert_array_equal(masks[:2], masks[-2:])  # 10,000 of them, then from the start
    assert (masks[0] != masks[1]).any()


def test_larger_masks_are_the_smaller_ones_grown():
    images = np.zeros((20, 64, 64, 3), np.float32)
    small, large = (
        corrupt("numpy", cached_corruption(name, image_size=64), 0, images, np.arange(20)).mask
        for name in BOUNDS
    )
    assert (large >= small).all() and (large > small).any()


@pytest.mark.parametrize("xp", (numpy_backend, jax_backend))
def test_nearest_pixels_of_a_brush(xp):
    """Against plain arithmetic, with ties at the edge: the first of them are marked."""
    rng = np.random.default_rng(0)
    rows, columns = (rng.integers(0, 4_194_304, (5, n), np.int32) for n in (6, 7))
    least = xp.min_plus(xp.asarray(rows), xp.asarray(columns))
    np.testing.assert_array_equal(least, (rows[:, :, None] + columns[:, None]).min(axis=0))
    values = rng.integers(0, 5, 60, np.int32)
    for count in (1, 17, 30, 60):
        marked = brush._smallest(xp, xp.asarray(values), count)
        expected = np.argsort(values, kind="stable")[:count]
        np.testing.assert_array_equal(np.flatnonzero(marked), np.sort(expected))


@pytest.fixture(scope="module")
def mask_file(tmp_path_factory):
    """Seven masks of 256×256 a key, bits packed over the whole array, and a partial byte row."""
    rng = np.random.default_rng(0)
    masks = {key: rng.random((7, 256, 256)) < 0.15 for key in KEYS.values()}
    path = tmp_path_factory.mktemp("masks") / "masks.npz"
    arrays = {key: np.append(np.packbits(value), np.uint8(255)) for key, value in masks.items()}
    np.savez(path, **arrays)
    return path, masks


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
@pytest.mark.parametrize("name", BOUNDS)
def test_index_picks_the_mask_of_the_file(name, backend, mask_file):
    path, masks = mask_file
    corruption = make_corruption(name, image_size=256, mask_file=path)
    images = np.zeros((3, 256, 256, 3), np.float32)
    result = corrupt(backend, corruption, 0, images, [6, 0, 8])
    np.testing.assert_array_equal(result.mask[..., 0], masks[KEYS[name]][[6, 0, 1]])
    np.testing.assert_array_equal(result.image == 0, np.repeat(result.mask == 0, 3, axis=3))


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_training_draws_every_mask_of_the_file(backend, mask_file):
    path, masks = mask_file
    masks = masks["10-20% freeform"].reshape(7, -1)
    corruption = make_corruption("inpaint-freeform1020", image_size=256, mask_file=path)
    images = np.zeros((12, 256, 256, 3), np.float32)
    drawn = np.concatenate(
        [corrupt(backend, corruption, seed, images).mask.reshape(12, -1) for seed in range(5)]
    )
    numbers = [np.flatnonzero((masks == mask).all(axis=1)).item() for mask in drawn]
    # 60 draws of 7: a mask is missed with probability 7·(6/7)⁶⁰ < 1e-3
    assert set(numbers) == set(range(7))


def test_masks_of_the_file_stay_packed(mask_file):
    corruption = make_corruption("inpaint-freeform2030", image_size=256, mask_file=mask_file[0])
    assert corruption.masks.packed.nbytes == 7 * 256 * 256 // 8
