"""HEIC files of phones, where the extra `heic` is installed."""

import io

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.files import IMAGE_SUFFIXES
from i2sb_jax.pictures import UnreadableImage, decode_rgb, picture_size, read_picture

pytest.importorskip("pillow_heif")


def heic(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "HEIF", quality=-1, chroma=444, **options)  # -1: lossless
    return file.getvalue()


@pytest.fixture(scope="module")
def pixels():
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC))


def test_one_reads_as_the_decoder_has_it(pixels):
    data = heic(pixels)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, expected)
    np.testing.assert_array_equal(decode_rgb(data), expected)
    assert picture.file_format == "HEIF" and picture_size(io.BytesIO(data)) == (96, 72)
    assert np.abs(expected.astype(int) - pixels).max() <= 3  # colours are YCbCr in the file


def test_dates_and_authors_stay(pixels):
    exif = Image.Exif()
    exif[315] = "Ada"
    kept = read_picture(heic(pixels, exif=exif)).exif
    assert kept is not None and b"Ada" in kept


@pytest.mark.parametrize("length", [100, 500, 900])
def test_a_cut_file_is_unreadable(pixels, length):
    with pytest.raises(UnreadableImage):
        read_picture(heic(pixels)[:length])


def test_its_suffixes_are_listed():
    assert {".heic", ".heif"} <= set(IMAGE_SUFFIXES)
