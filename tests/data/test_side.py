"""Files of pairs: no data by tag, by NaN and by value, and pictures of other modes."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from i2sb_jax.data.side import file_nodata, mask_nodata, read_side, side_header, valid_pixels
from i2sb_jax.pictures import UnreadableImage, decode_rgb, encode_array

RGB = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
ALPHA = np.random.default_rng(1).integers(0, 256, (12, 9), np.uint8)


def tiff(array, nodata=None):
    buffer = io.BytesIO()
    tags = [] if nodata is None else [(42113, "s", 0, nodata, True)]
    tifffile.imwrite(buffer, array, extratags=tags, photometric="minisblack", metadata=None,
                     planarconfig="contig" if array.ndim == 3 else None)  # fmt: skip
    return buffer.getvalue()


def picture(mode):
    """A file of a mode of Pillow's, that is not plain RGB."""
    rgba = Image.fromarray(np.dstack([RGB, ALPHA]))
    image = {
        "L": lambda: Image.fromarray(RGB).convert("L"),
        "LA": lambda: rgba.convert("LA"),
        "RGBA": lambda: rgba,
        "P": lambda: Image.fromarray(RGB).quantize(16),
        "1": lambda: Image.fromarray(RGB).convert("1"),
    }[mode]()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_pictures_among_coloured_ones_are_as_folders_have_them(tmp_path, mode):
    path = tmp_path / "a.png"
    path.write_bytes(picture(mode))
    side = read_side(path, channels=3)
    np.testing.assert_array_equal(side.data, decode_rgb(path.read_bytes()))
    assert side.dtype == np.uint8 and side_header(path, channels=3).channels == 3
    assert valid_pixels(side).all()


def test_deep_pictures_are_converted_in_their_depth(tmp_path):
    deep = np.dstack([RGB, ALPHA]).astype(np.uint16) * 257
    path = tmp_path / "a.png"
    for array in (deep, deep[..., :1], deep[..., 2:]):
        path.write_bytes(encode_array(array, suffix=".png"))
        side = read_side(path, channels=3)
        assert side.dtype == np.uint16 and side.shape == (12, 9, 3)
        eight = Image.fromarray((array // 257).astype(np.uint8).squeeze()).convert("RGBA")
        over = Image.alpha_composite(Image.new("RGBA", eight.size, "white"), eight)
        shown = np.asarray(over.convert("RGB")).astype(int)
        assert abs(side.data / 257 - shown).max() <= 1


def test_what_has_no_plain_conversion_keeps_its_channels(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_array(RGB, suffix=".png"))
    (tmp_path / "a.tif").write_bytes(tiff(RGB[..., 0]))
    assert side_header(tmp_path / "a.png", channels=1).channels == 3
    assert side_header(tmp_path / "a.tif", channels=3).channels == 1  # a band may be missing
    assert read_side(tmp_path / "a.tif", channels=3).shape[-1] == 1


@pytest.mark.parametrize(
    "text, found",
    [
        ("-9999", (-9999.0,)),
        ("-3.4028234663852886e+38", (-3.4028234663852886e38,)),
        (" 0 ", (0.0,)),
        ("none", ()),
    ],
)
def test_the_tag_of_gdal(text, found):
    assert file_nodata(tiff(RGB.astype(np.float32), text), suffix=".TIF") == found
    assert file_nodata(tiff(RGB), suffix=".tif") == ()
    assert file_nodata(encode_array(RGB, suffix=".png"), suffix=".png") == ()


@pytest.mark.parametrize(
    "dtype, written, tag, configured",
    [
        (np.float32, -9999.0, "-9999", ()),
        (np.float32, np.nan, None, ()),
        (np.float64, np.nan, "nan", ()),
        (np.int16, -32768, None, (-32768.0,)),
        (np.uint8, 255, "255", (-9999.0,)),  # of which uint8 has none
        (np.float32, np.float32(-3.4028235e38), "-3.4028234663852886e+38", ()),
        (np.float32, np.inf, None, (1e39,)),  # as float32 has it
    ],
)
def test_pixels_without_data_are_masked(tmp_path, dtype, written, tag, configured):
    values = np.arange(60).reshape(10, 6, 1).astype(dtype)
    gone = np.zeros((10, 6, 1), bool)
    gone[2:4, 1] = gone[9, 5] = True
    values[gone] = written
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values[..., 0], tag))
    side = read_side(path, channels=1, nodata=configured)
    np.testing.assert_array_equal(np.ma.getmaskarray(side), gone)
    np.testing.assert_array_equal(valid_pixels(side), ~gone[..., 0])
    assert side.dtype == dtype


def test_a_pixel_needs_all_channels_of_both_sides():
    one, other = (np.ones((2, 3, 2), np.float32) for _ in range(2))
    one[0, 0, 1] = other[1, 2, 0] = np.nan
    valid = valid_pixels(mask_nodata(one, ()), mask_nodata(other, ()))
    assert not valid[0, 0] and not valid[1, 2] and valid.sum() == 4


def test_infinite_values_are_no_numbers():
    with pytest.raises(UnreadableImage, match="1 of its 4 values are infinite"):
        mask_nodata(np.array([[[1.0], [np.inf]], [[np.nan], [2.0]]]), ())
