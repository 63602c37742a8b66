"""The mixture: which member meets which image."""

import numpy as np
import pytest

from tests.corruptions.cases import BACKENDS, cached_corruption, corrupt, degrade
from tests.golden import synthetic

SIZE = 16
ORDER = (
    "jpeg-5",
    "jpeg-10",
    "blur-uni",
    "blur-gauss",
    "sr4x-pool",
    "sr4x-bicubic",
    "inpaint-center",
    "inpaint-freeform1020",
    "inpaint-freeform2030",
)
# the same image nine times (or more), so that the member shows
IMAGE = synthetic.photo(1, SIZE, 8) * 0.9


@pytest.fixture(scope="module")
def mixture():
    return cached_corruption("mixture", image_size=SIZE)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "vmap"])
def test_index_mod_nine_picks_the_member(backend, mixture):
    index = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 25])
    images = np.repeat(IMAGE, len(index), axis=0)
    image = corrupt(backend, mixture, 0, images, index).image
    for position, number in enumerate(index):
        member = cached_corruption(ORDER[number % 9], image_size=SIZE)
        expected = member.degrade(IMAGE, index=np.array([number]))[0]
        known = np.ones_like(expected, bool)
        if member.has_mask:  # white in degrade, noise here
            known = expected != 1
            assert (image[position][~known] != 1).all() and (~known).any()
        np.testing.assert_allclose(image[position][known], expected[known], atol=2e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_degrade_walks_through_the_members(backend, mixture):
    images = np.repeat(IMAGE, 9, axis=0)
    seen = degrade(backend, mixture, images)
    for number, name in enumerate(ORDER):
        member = cached_corruption(name, image_size=SIZE)
        expected = member.degrade(IMAGE, index=np.array([number]))[0]
        np.testing.assert_allclose(seen[number], expected, atol=2e-5)


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_members_are_drawn_equally_often(backend, mixture):
    """Six deterministic members are recognised by their pixels; chi-square over them and the rest.

    The negative control is a mixture that never draws one of them.
    """
    count = 900
    images = np.repeat(IMAGE, count, axis=0)
    drawn = corrupt(backend, mixture, 11, images).image.reshape(count, -1)
    counts = []
    for name in ORDER[:6]:
        expected = cached_corruption(name, image_size=SIZE).degrade(IMAGE).reshape(-1)
        counts.append((np.abs(drawn - expected).max(axis=1) < 2e-5).sum())
    counts.append(count - sum(counts))
    expected = np.array([1, 1, 1, 1, 1, 1, 3]) * count / 9

    def chi_square(counts):
        return (((np.array(counts) - expected) ** 2) / expected).sum()

    limit = 6 + 6 * 12**0.5  # six standard deviations above the mean of six degrees of freedom
    assert chi_square(counts) < limit
    assert chi_square([counts[0] + counts[1], 0, *counts[2:]]) > limit


def test_no_mask_reaches_the_loss(mixture):
    result = corrupt("numpy", mixture, 0, np.repeat(IMAGE, 9, axis=0), np.arange(9))
    assert result.mask is None and result.cond is None
    assert not mixture.has_mask and not mixture.has_cond
