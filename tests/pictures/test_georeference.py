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


@pytest.mark.parametrize(
    ("data", "per_centimetre"),
    [
        (tiff(ARRAY[..., 0], imagej=True, resolution=(20000 / 7, 2000), metadata={"unit": "mm"}),
         (200000 / 7, 20000)),
        (tiff(ARRAY[..., 0], imagej=True, resolution=(4, 4), metadata={"unit": "micron"}),
         (40000, 40000)),
        (tiff(ARRAY[..., 0], ome=True, metadata={
            "axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm"}), (20000, 40000)),
        (tiff(ARRAY[..., 0], resolution=(254, 254), resolutionunit="INCH"), (100, 100)),
    ],
)  # fmt: skip
def test_size_of_a_pixel(data, per_centimetre):
    assert place_of(data).per_centimetre == pytest.approx(per_centimetre, rel=1e-6)
    with tifffile.TiffFile(io.BytesIO(placed(data))) as result:
        tags = result.pages[0].tags
        found = [tags[code].value[0] / tags[code].value[1] for code in (282, 283)]
        assert found == pytest.approx(per_centimetre, rel=1e-6) and tags[296].value == 3


@pytest.mark.parametrize("data", [b"", b"II*\0", pillow(np.zeros((3, 3), np.uint8))])
def test_nowhere(data):
    assert place_of(data) == Place()
