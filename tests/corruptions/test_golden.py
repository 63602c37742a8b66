"""Each operator against values computed with the reference implementation."""

from pathlib import Path

import numpy as np
import pytest

from tests.corruptions.cases import BACKENDS, cached_corruption, degrade
from tests.golden import synthetic

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = (
    "jpeg-5",
    "jpeg-10",
    "sr4x-pool",
    "sr4x-bicubic",
    "blur-uni",
    "blur-gauss",
    "inpaint-center",
)
# Equal singular values may be sorted either way, which moves the published blur by this much.
BLUR_TOLERANCE = {64: 2.5e-2, 256: 3e-3}
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def golden64():
    return np.load(GOLDEN / "corrupt64.npz")


@pytest.fixture(scope="module")
def golden256():
    return np.load(GOLDEN / "corrupt256.npz")


def assert_agrees(name, size, actual, expected):
    error = np.abs(actual - expected)
    if name in ("blur-uni", "blur-gauss"):
        assert error.max() < BLUR_TOLERANCE[size]
    elif name.startswith("jpeg"):
        # a coefficient at the middle between two steps may be rounded either way
        assert (error > TOLERANCE).mean() < 1e-3
    else:
        assert error.max() < TOLERANCE


def test_inputs_are_those_of_the_golden_file(golden64):
    np.testing.assert_array_equal(golden64["clean"], synthetic.photo(2, 64, 11))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NAMES)
def test_64(name, backend, golden64):
    corruption = cached_corruption(name, image_size=64)
    actual = degrade(backend, corruption, golden64["clean"])
    assert_agrees(name, 64, actual, golden64[name])


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
@pytest.mark.parametrize("name", NAMES)
def test_256(name, backend, golden256):
    corruption = cached_corruption(name, image_size=256)
    actual = degrade(backend, corruption, synthetic.photo(1, 256, 12))
    assert_agrees(name, 256, actual[:, 96:160, 96:160], golden256[name])
    mean, std, largest = golden256[f"{name}/checksum"]
    tolerance = BLUR_TOLERANCE[256] if name in ("blur-uni", "blur-gauss") else TOLERANCE
    assert abs(actual.mean(dtype=np.float64) - mean) < tolerance
    assert abs(actual.std(dtype=np.float64) - std) < tolerance
    assert abs(np.abs(actual).max() - largest) < tolerance


@pytest.mark.parametrize("size", (64, 256))
def test_center_mask(size, golden64, golden256):
    golden = {64: golden64, 256: golden256}[size]["inpaint-center/mask"]
    images = np.zeros((1, size, size, 3), np.float32)
    mask = cached_corruption("inpaint-center", image_size=size)(np.random.default_rng(0), images)[1]
    np.testing.assert_array_equal(mask[0, :, :, 0], golden)


@pytest.mark.parametrize("name", ("blur-uni", "blur-gauss"))
def test_published_blur_is_told_from_the_plain_one(name, golden64):
    """Negative control: the tolerance of the blur goldens is tight enough to see the slip."""
    plain = cached_corruption(f"{name}-exact", image_size=64).degrade(golden64["clean"])
    assert np.abs(plain - golden64[name]).max() > 4 * BLUR_TOLERANCE[64]
