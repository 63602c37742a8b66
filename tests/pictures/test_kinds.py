"""Any picture in, the same kind out: modes, depths, alpha, profiles, EXIF, sizes."""

import io
import struct
import subprocess
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from i2sb_jax.pictures import (
    UnreadableImage,
    encode_picture,
    from_pixels,
    from_uint8,
    modes,
    picture_size,
    read_picture,
    to_pixels,
    to_uint8,
)
from tests.picture_files import STORED, pillow, png, tiff

RNG = np.random.default_rng(0)
RGBA = RNG.integers(0, 256, (6, 9, 4), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 9, 4), np.uint16)
RGB, GREY, ALPHA = RGBA[..., :3], RGBA[..., :1], RGBA[..., 3]


def deep_png(array):
    return imagecodecs.png_encode(np.ascontiguousarray(array))


def palette():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    return image


COLOURS = np.array([[[10, 20, 30], [200, 100, 0], [0, 0, 255]]], np.uint8)
PREMULTIPLIED = np.concatenate(
    [np.rint(DEEP[..., :3] * (DEEP[..., 3:] / 65535)).astype(np.uint16), DEEP[..., 3:]], -1
)


@pytest.mark.parametrize(
    ("data", "pixels", "alpha"),
    [
        (pillow(RGB), RGB, None),
        (pillow(RGBA), RGB, ALPHA),
        (pillow(RGBA, "WEBP", lossless=True, exact=True), RGB, ALPHA),
        (pillow(RGBA, "TIFF"), RGB, ALPHA),
        (pillow(RGB, "TIFF", compression="tiff_lzw"), RGB, None),
        (pillow(RGB, "BMP"), RGB, None),
        (pillow(RGB, "PPM"), RGB, None),
        (pillow(RGBA[..., 2:]), RGBA[..., 2:3], ALPHA),
        (pillow(RGBA[..., 2:], "TIFF"), RGBA[..., 2:3], ALPHA),
        (pillow(GREY[..., 0]), GREY, None),
        (pillow(GREY[..., 0], "BMP"), GREY, None),
        (pillow(Image.fromarray(GREY[..., 0] > 99)), (GREY > 99) * np.uint8(255), None),
        (pillow(Image.fromarray(GREY[..., 0] > 99), "TIFF"), (GREY > 99) * np.uint8(255), None),
        (pillow(palette()), COLOURS, None),
        (pillow(palette(), transparency=1), COLOURS, [[255, 0, 255]]),
        (pillow(palette(), transparency=b"\xff\x00\x33"), COLOURS, [[255, 0, 51]]),
        (pillow(palette(), "TIFF"), COLOURS, None),
        (pillow(palette(), "GIF", transparency=1), COLOURS, [[255, 0, 255]]),
        (pillow(palette(), "GIF"), COLOURS, None),
        (pillow(Image.fromarray(np.array([[5, 9]], np.uint8)), transparency=9),
         np.array([[[5], [9]]], np.uint8), [[255, 0]]),
        (pillow(COLOURS, transparency=(200, 100, 0)), COLOURS, [[255, 0, 255]]),
        (pillow(DEEP[..., 0]), DEEP[..., :1], None),
        (pillow(DEEP[..., 0], "TIFF"), DEEP[..., :1], None),
        (pillow(DEEP[..., 0], "PPM"), DEEP[..., :1], None),
        (pillow(Image.frombytes("I;16B", (2, 1), b"\1\2\xff\xfe"), "TIFF"),
         np.array([[[258], [65534]]], np.uint16), None),
        (tiff(DEEP[..., 0], photometric="miniswhite"), 65535 - DEEP[..., :1], None),
        (deep_png(DEEP[..., :3]), DEEP[..., :3], None),
        (deep_png(DEEP), DEEP[..., :3], DEEP[..., 3]),
        (deep_png(DEEP[..., 2:]), DEEP[..., 2:3], DEEP[..., 3]),
        (tiff(DEEP[..., :3], photometric="rgb"), DEEP[..., :3], None),
        (tiff(DEEP[..., :3].transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
         DEEP[..., :3], None),
        (tiff(DEEP, photometric="rgb", extrasamples=["unassalpha"]), DEEP[..., :3], DEEP[..., 3]),
        (tiff(DEEP, photometric="rgb", extrasamples=["unspecified"]), DEEP[..., :3], None),
        (tiff(DEEP[None].repeat(2, 0)[..., :3], photometric="rgb"), DEEP[..., :3], None),
        (pillow(np.array([[7, 70]], np.int32), "TIFF"), np.array([[[7], [70]]], np.uint16), None),
        (pillow(np.zeros((1, 1, 3), np.uint8)), np.zeros((1, 1, 3), np.uint8), None),
        (pillow(np.ones((50, 8000, 3), np.uint8)), np.ones((50, 8000, 3), np.uint8), None),
    ],
)  # fmt: skip
def test_every_kind(data, pixels, alpha):
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, pixels, strict=True)
    if alpha is None:
        assert picture.alpha is None
    else:
        np.testing.assert_array_equal(picture.alpha, np.array(alpha, pixels.dtype), strict=True)
    assert picture.icc_profile is None and picture.exif is None and picture.jpeg is None
    height, width = pixels.shape[:2]
    assert picture_size(io.BytesIO(data)) == (width, height)
    # ... and the same kind out.
    again = read_picture(encode_picture(picture.pixels, alpha=picture.alpha))
    np.testing.assert_array_equal(again.pixels, picture.pixels, strict=True)
    assert (again.alpha is None) == (picture.alpha is None)


