"""What is taken for pixels, what for [-1, 1], and what for neither."""

import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.restoration.arrays import from_array

ONE = (1, 2, 2, 3)


@pytest.mark.parametrize("dtype, most", [(np.uint8, 255), (np.uint16, 65535)])
def test_whole_numbers_are_pixels(dtype, most):
    taken = from_array(np.array([0, most // 5, most], dtype), bound=1.5)
    assert taken.dtype == np.float32
    np.testing.assert_allclose(taken, [-1, -0.6, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, jnp.bfloat16])
def test_floats_are_what_they_are(dtype):
    taken = from_array(np.array([-1.5, 0.25, 1.5], dtype), bound=1.5)
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, [-1.5, 0.25, 1.5])


@pytest.mark.parametrize(
    "images, words",
    [
        (np.full(ONE, 255.0), "largest value 255.0: pass uint8, or scale by x / 127.5 - 1"),
        (np.full(ONE, 40000.0), "largest value 40000.0: pass uint16, or scale by x / 32767.5 - 1"),
        (np.full(ONE, -2.0), r"largest value -2.0: scale them to \[-1, 1\]"),
        (np.full(ONE, 7, np.int64), "images are int64: pass uint8 or uint16 pixels"),
        (np.ones(ONE, bool), "images are bool: pass uint8"),
        (np.ones(ONE, complex), "images are complex128"),
        (np.array([0.0, np.nan, np.inf]), "2 of the 3 values of the images are NaN or infinite"),
    ],
)
def test_what_is_neither_is_refused(images, words):
    with pytest.raises(ValueError, match=words):
        from_array(images, bound=1.5)


def test_what_lies_in_holes_is_not_looked_at():
    images = np.array([0.5, np.nan, 255.0])
    known = np.array([True, False, False])
    np.testing.assert_array_equal(from_array(images, bound=1.5, known=known), images)


def test_pairs_have_no_bound_and_no_pixels():
    assert from_array(np.array([7.0]), bound=None) == 7
    with pytest.raises(ValueError, match=r"uint8: pass floats, scaled .* value_ranges.json"):
        from_array(np.array([7], np.uint8), bound=None)
