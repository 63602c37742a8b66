"""Every kind of file that can be written here: two readers and independent decoders agree."""

import io
import itertools

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from i2sb_jax.pictures import decode_array, decode_rgb, from_pixels, from_uint8, read_picture
from tests.picture_files import STORED, pillow

RNG = np.random.default_rng(7)
RGBA16 = RNG.integers(0, 65536, (10, 14, 4), np.uint16)
ORIENTATIONS = (1, 3, 6, 8)


def pixels_of(depth, channels):
    array = RGBA16[..., :channels] >> (16 - min(depth, 16))
    return array.astype(np.uint8 if depth <= 8 else np.uint16)


def full_range(array, depth):
    most = 255 if array.dtype == np.uint8 else 65535
    return np.rint(array.astype(float) * most / (2**depth - 1)).astype(array.dtype)


def over_white(array, has_alpha):
    """What the eye sees, 0...255 in float64, [h, w, 3]."""
    unit = array.astype(float) / np.iinfo(array.dtype).max
    colours = unit[..., :-1] if has_alpha else unit
    if has_alpha:
        colours = colours * unit[..., -1:] + 1 - unit[..., -1:]
    return np.broadcast_to(255 * colours, (*array.shape[:2], 3))


def agree(data, expected, has_alpha, *, lossy=0):
    """`expected`: [h, w, c] of the full range, upright, from a decoder that is not ours."""
    picture = read_picture(data)
    kept = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    assert (picture.alpha is not None) == has_alpha
    assert kept.dtype == expected.dtype and kept.shape == expected.shape
    assert np.abs(kept.astype(int) - expected).max() <= lossy
    seen = decode_rgb(data)
    assert seen.dtype == np.uint8
    # half a level by rounding; compositing in whole numbers rounds twice
    limit = 0.5 + 1e-6 + 0.5 * has_alpha + lossy
    assert np.abs(seen - over_white(expected, has_alpha)).max() <= limit
    if not has_alpha:
        apart = np.abs(from_uint8(seen) - from_pixels(np.broadcast_to(kept, seen.shape)))
        assert apart.max() <= 0.5 / 127.5 + 1e-6


TIFFS = list(
    itertools.product(
        (8, 16), ("minisblack", "miniswhite", "rgb"), ("contig", "separate"), ORIENTATIONS,
        (False, True), (None, "zlib"),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("depth", "photometric", "planar", "orientation", "has_alpha", "compression"), TIFFS
)
def test_tiff(depth, photometric, planar, orientation, has_alpha, compression):
    colours = 3 if photometric == "rgb" else 1
    array = pixels_of(depth, colours + has_alpha)
    stored = np.ascontiguousarray(STORED[orientation](array))
    layout = stored if planar == "contig" else np.moveaxis(stored, -1, 0).copy()
    layout = layout.squeeze(-1 if planar == "contig" else 0) if array.shape[2] == 1 else layout
    file = io.BytesIO()
    tifffile.imwrite(
        file, layout, photometric=photometric, compression=compression,
        planarconfig=planar if array.shape[2] > 1 else None, metadata=None,
        extrasamples=["unassalpha"] if has_alpha else None,
        extratags=[(0x0112, "H", 1, orientation, True)],
    )  # fmt: skip
    # what tifffile says of it, turned upright and made black-is-zero by hand
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tiff:
        read = tiff.pages[0].asarray().reshape(layout.shape)
    read = np.moveaxis(read, 0, -1) if planar == "separate" and read.ndim == 3 else read
    read = read.reshape(stored.shape)
    undo = {1: 1, 3: 3, 6: 8, 8: 6}[orientation]
    upright = np.array(STORED[undo](read))
    if photometric == "miniswhite":
        upright[..., :colours] = np.iinfo(upright.dtype).max - upright[..., :colours]
    agree(file.getvalue(), upright, has_alpha)
    if photometric != "miniswhite":
        np.testing.assert_array_equal(upright, array)
    whole = decode_array(file.getvalue(), suffix=".tif")
    np.testing.assert_array_equal(whole, upright)


@pytest.mark.parametrize("depth", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_tiff_of_odd_bits(depth, photometric, orientation):
    colours = 3 if photometric == "rgb" else 1
    array = pixels_of(depth, colours)
    stored = np.ascontiguousarray(STORED[orientation](array))
    if photometric == "miniswhite":
        stored = np.uint16(2**depth - 1) - stored
    file = io.BytesIO()
    tifffile.imwrite(
        file, stored if colours == 3 else stored[..., 0], photometric=photometric,
        bitspersample=depth, metadata=None, extratags=[(0x0112, "H", 1, orientation, True)],
    )  # fmt: skip
    agree(file.getvalue(), full_range(array, depth), False)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_png(depth, channels, orientation):
    array = pixels_of(depth, channels)
    stored = np.ascontiguousarray(STORED[orientation](array))
    data = imagecodecs.png_encode(stored if channels > 1 else stored[..., 0])
    exif = Image.Exif()
    exif[0x0112] = orientation
    chunk = exif.tobytes().removeprefix(b"Exif\0\0")
    kind = len(chunk).to_bytes(4, "big") + b"eXIf" + chunk
    checksum = imagecodecs.zlib_crc32(b"eXIf" + chunk).to_bytes(4, "big")
    agree(data[:33] + kind + checksum + data[33:], array, channels in (2, 4))


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "BMP", "PPM", "GIF", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_pillow_reads(image_format, mode, orientation):
    has_alpha = mode == "RGBA"
    if has_alpha and image_format not in ("WEBP", "JPEG2000", "AVIF"):
        pytest.skip("the format has no alpha of its own")
    turns = image_format in ("JPEG", "WEBP", "AVIF")
    if not turns and orientation != 1:
        pytest.skip("the format has no orientation")
    array = pixels_of(8, {"L": 1, "RGB": 3, "RGBA": 4}[mode])
    stored = np.ascontiguousarray(STORED[orientation](array))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if turns else {}
    options |= {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    data = pillow(stored if mode != "L" else stored[..., 0], image_format, **options)
    with Image.open(io.BytesIO(data)) as image:
        decoded = image.convert("RGB" if image.mode == "P" else image.mode)
        read = np.asarray(decoded)
    read = read if read.ndim == 3 else read[..., None]
    # libavif turns what it decodes by itself
    undo = {1: 1, 3: 3, 6: 8, 8: 6}[orientation] if read.shape[:2] == stored.shape[:2] else 1
    agree(data, np.array(STORED[undo](read)), has_alpha)