def test_palette_with_alpha():
    image = palette().convert("PA")  # which files hold it is Pillow's affair: none that it writes
    image.putalpha(Image.frombytes("L", (3, 1), bytes([255, 7, 0])))
    assert image.mode == "PA"
    pixels, alpha = modes.layers_of(image)
    np.testing.assert_array_equal(pixels, COLOURS)
    assert alpha.tolist() == [[255, 7, 0]]


def test_premultiplied_alpha_is_divided_out():
    data = tiff(PREMULTIPLIED, photometric="rgb", extrasamples=["assocalpha"])
    pixels, alpha, *_ = read_picture(data)
    np.testing.assert_array_equal(alpha, DEEP[..., 3])
    seen = alpha > 20_000
    assert np.abs(pixels.astype(int) - DEEP[..., :3])[seen].max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (8000, 50), (50, 8000)])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_extreme_sizes(size, image_format):
    data = pillow(Image.new("RGB", size, (40, 40, 40)), image_format)
    assert picture_size(io.BytesIO(data)) == size
    picture = read_picture(data)
    assert picture.pixels.shape == (size[1], size[0], 3) and picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.astype(int) - 40).max() <= 2


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(mode, progressive):
    image = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8), (16, 1))).convert(mode)
    picture = read_picture(pillow(image, "JPEG", quality=83, progressive=progressive))
    assert picture.pixels.shape == (16, 64, 1 if mode == "L" else 3)
    assert np.abs(picture.pixels[..., 0].astype(int) - np.arange(64)).max() <= 4
    assert picture.jpeg[:2] == (83, True)


def turned(array, orientation, image_format):
    stored = np.ascontiguousarray(STORED[orientation](array))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if image_format == "48-bit PNG":
        return encode_picture(stored[..., :3], alpha=stored[..., 3], exif=exif.tobytes())
    if image_format == "48-bit TIFF":
        extra = [(0x0112, "H", 1, orientation, True)]
        return tiff(stored, photometric="rgb", extrasamples=["unassalpha"], extratags=extra)
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    return pillow(stored, image_format, exif=exif, **options)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP", "48-bit PNG", "48-bit TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation(orientation, image_format):
    array = DEEP if image_format.startswith("48") else RGBA
    data = turned(array, orientation, image_format)
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, array[..., :3])
    np.testing.assert_array_equal(picture.alpha, array[..., 3])
    assert picture_size(io.BytesIO(data)) == (9, 6)


def test_orientation_of_a_jpeg():
    data = turned(RGB, 6, "JPEG")
    assert picture_size(io.BytesIO(data)) == (9, 6)
    assert read_picture(data).pixels.shape == (6, 9, 3)


def cmyk_profile():
    """A profile that turns ink (1 or 0 of each colour) into CIELAB: much cyan is a mid grey."""
    grid = np.full((2, 2, 2, 2, 3), (255, 128, 128), np.uint8)
    grid[1] = (128, 128, 128)
    grid[..., 1, :] = (0, 128, 128)  # black ink is black, else the darkest grey would become it
    identity = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    lut += b"".join(struct.pack(">i", 65536 * (i % 4 == 0)) for i in range(9))
    lut += identity * 4 + grid.tobytes() + identity * 3
    head = struct.pack(">I4sI4s4s4s", 128 + 16 + len(lut), b"lcms", 0x02400000, b"prtr", b"CMYK",
                       b"Lab ")  # fmt: skip
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return head.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile(image_format):
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    quality = {"quality": 100} if image_format == "JPEG" else {}
    plain = read_picture(pillow(image, image_format, **quality))
    assert np.abs(plain.pixels.astype(int) - (0, 255, 255)).max() <= 2
    managed = read_picture(pillow(image, image_format, icc_profile=cmyk_profile(), **quality))
    assert np.abs(managed.pixels.astype(int) - 119).max() <= 3  # L* = 50
    broken = read_picture(pillow(image, image_format, icc_profile=cmyk_profile()[:40], **quality))
    np.testing.assert_array_equal(broken.pixels, plain.pixels)
    for picture in (plain, managed, broken):
        assert picture.icc_profile is None and picture.alpha is None


