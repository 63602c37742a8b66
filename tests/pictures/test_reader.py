"""Odd and broken pictures, generated here with Pillow."""

import os
import struct

import numpy as np
import pytest
from PIL import Image

from i2sb_jax import files
from i2sb_jax.pictures import (
    UnreadableImage,
    center_crop,
    decode_rgb,
    from_uint8,
    resize_short_side,
    to_rgb,
    to_uint8,
    write_png,
)
from tests.picture_files import STORED, pillow, png

# Smooth, so that lossy formats keep it; no symmetry, so that every orientation differs.
_ROWS, _COLUMNS = np.mgrid[:12, :20]
PICTURE = np.stack([_COLUMNS * 12, _ROWS * 20, (_ROWS + _COLUMNS) * 4], -1).astype(np.uint8)


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_keep_every_pixel(image_format):
    np.testing.assert_array_equal(decode_rgb(pillow(PICTURE, image_format)), PICTURE)


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "JPEG2000"])
def test_lossy_formats_are_close(image_format):
    decoded = decode_rgb(pillow(PICTURE, image_format))
    assert decoded.dtype == np.uint8 and decoded.shape == PICTURE.shape
    assert np.abs(decoded.astype(int) - PICTURE).mean() < 8


def test_cmyk():
    decoded = decode_rgb(pillow(Image.fromarray(PICTURE).convert("CMYK"), "TIFF"))
    np.testing.assert_array_equal(decoded, PICTURE)
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    decoded = decode_rgb(pillow(red, "JPEG", quality=100))
    assert decoded.shape == (16, 16, 3) and decoded[..., 0].min() > 250 > 5 > decoded[..., 1:].max()


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_is_repeated(mode):
    image = Image.fromarray(PICTURE[..., 0]).convert(mode)
    want = np.asarray(image.convert("L"))
    decoded = decode_rgb(pillow(image))
    np.testing.assert_array_equal(decoded, np.repeat(want[..., None], 3, -1))


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_not_clipped(image_format):
    levels = np.array([[0, 1, 128, 129, 255], [256, 257, 32768, 65407, 65535]], np.uint16)
    decoded = decode_rgb(pillow(levels, image_format))
    np.testing.assert_array_equal(decoded[..., 0], [[0, 0, 0, 1, 1], [1, 1, 128, 255, 255]])
    np.testing.assert_array_equal(decoded[..., 0], decoded[..., 2])


def test_big_endian_sixteen_bit_tiff():
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257, 65535))
    assert decode_rgb(pillow(image, "TIFF"))[0, :, 0].tolist() == [1, 255]


def test_transparency_lies_over_white():
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[:, 1] = (255, 0, 0, 255)
    rgba[:, 2] = (0, 0, 0, 128)
    decoded = decode_rgb(pillow(rgba))
    assert decoded[0].tolist() == [[255, 255, 255], [255, 0, 0], [127, 127, 127]]


def test_palette_with_and_without_transparency():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    colours = [[10, 20, 30], [200, 100, 0], [0, 0, 255]]
    assert decode_rgb(pillow(image))[0].tolist() == colours
    one = decode_rgb(pillow(image, transparency=1))
    assert one[0].tolist() == [colours[0], [255, 255, 255], colours[2]]
    table = decode_rgb(pillow(image, transparency=b"\xff\x00\xff"))
    assert table[0].tolist() == [colours[0], [255, 255, 255], colours[2]]


def test_transparent_colour_of_an_rgb_png():
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    decoded = decode_rgb(pillow(image, transparency=(1, 2, 3)))
    assert decoded[0].tolist() == [[255, 255, 255], [4, 5, 6]]


@pytest.mark.parametrize("image_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(image_format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = pillow(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    assert decode_rgb(data)[3, 3].tolist() == [255, 0, 0]


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation, image_format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](PICTURE))
    decoded = decode_rgb(pillow(stored, image_format, exif=exif))
    np.testing.assert_array_equal(decoded, PICTURE)


