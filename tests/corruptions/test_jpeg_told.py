"""What a network is told of a JPEG file, by the corruption and from a header."""

import io

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.corruptions.jpeg_file import SUBSAMPLINGS, file_settings, standard_settings
from i2sb_jax.pictures import read_jpeg_info
from tests.corruptions.cases import cached_corruption, corrupt
from tests.golden import synthetic

SIZE = 32
IMAGES = synthetic.photo(3, SIZE, 5)
NAMES = ("4:4:4", "4:2:2", "4:2:0")


def encode(quality, subsampling):
    file = io.BytesIO()
    pixels = np.uint8(np.clip(np.rint((IMAGES[0] + 1) * 127.5), 0, 255))
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


@pytest.mark.parametrize("quality", (1, 5, 49, 50, 77, 95, 100))
@pytest.mark.parametrize("place", range(3))
def test_a_header_says_what_a_network_was_told(quality, place):
    info = read_jpeg_info(encode(quality, SUBSAMPLINGS[place]))
    told = file_settings(info.luma_table, info.chroma_table, info.subsampling)
    np.testing.assert_array_equal(told, standard_settings(quality, NAMES[place]))
    assert told.dtype == np.float32 and np.abs(told).max() <= 1
    assert tuple(told[2:]) == {"4:4:4": (-1, -1), "4:2:2": (1, -1), "4:2:0": (1, 1)}[NAMES[place]]


def test_coarser_files_have_larger_numbers():
    steps = [standard_settings(quality, "4:2:0")[:2] for quality in range(1, 101)]
    assert (np.diff(steps, axis=0) <= 0).all() and steps[0][0] > steps[-1][0] + 1


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_the_condition_is_how_each_file_was_made(backend):
    index = np.arange(3)
    told, silent = (
        corrupt(backend, cached_corruption(name, image_size=SIZE), 0, IMAGES, index)
        for name in ("jpeg-told-20-80", "jpeg-file-20-80")
    )
    np.testing.assert_array_equal(told.image, silent.image)
    assert told.cond.shape == (3, SIZE, SIZE, 4) and silent.cond is None
    assert np.ptp(told.cond, axis=(1, 2)).max() == 0  # the same at every pixel
    # index 0, 1, 2 are 4:4:4, 4:2:2 and 4:2:0
    np.testing.assert_array_equal(told.cond[:, 0, 0, 2:], [[-1, -1], [1, -1], [1, 1]])
    possible = np.stack([standard_settings(quality, "4:4:4")[:2] for quality in range(20, 81)])
    for picture in told.cond[:, 0, 0, :2]:
        assert np.abs(possible - picture).max(axis=1).min() < 1e-6


def test_drawn_settings_are_told_too():
    corruption = cached_corruption("jpeg-told-5-95", image_size=SIZE)
    flat = np.repeat(IMAGES[:1], 64, axis=0)
    seen = corrupt("numpy", corruption, 3, flat)
    loss = np.square(seen.image - flat).mean(axis=(1, 2, 3))
    whole = seen.cond[:, 0, 0, 2] < 0  # of those with all of their chroma
    # what is told goes with what was lost
    assert np.corrcoef(seen.cond[whole, 0, 0, 0], np.log(loss[whole]))[0, 1] > 0.9
