"""What goes with a picture: colour profiles, dates and camera; in, and out again."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from i2sb_jax.pictures import encode_picture, read_picture
from tests.picture_files import pillow, tiff

RNG = np.random.default_rng(0)
RGBA = RNG.integers(0, 256, (6, 9, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 4), np.uint16)
RGB, GREY = RGBA[..., :3], RGBA[..., :1]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = SRGB[:16] + b"GRAY" + SRGB[20:]  # as far as its header says


@pytest.mark.parametrize(
    ("array", "icc_profile", "kept"),
    [
        (RGB, SRGB, True),
        (RGBA, SRGB, True),
        (GREY[..., 0], GREY_PROFILE, True),
        (GREY[..., 0], SRGB, False),
        (RGB, GREY_PROFILE, False),
        (RGB, b"short", False),
    ],
)
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "JPEG"])
def test_profile_is_kept_where_it_fits(array, icc_profile, kept, image_format):
    if image_format == "JPEG":
        array = array[..., :3] if array.ndim == 3 else array
    picture = read_picture(pillow(array, image_format, icc_profile=icc_profile))
    assert picture.icc_profile == (icc_profile if kept else None)


def test_profile_of_a_deep_tiff():
    extra = [(34675, "B", len(SRGB), SRGB, True)]
    data = tiff(DEEP[..., :3], photometric="rgb", extratags=extra)
    assert read_picture(data).icc_profile == SRGB


def parsed_exif(block):
    tags = Image.Exif()
    tags.load(block)
    return tags


def camera_exif():
    exif = Image.Exif()
    exif.update({0x010F: "Maker", 0x0110: "Model", 0x0132: "2024:02:03 04:05:06", 0x0112: 6})
    exif[0x0131] = "some editor"
    exif[0x8769] = {0x9003: "2024:02:03 04:05:06", 0x829A: 0.005, 0xA434: "50mm", 0xA431: "serial"}
    exif[0x8825] = {1: "N", 2: (48.0, 8.0, 0.0)}
    return exif


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_keeps_date_and_camera_alone(image_format):
    picture = read_picture(pillow(RGB, image_format, exif=camera_exif().tobytes()))
    assert picture.pixels.shape == (9, 6, 3)
    data = encode_picture(picture.pixels, exif=picture.exif)
    for exif in (Image.open(io.BytesIO(data)).getexif(), parsed_exif(
        read_picture(data).exif)):  # fmt: skip
        assert exif[0x010F] == "Maker" and exif[0x0110] == "Model" and exif[0x0112] == 1
        assert exif[0x0132] == "2024:02:03 04:05:06"
        shot = exif.get_ifd(0x8769)
        assert shot[0xA434] == "50mm" and abs(float(shot[0x829A]) - 0.005) < 1e-6
        assert set(exif) == {0x010F, 0x0110, 0x0112, 0x0132, 0x8769}
        assert set(shot) == {0x9003, 0x829A, 0xA434}
    assert read_picture(data).pixels.shape == (9, 6, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12", b"Exif\0\0nothing"])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_does_not_lose_the_picture(exif, image_format):
    picture = read_picture(pillow(RGB, image_format, exif=exif))
    assert picture.pixels.shape == RGB.shape and picture.exif is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_encoded_pictures_are_read_by_others(dtype, channels, has_alpha):
    array = (DEEP >> (0 if dtype == np.uint16 else 8)).astype(dtype)
    profile = SRGB if channels == 3 else GREY_PROFILE
    exif = camera_exif().tobytes()
    alpha = array[..., 3] if has_alpha else None
    data = encode_picture(array[..., :channels], alpha=alpha, icc_profile=profile, exif=exif)
    want = np.concatenate([array[..., :channels], array[..., 3:]], -1) if has_alpha else array
    want = want if has_alpha else array[..., :channels]
    np.testing.assert_array_equal(imagecodecs.png_decode(data), np.squeeze(want))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.size == (9, 6) and image.info["icc_profile"] == profile
        assert image.getexif()[0x010F] == "Maker"
        if dtype == np.uint8:
            np.testing.assert_array_equal(np.asarray(image), np.squeeze(want))
    picture = read_picture(data)
    assert picture.icc_profile == profile and picture.exif