def test_exif_orientation_of_a_jpeg():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_rgb(pillow(PICTURE, "JPEG", exif=exif)).shape == (20, 12, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12", b"Exif\0\0nothing"])
def test_broken_exif_does_not_lose_the_picture(exif):
    assert decode_rgb(pillow(PICTURE, "JPEG", exif=exif)).shape == PICTURE.shape


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(image_format, part):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    data = pillow(noise, image_format)
    with pytest.raises(UnreadableImage) as error:
        decode_rgb(data[: int(len(data) * part)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"not a picture at all", "no known picture format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no known picture format"),
        (pillow(np.zeros((4, 4), np.float32), "TIFF"), "no stated range"),
    ],
)
def test_unreadable(data, message):
    with pytest.raises(UnreadableImage, match=message):
        decode_rgb(data)


def test_too_large_is_refused_from_the_header():
    with pytest.raises(UnreadableImage, match="20x12 pixels are more than the 239"):
        decode_rgb(pillow(PICTURE), max_pixels=239)
    # Three sizes: our own limit, where Pillow warns, and where Pillow refuses.
    for side in (9_000, 12_000, 60_000):
        with pytest.raises(UnreadableImage, match="pixels"):
            decode_rgb(png(side, side), max_pixels=80_000_000)


@pytest.mark.parametrize(
    ("shape", "size", "want"),
    [((375, 500), 256, (256, 341)), ((500, 375), 256, (341, 256)), ((10, 13), 20, (20, 26))],
)
def test_resize_short_side(shape, size, want):
    flat = np.full((*shape, 3), 77, np.uint8)
    resized = resize_short_side(flat, size)
    assert resized.shape == (*want, 3) and (resized == 77).all()
    assert resize_short_side(flat, min(shape)) is flat


def test_resize_antialiases():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(resize_short_side(stripes, 16)[:, 2:-2].astype(int)) < 40


@pytest.mark.parametrize(("shape", "top_left"), [((12, 20), (2, 6)), ((9, 8), (0, 0))])
def test_center_crop(shape, top_left):
    image = np.arange(np.prod(shape)).reshape(*shape, 1)
    top, left = top_left
    crop = center_crop(image, 8)
    np.testing.assert_array_equal(crop, image[top : top + 8, left : left + 8])


def test_uint8_follows_the_protocol():
    x = np.array([-2, -1, -0.999, 0, 0.999, 1, 7], np.float32)
    assert to_uint8(x).tolist() == [0, 0, 0, 127, 254, 255, 255]
    levels = np.arange(256, dtype=np.uint8)
    there = from_uint8(levels)
    assert there.dtype == np.float32 and there[0] == -1 and there[-1] == 1
    # Truncation of a float32 that fell just below the level: one level at most.
    assert set((levels - to_uint8(there).astype(int)).tolist()) <= {0, 1}


def test_write_png_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "new" / "picture.png"
    write_png(path, PICTURE)
    np.testing.assert_array_equal(decode_rgb(path.read_bytes()), PICTURE)
    assert os.listdir(path.parent) == ["picture.png"]
    write_png(path, PICTURE[..., 0])
    assert decode_rgb(path.read_bytes())[..., 1].max() == PICTURE[..., 0].max()

    before = path.read_bytes()
    with pytest.raises(TypeError):
        files.write_atomically(path, None)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["picture.png"]


def test_list_images(tmp_path):
    for name in ("b.png", "a/z.JPEG", "a/b/c.webp", ".hidden.png", ".git/x.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "b")
    assert files.list_images(tmp_path) == ["a/b/c.webp", "a/z.JPEG", "b.png", "linked/c.webp"]


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}/none does not exist"):
        files.list_images(tmp_path / "none")
    with pytest.raises(ValueError, match=f"no pictures in {tmp_path}"):
        files.list_images(tmp_path)
    (tmp_path / "file.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"file\.png is not a folder"):
        files.list_images(tmp_path / "file.png")


@pytest.mark.parametrize("channels, shown", [(1, [0, 0, 0]), (2, [0, 0, 0]), (5, [0, 1, 2])])
def test_what_is_shown_of_many_channels(channels, shown):
    image = np.arange(channels, dtype=np.uint8) * np.ones((2, 4, 5, 1), np.uint8)
    rgb = to_rgb(image)
    assert rgb.shape == (2, 4, 5, 3) and rgb[0, 0, 0].tolist() == shown
