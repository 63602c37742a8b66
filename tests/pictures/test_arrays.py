"""Arrays of any type and number of channels, and the files that are refused."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from i2sb_jax.pictures import (
    ARRAY_SUFFIXES,
    UnreadableImage,
    array_header,
    decode_array,
    encode_array,
)
from tests.picture_files import pillow, png, tiff

PNG_TYPES, OTHER_TYPES = ("uint8", "uint16"), ("int16", "uint32", "float16", "float32", "float64")


def noise(*shape, dtype="uint16", seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def check(data, suffix, want):
    decoded = decode_array(data, suffix=suffix)
    np.testing.assert_array_equal(decoded, want, strict=True)
    assert decoded.dtype.isnative and decoded.flags.c_contiguous
    assert array_header(data, suffix=suffix) == (*want.shape, want.dtype)


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [(".png", dtype, channels) for dtype in PNG_TYPES for channels in (1, 2, 3, 4)]
    + [
        (suffix, dtype, channels)
        for suffix in (".tif", ".npy")
        for dtype in PNG_TYPES + OTHER_TYPES
        for channels in (1, 2, 3, 5)
    ],
)
@pytest.mark.parametrize("size", [(6, 9), (1, 1), (1, 7), (7, 1)])
def test_what_is_written_reads_back(suffix, dtype, channels, size):
    array = noise(*size, channels, dtype=dtype)
    check(encode_array(array, suffix=suffix), suffix, array)
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    check(encode_array(big_endian, suffix=suffix.upper()), suffix.upper(), array)


def test_others_read_what_is_written():
    array = noise(6, 9, 3)
    np.testing.assert_array_equal(imagecodecs.png_decode(encode_array(array, suffix=".png")), array)
    written = encode_array(array, suffix=".tif")
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(written)), array)
    grey = encode_array(array[..., :1], suffix=".tiff")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(grey))), array[..., 0])


PLANES = noise(2, 6, 9)
LAST = np.moveaxis(PLANES, 0, -1)
GREY = noise(6, 9)
COLOUR = noise(6, 9, 3)
BITS = (GREY % 2 * 255).astype(np.uint8)
BYTES = noise(6, 9, 3, dtype="uint8")


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (tiff(GREY), GREY[..., None]),
        (tiff(GREY, byteorder=">"), GREY[..., None]),
        (tiff(GREY, bigtiff=True, compression="lzw", predictor=True), GREY[..., None]),
        (tiff(GREY, photometric="miniswhite"), 65535 - GREY[..., None]),
        (tiff(PLANES), LAST),
        (tiff(PLANES, imagej=True, metadata={"axes": "CYX"}), LAST),
        (tiff(PLANES, ome=True, metadata={"axes": "CYX"}), LAST),
        (tiff(PLANES, photometric="minisblack", planarconfig="separate", metadata=None), LAST),
        (tiff(LAST, photometric="minisblack", planarconfig="contig"), LAST),
        (tiff(LAST), LAST),  # six pages, each two pixels wide
        (tiff(COLOUR, photometric="rgb"), COLOUR),
        (tiff(COLOUR.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"), COLOUR),
        (tiff(np.tile(COLOUR, (6, 5, 1)), photometric="rgb", tile=(16, 16), compression="zstd"),
         np.tile(COLOUR, (6, 5, 1))),
        (pillow(Image.fromarray(BITS == 255), "TIFF"), BITS[..., None]),
        (pillow(Image.fromarray(BYTES), "TIFF", compression="tiff_lzw"), BYTES),
    ],
)  # fmt: skip
def test_axes_of_a_tiff(data, want):
    check(data, ".tif", want)


def test_a_thumbnail_in_a_tiff_is_not_a_picture():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(COLOUR, photometric="rgb", metadata=None)
        writer.write(COLOUR[::2, ::2], photometric="rgb", metadata=None, subfiletype=1)
    check(buffer.getvalue(), ".tif", COLOUR)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_orientation(suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    kind = {".png": "PNG", ".tif": "TIFF", ".jpg": "JPEG"}[suffix]
    data = pillow(Image.fromarray(BYTES), kind, exif=exif)
    plain = pillow(Image.fromarray(BYTES), kind)
    check(data, suffix, np.rot90(decode_array(plain, suffix=suffix), -1))


def test_png_of_every_kind():
    levels = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    transparent = np.stack([np.asarray(levels), np.full((3, 4), 255, np.uint8)], -1)
    transparent[0, 3, 1] = 0
    check(pillow(levels, "PNG", transparency=3), ".png", transparent)
    bits = Image.fromarray(np.array([[True, False, True]]))
    check(pillow(bits, "PNG"), ".png", np.array([[[255], [0], [255]]], np.uint8))
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 200, 100, 0, 0, 0, 255])
    palette.putdata([0, 2, 1])
    colours = np.array([[[10, 20, 30], [0, 0, 255], [200, 100, 0]]], np.uint8)
    check(pillow(palette, "PNG"), ".png", colours)
    alpha = np.array([[[0], [255], [255]]], np.uint8)
    check(pillow(palette, "PNG", transparency=0), ".png", np.concatenate([colours, alpha], -1))


def test_jpeg():
    flat = np.broadcast_to(np.array([200, 100, 50], np.uint8), (16, 24, 3))
    for mode, channels in (("L", 1), ("RGB", 3), ("CMYK", 3)):
        data = pillow(Image.fromarray(flat).convert(mode), "JPEG", quality=100)
        decoded = decode_array(data, suffix=".JPEG")
        assert array_header(data, suffix=".JPEG") == (16, 24, channels, np.uint8)
        assert decoded.shape == (16, 24, channels)
        if channels == 3:
            assert np.abs(decoded.astype(int) - flat).max() <= 3


def test_npy_of_fortran_order_and_two_axes():
    check(npy(np.asfortranarray(COLOUR)), ".npy", COLOUR)
    check(npy(GREY.astype(">u2")), ".npy", GREY[..., None])


def test_header_of_a_path(tmp_path):
    path = tmp_path / "a.TIF"
    path.write_bytes(tiff(PLANES))
    assert array_header(path) == array_header(str(path)) == (6, 9, 2, np.uint16)


def npy_claim(shape, dtype="<u2"):
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + b"\0" * 64


def tiff_claim(tag, value, array=GREY, **options):
    """A TIFF in which one tag says something else."""
    file = io.BytesIO(tiff(array, metadata=None, **options))
    with tifffile.TiffFile(file) as handle:
        where = handle.pages[0].tags[tag].valueoffset
        size = handle.pages[0].tags[tag].dtype
    data = bytearray(file.getvalue())
    struct.pack_into("<H" if size == 3 else "<I", data, where, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "suffix", "message"),
    [
        (b"", ".png", "the file is empty"),
        (b"hello", ".png", "not a PNG"),
        (b"hello", ".jpg", "no known picture format"),
        (b"hello", ".tif", "not a TIFF"),
        (b"hello", ".npy", "magic"),
        (tiff(GREY), ".png", "not a PNG"),
        (pillow(Image.fromarray(BYTES), "PNG"), ".jpg", "no known picture format"),
        (png(20_000, 20_000, depth=16), ".png", "20000x20000 pixels are more"),
        (png(0, 5), ".png", "0x5 pixels are no picture"),
        (npy_claim((99_999, 99_999)), ".npy", "truncated"),
        (npy_claim((4, 4, 99)), ".npy", "truncated: 64 of 3168 bytes"),
        (npy_claim((2, 2), "|O"), ".npy", "type object"),
        (npy_claim((2, 2), "<c8"), ".npy", "type complex64"),
        (npy_claim((2, 2), "|b1"), ".npy", "type bool"),
        (npy_claim((2, 2, 2, 2)), ".npy", r"shape \(2, 2, 2, 2\)"),
        (npy_claim((4,)), ".npy", r"shape \(4,\)"),
        (npy(noise(2, 20, 30)), ".npy", "channels come last"),
        (b"\x93NUMPY\3\0" + npy_claim((2, 2))[8:], ".npy", "version"),
        (tiff_claim("ImageWidth", 4_000_000_000), ".tif", "pixels are more"),
        (tiff_claim("ImageLength", 60_000), ".tif", "failed to read 1080000 bytes"),
        (tiff_claim("SamplesPerPixel", 60_000, COLOUR, photometric="rgb"), ".tif", "to read 648"),
        (tiff_claim("TileWidth", 64_000, GREY, tile=(16, 16), compression="zlib"),
         ".tif", "corrupted tile"),
        (tiff_claim("TileWidth", 640_000, GREY, tile=(16, 16), compression="zlib"),
         ".tif", "in tiles of"),
        (tiff_claim("StripByteCounts", 0, compression="zlib"), ".tif", "missing pixels"),
        (tiff(noise(2, 6, 9, 3), photometric="rgb"), ".tif", "2 pages with 3 channels"),
        (tiff(BYTES, photometric="rgb", compression="jpeg"), ".tif", "compressed by JPEG"),
        (tiff(GREY.astype("complex64")), ".tif", "type complex64"),
        (pillow(Image.new("P", (3, 2)), "TIFF"), ".tif", "PALETTE"),
        (pillow(Image.new("CMYK", (3, 2)), "TIFF"), ".tif", "SEPARATED"),
        (pillow(Image.new("L", (3, 2)), "TIFF", save_all=True,
                append_images=[Image.new("L", (4, 2))]), ".tif", "2 pictures of different sizes"),
    ],
)  # fmt: skip
def test_refused_in_one_line(data, suffix, message):
    with pytest.raises(UnreadableImage, match=message) as error:
        decode_array(data, suffix=suffix)
    assert "\n" not in str(error.value)


def test_more_values_than_allowed():
    with pytest.raises(UnreadableImage, match="9x6 pixels are more than the 53"):
        decode_array(tiff(PLANES), suffix=".tif", max_pixels=53)
    five = encode_array(noise(6, 9, 5), suffix=".tif")
    with pytest.raises(UnreadableImage, match="6x9x5 values are more than 216"):
        decode_array(five, suffix=".tif", max_pixels=54)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".jpg"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(suffix, part):
    if suffix == ".jpg":
        data = pillow(Image.fromarray(noise(40, 40, 3, dtype="uint8")), "JPEG")
    else:
        data = encode_array(noise(40, 40, 3), suffix=suffix)
    with pytest.raises(UnreadableImage) as error:
        decode_array(data[: int(len(data) * part)], suffix=suffix)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".jpg"])
def test_damaged_bytes_are_read_or_refused(suffix):
    if suffix == ".jpg":
        data = pillow(Image.fromarray(noise(9, 9, 3, dtype="uint8")), "JPEG")
    else:
        data = encode_array(noise(9, 9, 3), suffix=suffix)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            assert decode_array(bytes(damaged), suffix=suffix, max_pixels=10_000).ndim == 3
        except UnreadableImage as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("array", "suffix", "message"),
    [
        (noise(3, 4, 3), ".jpg", "a JPEG loses"),
        (noise(3, 4, 3), ".webp", "suffix '.webp'"),
        (noise(3, 4, 5), ".png", "not uint16 in 5"),
        (noise(3, 4, 3, dtype="float32"), ".png", "not float32 in 3"),
        (noise(3, 4), ".png", r"not \(3, 4\)"),
        (noise(0, 4, 3), ".tif", r"not \(0, 4, 3\)"),
        (noise(3, 4, 1) > 9, ".npy", "type bool"),
    ],
)
def test_what_cannot_be_written(array, suffix, message):
    with pytest.raises(ValueError, match=message):
        encode_array(array, suffix=suffix)


def test_suffixes():
    for suffix in ARRAY_SUFFIXES:
        with pytest.raises(UnreadableImage):
            decode_array(b"?", suffix=suffix)
