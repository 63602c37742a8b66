"""Quality and subsampling read back from JPEGs written at known settings."""

import io

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from i2sb_jax.corruptions.constants import quantisation_table
from i2sb_jax.jpeg_tables import CHROMINANCE_TABLE, LUMINANCE_TABLE, standard_table
from i2sb_jax.pictures import UnreadableImage, read_jpeg_info

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8))
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def jpeg(mode="RGB", **options):
    buffer = io.BytesIO()
    PICTURE.convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 2, 3, 5, 7, 10, 23, 49, 50, 51, 75, 90, 95, 98, 99, 100])
def test_exact_for_known_settings(quality, subsampling):
    data = jpeg(quality=quality, subsampling=subsampling)
    info = read_jpeg_info(data)
    assert info[:3] == (quality, True, subsampling)
    tables = JpegImagePlugin.JpegImageFile(io.BytesIO(data)).quantization
    assert info.luma_table.ravel().tolist() == tables[0]
    assert info.chroma_table.ravel().tolist() == tables[1]


@pytest.mark.parametrize("quality", [1, 4, 30, 60, 85, 100])
def test_grey_progressive_and_others(quality):
    grey = read_jpeg_info(jpeg("L", quality=quality))
    assert grey[:3] == (quality, True, "4:0:0") and grey.chroma_table is None
    progressive = jpeg(quality=quality, progressive=True, optimize=True, subsampling="4:2:0")
    assert read_jpeg_info(progressive)[:3] == (quality, True, "4:2:0")
    rgb = read_jpeg_info(jpeg(quality=quality, keep_rgb=True))
    assert rgb[:3] == (quality, True, "4:4:4") and rgb.chroma_table is None
    assert read_jpeg_info(jpeg("CMYK", quality=quality)).quality == quality


def test_no_two_qualities_share_a_luma_table():
    assert len({standard_table(LUMINANCE_TABLE, q).tobytes() for q in range(1, 101)}) == 100


def test_what_precedes_the_tables_is_skipped():
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    data = jpeg(quality=42, exif=exif, icc_profile=b"profile" * 20_000, comment="\xff\xdb")
    assert read_jpeg_info(data)[:2] == (42, True)
    assert read_jpeg_info(io.BytesIO(data))[:2] == (42, True)


def test_other_tables_are_told_and_the_nearest_quality_named():
    luma, chroma = (standard_table(table, 80) for table in (LUMINANCE_TABLE, CHROMINANCE_TABLE))
    exact = [luma.ravel().tolist(), chroma.ravel().tolist()]
    assert read_jpeg_info(jpeg(qtables=exact))[:2] == (80, True)
    luma[3, 3] += 1
    near = [luma.ravel().tolist(), chroma.ravel().tolist()]
    assert read_jpeg_info(jpeg(qtables=near))[:2] == (80, False)
    mixed = [exact[0], standard_table(CHROMINANCE_TABLE, 60).ravel().tolist()]
    info = read_jpeg_info(jpeg(qtables=mixed))
    assert not info.is_standard and 60 <= info.quality <= 80
    # Luma's table for all three is not what the standard encoder does, though luma agrees.
    assert not read_jpeg_info(jpeg(qtables=exact[:1])).is_standard
    flat = read_jpeg_info(jpeg(qtables=[[255] * 64] * 2))
    assert flat[:2] == (1, True)


def test_the_published_operator_scales_in_fractions():
    for quality in range(1, 101):
        ours, theirs = (f(LUMINANCE_TABLE, quality) for f in (standard_table, quantisation_table))
        assert 0 <= (theirs - ours).min() <= (theirs - ours).max() <= (2 if quality < 50 else 0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JPEG"),
        (b"\x89PNG\r\n", "not a JPEG"),
        (b"\xff\xd8", "broken header"),
        (b"\xff\xd8\xff\xda\0\2", "broken header"),
        (b"\xff\xd8\xff\xdb\0\1", "broken header"),
        (b"\xff\xd8\xff\xdb\0\x43\0" + b"\1" * 20, "broken header"),
        (jpeg()[:200], "broken header"),
        (jpeg().replace(b"\xff\xc0", b"\xff\xe5"), "broken header"),
    ],
)
def test_broken(data, message):
    with pytest.raises(UnreadableImage, match=message):
        read_jpeg_info(data)
