"""Results of pairs lie where their sources do: on the ground, and under a microscope."""

import io

import numpy as np
import pytest
import tifffile

from i2sb_jax.pictures import Place, decode_array, encode_array, place_of
from tests.picture_files import pillow, tiff

ARRAY = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
GEO = [
    (33550, 12, 3, (10.0, 10.0, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 5e5, 4.6e6, 0.0), True),
    (34735, 3, 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34737, 2, 7, "WGS 84|", True),
    (42113, 2, 5, "-9999", True),
]


def placed(data):
    return encode_array(ARRAY, suffix=".tif", place=place_of(data))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_ground(byteorder, bigtiff):
    data = placed(tiff(ARRAY[..., 0], extratags=GEO, byteorder=byteorder, bigtiff=bigtiff))
    with tifffile.TiffFile(io.BytesIO(data)) as result:
        tags = result.pages[0].tags
        for code, _, _, value, _ in GEO:
            assert tags[code].value == value
    np.testing.assert_array_equal(decode_array(data, suffix=".tif"), ARRAY)
    assert place_of(data) == place_of(placed(data))


def imagej(unit, **options):
    return tiff(ARRAY[..., 0], imagej=True, metadata={"unit": unit}, **options)


def ome(x, y):
    names = ("PhysicalSizeX", "PhysicalSizeXUnit", "PhysicalSizeY", "PhysicalSizeYUnit")
    metadata = {"axes": "YX", **dict(zip(names, (*x, *y), strict=True))}
    return tiff(ARRAY[..., 0], ome=True, metadata=metadata)


SIZES = [
    (imagej("mm", resolution=(20000 / 7, 2000)), (200000 / 7, 20000), "mm"),
    (imagej("micron", resolution=(4, 4)), (40000, 40000), "micron"),
    (imagej("\\u00B5m", resolution=(4, 5)), (40000, 50000), "µm"),
    (imagej("cm", resolution=(3, 3), byteorder=">"), (3, 3), "cm"),
    (ome((0.5, "µm"), (250, "nm")), (20000, 40000), "µm"),
    (ome((0.25, "mm"), (0.5, "mm")), (40, 20), "mm"),
    (tiff(ARRAY[..., 0], resolution=(254, 254), resolutionunit="INCH"), (100, 100), ""),
]


@pytest.mark.parametrize(("data", "per_centimetre", "unit"), SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int64])
def test_size_of_a_pixel(data, per_centimetre, unit, channels, dtype):
    place = place_of(data)
    assert place.per_centimetre == pytest.approx(per_centimetre, rel=1e-6)
    assert place.unit == unit
    array = np.arange(5 * 7 * channels).reshape(5, 7, channels).astype(dtype)
    result = encode_array(array, suffix=".tif", place=place)
    np.testing.assert_array_equal(decode_array(result, suffix=".tif"), array, strict=True)
    again = place_of(result)
    assert again.per_centimetre == pytest.approx(per_centimetre, rel=1e-6)
    held = dtype != np.int64 and (place.told_by == "ome" or channels == 1)
    assert (again.told_by, again.unit) == ((place.told_by, unit) if held else ("", ""))


def test_others_read_what_is_written():
    with tifffile.TiffFile(io.BytesIO(placed(SIZES[-1][0]))) as result:
        tags = result.pages[0].tags
        assert [tags[code].value[0] / tags[code].value[1] for code in (282, 283)] == [100, 100]
        assert tags[296].value == 3
    one = encode_array(ARRAY[..., :1], suffix=".tif", place=place_of(SIZES[2][0]))
    with tifffile.TiffFile(io.BytesIO(one)) as result:
        assert result.is_imagej and result.imagej_metadata["unit"] == "\\u00B5m"
        np.testing.assert_array_equal(result.asarray(), ARRAY[..., 0])
        (across, above), (down, below) = (result.pages[0].tags[code].value for code in (282, 283))
        assert (across / above, down / below) == (4, 5)
    with tifffile.TiffFile(io.BytesIO(placed(SIZES[4][0]))) as result:
        assert result.is_ome and 'PhysicalSizeXUnit="µm"' in result.ome_metadata
        np.testing.assert_array_equal(result.asarray(), ARRAY)


@pytest.mark.parametrize("data", [b"", b"II*\0", pillow(np.zeros((3, 3), np.uint8))])
def test_nowhere(data):
    assert place_of(data) == Place()
