"""PNGs written part by part are read by others as what went in."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.pictures.png import encode_png_rows, read_text, with_text

RNG = np.random.default_rng(3)
SHAPES = [(1, 1, 1), (3, 1, 3), (1, 70, 2), (64, 5, 4), (65, 130, 3), (200, 9, 1)]


def smooth(shape, dtype):
    """Waves and noise: rows for which each of the filters is the best now and then."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    waves = np.sin(rows / 7 + np.cos(columns / 5))[..., None] + np.arange(shape[2]) / 3
    noisy = waves + RNG.normal(0, 0.3, shape) * (rows[..., None] % 3 == 0)
    most = np.iinfo(dtype).max
    return np.clip((noisy + 1) / 4 * most, 0, most).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_written_is_read_by_libpng(shape, dtype):
    array = smooth(shape, dtype)
    read = imagecodecs.png_decode(b"".join(encode_png_rows(array)))
    np.testing.assert_array_equal(read.reshape(shape), array)
    assert read.dtype == dtype


def test_every_filter_is_written_and_read_by_pillow():
    array = np.concatenate([smooth((90, 40, 3), np.uint8), RNG.integers(0, 2, (90, 40, 3)) * 255])
    array = np.concatenate([array, np.full((40, 40, 3), 9)]).astype(np.uint8)
    data = b"".join(encode_png_rows(array, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), array)


def test_parts_stay_small_and_the_whole_is_no_larger_than_that_of_libpng():
    array = smooth((1024, 600, 3), np.uint8)
    parts = list(encode_png_rows(array))
    assert max(map(len, parts)) < array.nbytes / 8
    assert sum(map(len, parts)) < 1.05 * len(imagecodecs.png_encode(array))


def test_a_text_goes_in_and_comes_out_and_pixels_stay():
    array = smooth((20, 30, 3), np.uint8)
    data = b"".join(with_text(encode_png_rows(array), "made by", "a test"))
    assert read_text(io.BytesIO(data), "made by") == "a test"
    assert read_text(io.BytesIO(data), "made") is None
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), array)
        assert image.text == {"made by": "a test"}
    for broken in (b"", b"no PNG", data[:45], b"".join(encode_png_rows(array))):
        assert read_text(io.BytesIO(broken), "made by") is None