def test_lab_becomes_srgb():
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    colour = Image.new("RGB", (4, 4), (180, 90, 60))
    stored = ImageCms.profileToProfile(colour, srgb, lab, outputMode="LAB")
    pixels = read_picture(pillow(stored, "TIFF")).pixels
    assert np.abs(pixels.astype(int) - (180, 90, 60)).max() <= 3


def test_ycbcr_tiff():
    data = pillow(Image.new("YCbCr", (16, 16), (100, 90, 200)), "TIFF", compression="jpeg")
    want = Image.new("YCbCr", (1, 1), (100, 90, 200)).convert("RGB").getpixel((0, 0))
    assert np.abs(read_picture(data).pixels.astype(int) - want).max() <= 3


@pytest.mark.parametrize(
    ("pixels", "alpha", "message"),
    [
        (RGB[..., 0], None, r"not \(6, 9\)"),
        (RGBA, None, r"not \(6, 9, 4\)"),
        (RGB, DEEP[..., 3], "does not fit"),
        (RGB, ALPHA[1:], "does not fit"),
        (RGB.astype(np.float32), None, "not float32"),
    ],
)
def test_what_is_no_picture_is_not_written(pixels, alpha, message):
    with pytest.raises(ValueError, match=message):
        encode_picture(pixels, alpha=alpha)


def test_pixels_and_numbers():
    levels = np.arange(65536, dtype=np.uint16)
    x = from_pixels(levels)
    assert x.dtype == np.float32 and x[0] == -1 and x[-1] == 1
    np.testing.assert_array_equal(to_pixels(x, np.uint16), levels, strict=True)
    assert to_pixels(np.array([-9, 9]), np.uint16).tolist() == [0, 65535]
    bytes_ = levels[:256].astype(np.uint8)
    np.testing.assert_array_equal(from_pixels(bytes_), from_uint8(bytes_))
    np.testing.assert_array_equal(to_pixels(x[::257], np.uint8), bytes_, strict=True)
    # 0.6 of the way to the next level: kept pictures are rounded, the protocol truncates
    between = np.array([0.6 / 127.5 - 1])
    assert to_pixels(between, np.uint8).tolist() == [1]
    assert to_uint8(between).tolist() == [0]
    for call in (lambda: from_pixels(x), lambda: to_pixels(x, np.int8)):
        with pytest.raises(ValueError, match="uint8 or uint16"):
            call()


FLOATS = tiff(np.zeros((4, 4), np.float32))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"not a picture at all", "no known picture format"),
        (FLOATS, "no stated range"),
        (pillow(np.array([[7, 70_000]], np.int32), "TIFF"), r"values 7\.\.\.70000 has no stated"),
        (tiff(DEEP[..., :3], photometric="rgb")[:200], "."),
        (encode_picture(RGB)[:80], "."),
        (encode_picture(RGB)[:20], "."),
    ],
)
def test_unreadable(data, message):
    with pytest.raises(UnreadableImage, match=message) as error:
        read_picture(data)
    assert "\n" not in str(error.value)


def test_size_of_a_path(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(pillow(RGB))
    assert picture_size(path) == picture_size(str(path)) == (9, 6)
    path.write_bytes(b"nothing")
    with pytest.raises(UnreadableImage, match="no known picture format"):
        picture_size(path)
    with pytest.raises(UnreadableImage, match="9x6 pixels are more than the 53"):
        picture_size(io.BytesIO(pillow(RGB)), max_pixels=53)


class Counted(io.BytesIO):
    """A file that counts what is read."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize(
    ("image_format", "dtype"),
    [(name, np.uint8) for name in ("PNG", "JPEG", "TIFF", "BMP")]
    + [(name, np.uint16) for name in ("PNG", "TIFF")],
)
def test_size_takes_the_header_alone(image_format, dtype):
    file = Counted(pillow(RNG.integers(0, 256, (400, 500)).astype(dtype), image_format))
    assert picture_size(file) == (500, 400)
    assert 0 < file.count < 9000


def bomb(side=20_000):
    """A PNG of side² black and white pixels, all of them there, in some 48 KB."""
    return png(side, side, depth=1, colour=0, pixels=bytes((1 + side // 8) * side))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_bomb_is_refused_from_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb())
    assert path.stat().st_size < 60_000
    program = f"""
import pathlib
from i2sb_jax.pictures import (
    UnreadableImage, array_header, decode_array, decode_rgb, picture_size, read_picture
)

def kilobytes(what):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1])

path = pathlib.Path({str(path)!r})
pathlib.Path("/proc/self/clear_refs").write_text("5")
before = kilobytes("VmRSS")
for call in (
    lambda: picture_size(path),
    lambda: read_picture(path.read_bytes()),
    lambda: decode_rgb(path.read_bytes()),
    lambda: decode_array(path.read_bytes(), suffix=".png"),
):
    try:
        call()
    except UnreadableImage as error:
        print(error)
print((kilobytes("VmHWM") - before) / 1024)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    *messages, grown = result.stdout.splitlines()
    assert len(messages) == 4 and all("pixels" in message for message in messages)
    assert float(grown) < 50
