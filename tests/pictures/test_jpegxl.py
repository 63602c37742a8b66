"""JPEG XL by imagecodecs: sizes from headers, pixels, and what is refused."""

import io

import imagecodecs
import numpy as np
import pytest

from i2sb_jax.pictures import UnreadableImage, decode_rgb, picture_size, read_picture

if not imagecodecs.JPEGXL.available:
    pytest.skip("imagecodecs has no JPEG XL here", allow_module_level=True)

DEEP = np.random.default_rng(0).integers(0, 65536, (40, 64, 4), np.uint16)


@pytest.mark.parametrize("size", [(40, 64), (32, 48), (40, 40), (1, 1), (30, 40), (17, 600)])
@pytest.mark.parametrize("usecontainer", [False, True])
def test_size(size, usecontainer):
    array = np.zeros((*size, 3), np.uint8)
    data = imagecodecs.jpegxl_encode(array, lossless=True, usecontainer=usecontainer)
    assert picture_size(io.BytesIO(data)) == size[::-1]
    assert read_picture(data).pixels.shape == array.shape
    with pytest.raises(UnreadableImage, match="pixels are more than"):
        read_picture(data, max_pixels=size[0] * size[1] - 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pixels(dtype, channels):
    array = (DEEP[..., :channels] >> (8 if dtype == np.uint8 else 0)).astype(dtype)
    array = np.ascontiguousarray(array if channels > 1 else array[..., 0])
    picture = read_picture(imagecodecs.jpegxl_encode(array, lossless=True))
    whole = array.reshape(40, 64, channels)
    np.testing.assert_array_equal(picture.pixels, whole[..., : min(channels, 3)], strict=True)
    assert (picture.alpha is not None) == (channels == 4)
    assert decode_rgb(imagecodecs.jpegxl_encode(array, lossless=True)).shape == (40, 64, 3)
    assert picture.notes[0].startswith("is JPEG XL, of which pixels alone are read")


def test_broken():
    data = imagecodecs.jpegxl_encode(DEEP[..., :3].copy(), lossless=True)
    for cut in (data[:10], data[:200]):
        with pytest.raises(UnreadableImage) as error:
            read_picture(cut)
        assert "\n" not in str(error.value)
