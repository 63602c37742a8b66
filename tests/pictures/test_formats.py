"""Results in other formats than PNG: pixels, depth, alpha, profile, EXIF and resolution of each."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from i2sb_jax.pictures import (
    Picture,
    UnreadableImage,
    check_fits,
    encode_as,
    grey_in_srgb,
    lost_in,
    read_picture,
    result_suffix,
)
from tests.picture_files import linear_grey_profile, pillow

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 65536, (70, 21, 4), np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]
DPI_300 = ((b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),)


def camera():
    """EXIF with a camera, exposure, and the mark of Adobe RGB."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769).update({0x829A: 0.005, 0xA001: 65535, 0xA005: {1: "R03"}})
    return read_picture(pillow(DEEP[..., :3].astype(np.uint8), "JPEG", exif=exif.tobytes())).exif


def encoded(picture, suffix, **options):
    fields = {name: getattr(picture, name) for name in ("alpha", "icc_profile", "exif", "chunks")}
    return b"".join(encode_as(picture.pixels, suffix=suffix, **fields, **options))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("suffix", [".tif", ".TIFF", ".png"])
def test_what_is_kept_whole(dtype, channels, has_alpha, suffix):
    array = (DEEP >> (0 if dtype == np.uint16 else 8)).astype(dtype)
    picture = Picture(
        array[..., :channels], array[..., 3] if has_alpha else None,
        SRGB if channels == 3 else GREY_PROFILE, camera(), chunks=DPI_300,
    )  # fmt: skip
    data = encoded(picture, suffix)
    again = read_picture(data)
    np.testing.assert_array_equal(again.pixels, picture.pixels, strict=True)
    if has_alpha:
        np.testing.assert_array_equal(again.alpha, picture.alpha, strict=True)
    assert (again.alpha is None) != has_alpha
    assert again.icc_profile == picture.icc_profile and again.exif == picture.exif
    assert again.chunks == picture.chunks and lost_in(picture, suffix) == () == again.notes
    if suffix != ".png":  # other readers see the same
        others = tifffile.imread(io.BytesIO(data)).reshape(70, 21, -1)
        np.testing.assert_array_equal(others[..., :channels], picture.pixels)
        if dtype == np.uint8:
            with Image.open(io.BytesIO(data)) as image:
                assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
                assert image.getexif().get_ifd(0xA005)[1] == "R03"
                np.testing.assert_array_equal(np.asarray(image).reshape(70, 21, -1), others)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".webp"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_loses_pixels_keeps_the_rest(suffix, channels):
    smooth = np.add.outer(np.arange(40), np.arange(30))[..., None].repeat(channels, 2)
    profile = SRGB if channels == 3 else None if suffix == ".webp" else GREY_PROFILE
    picture = Picture(smooth.astype(np.uint8), None, profile, camera(), chunks=DPI_300)
    again = read_picture(encoded(picture, suffix))
    assert np.abs(again.pixels.astype(int) - picture.pixels).max() <= 4
    assert again.icc_profile == profile and lost_in(picture, suffix) == ()
    assert again.chunks == picture.chunks and again.exif == picture.exif
    if suffix == ".webp":
        return
    quality, is_standard, subsampling, *_ = again.jpeg
    assert (quality, is_standard) == (95, True)
    assert subsampling == ("4:4:4" if channels == 3 else "4:0:0")
    worse = read_picture(encoded(picture, suffix, quality=40))
    assert worse.jpeg.quality == 40


def test_grey_with_a_profile_is_srgb_in_webp():
    grey, profile = np.full((8, 8, 1), 128, np.uint8), linear_grey_profile()
    picture = Picture(grey, None, profile)
    again = read_picture(encoded(picture, ".webp", quality=100))
    expected = grey_in_srgb(grey, profile)
    assert expected[0, 0, 0] == 188
    assert np.abs(again.pixels.astype(int) - expected).max() <= 1
    assert again.icc_profile is None and again.notes == ()
    assert lost_in(picture, ".webp") == (
        "has a grey profile, which .webp cannot keep, and becomes sRGB",
    )


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_a_ratio_of_sides_is_no_size(suffix):
    ratio = (b"pHYs", struct.pack(">IIB", 2, 1, 0))
    picture = Picture(np.zeros((8, 8, 3), np.uint8), chunks=(ratio,))
    assert read_picture(encoded(picture, suffix)).chunks == ()
    assert lost_in(picture, suffix) == (
        f"states the shape of its pixels alone, which {suffix} cannot keep",
    )
    assert read_picture(encoded(picture, ".png")).chunks == (ratio,)


def test_what_a_format_cannot_hold():
    deep = Picture(DEEP[..., :3], None, chunks=((b"gAMA", b"\0\1\x86\xa0"),))
    assert "16 bits a channel, of which .jpg keeps 8" in lost_in(deep, ".jpg")[0]
    assert "gAMA" in lost_in(deep, ".tif")[0] and lost_in(deep, ".png") == ()
    cut_out = Picture(DEEP[..., :3], DEEP[..., 3])
    with pytest.raises(UnreadableImage, match="transparent, which no JPEG can be"):
        check_fits(cut_out, ".jpe")
    check_fits(cut_out, ".webp")
    wide = Picture(np.zeros((1, 5000, 3), np.uint8))
    check_fits(wide, ".webp")
    with pytest.raises(UnreadableImage, match=r"20000 pixels a side, and \.webp at most 16383"):
        check_fits(wide, ".webp", scale=4)


@pytest.mark.parametrize(
    ("name", "file_format", "suffix"),
    [
        ("a.jfif", "same", ".jfif"), ("b/a.TIFF", "same", ".TIFF"), ("a.bmp", "same", ".png"),
        ("a.webp", "same", ".webp"), ("a.jp2", "same", ".png"), ("a.bmp", "jpeg", ".jpg"),
        ("a.tiff", "png", ".png"), ("a", "same", ".png"),
    ],
)  # fmt: skip
def test_suffix_of_a_result(name, file_format, suffix):
    assert result_suffix(name, file_format) == suffix
