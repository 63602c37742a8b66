"""Every kind of file that can be written here: two readers and an independent decoder agree.

That is one that neither reader uses for the kind: libtiff for TIFF, imagecodecs' decoders for what
Pillow reads here. Where both readers share the only other one, the pixels that were coded without
loss stand in its place.
"""

import io
import itertools
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from i2sb_jax.pictures import (
    UnreadableImage,
    center_crop,
    decode_array,
    decode_rgb,
    decode_square,
    from_pixels,
    from_uint8,
    read_picture,
)
from tests.picture_files import STORED, pillow, tiff

RNG = np.random.default_rng(7)
RGBA16 = RNG.integers(0, 65536, (10, 14, 4), np.uint16)
ORIENTATIONS = (1, 3, 6, 8)
UNDONE = {1: 1, 3: 3, 6: 8, 8: 6}  # orientation -> the one that turns it back


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
    side = min(seen.shape[:2])  # nothing is scaled
    np.testing.assert_array_equal(decode_square(data, side), center_crop(seen, side))
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
    # what libtiff says of it, turned upright and made black-is-zero by hand
    read = imagecodecs.tiff_decode(file.getvalue()).reshape(layout.shape)
    read = np.moveaxis(read, 0, -1) if planar == "separate" and read.ndim == 3 else read
    read = read.reshape(stored.shape)
    upright = np.array(STORED[UNDONE[orientation]](read))
    if photometric == "miniswhite":
        upright[..., :colours] = np.iinfo(upright.dtype).max - upright[..., :colours]
    agree(file.getvalue(), upright, has_alpha)
    if photometric != "miniswhite":
        np.testing.assert_array_equal(upright, array)
    whole = decode_array(file.getvalue(), suffix=".tif")
    np.testing.assert_array_equal(whole, upright)


@pytest.mark.parametrize("compression", ["webp", "jpegxl", "jpeg2000"])
def test_what_no_reader_unpacks_is_named(compression):
    data = tiff(pixels_of(8, 3), compression=compression, photometric="rgb", metadata=None)
    for read in (read_picture, decode_rgb, lambda data: decode_square(data, 8)):
        with pytest.raises(UnreadableImage, match=f"compressed by {compression.upper()}"):
            read(data)


def packed_tiff(samples, depth, *, photometric, orientation, order):
    """A TIFF of uint16 [h, w, c] in rows of `depth` bits, by hand: tifffile packs ">" wrongly."""
    height, width, channels = samples.shape
    bits = samples[..., None] >> np.arange(depth)[::-1] & 1
    body = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    start = 8 + 2 + 12 * 10 + 4
    depths = struct.pack(f"{order}{channels}H", *[depth] * channels)
    tags = [
        (256, "I", width), (257, "I", height), (258, "H", depth), (259, "H", 1),
        (262, "H", {"miniswhite": 0, "minisblack": 1, "rgb": 2}[photometric]),
        (273, "I", start + len(depths)), (274, "H", orientation), (277, "H", channels),
        (278, "I", height), (279, "I", len(body)),
    ]  # fmt: skip
    data = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(tags))
    for tag, kind, value in tags:
        count = channels if tag == 258 else 1
        field = struct.pack(order + ("I" if count > 2 else kind), start if count > 2 else value)
        head = struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], count)
        data += head + field.ljust(4, b"\0")
    return data + bytes(4) + depths + body


@pytest.mark.parametrize("depth", [9, 10, 12, 14, 15])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_of_odd_bits(depth, photometric, orientation, byteorder):
    colours = 3 if photometric == "rgb" else 1
    array = pixels_of(depth, colours)
    stored = np.ascontiguousarray(STORED[orientation](array))
    if photometric == "miniswhite":
        stored = np.uint16(2**depth - 1) - stored
    data = packed_tiff(
        stored, depth, photometric=photometric, orientation=orientation, order=byteorder
    )
    read = imagecodecs.tiff_decode(data).reshape(stored.shape)
    read = np.array(STORED[UNDONE[orientation]](read))
    read = np.uint16(2**depth - 1) - read if photometric == "miniswhite" else read
    agree(data, full_range(read, depth), False)
    np.testing.assert_array_equal(read, array)


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


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "lzma", "jpeg"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_packed_tiff(compression, channels, tile, bigtiff):
    array = pixels_of(8, channels)
    data = tiff(array if channels == 3 else array[..., 0], compression=compression, tile=tile,
                bigtiff=bigtiff, photometric="rgb" if channels == 3 else "minisblack",
                metadata=None)  # fmt: skip
    agree(data, imagecodecs.tiff_decode(data).reshape(array.shape), False)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("inverted", [False, True])
def test_few_bits(depth, image_format, inverted):
    if (inverted and image_format != "TIFF") or (image_format == "PPM" and depth > 1):
        pytest.skip("the format has none of it")
    array = pixels_of(depth, 1)
    if image_format == "PPM":
        packed = np.packbits(1 - array[..., 0], axis=1)  # in PBM 1 is black
        data = b"P4 %d %d\n" % array.shape[1::-1] + packed.tobytes()
    elif image_format == "TIFF":
        stored = 2**depth - 1 - array if inverted else array
        data = tiff(stored[..., 0] > 0 if depth == 1 else stored[..., 0], metadata=None,
                    bitspersample=depth, photometric="miniswhite" if inverted else "minisblack",
                    )  # fmt: skip
    else:
        data = pillow(Image.fromarray(array[..., 0] * np.uint8(255 // (2**depth - 1))), bits=depth)
        image = Image.fromarray(array[..., 0], "P")
        image.putpalette(
            [level * 255 // (2**depth - 1) for level in range(2**depth) for _ in "RGB"]
        )
        coloured = pillow(image, bits=depth)
        agree(coloured, np.repeat(full_range(array, depth), 3, axis=2), False)
    agree(data, full_range(array, depth), False)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colours", [1, 3])
def test_premultiplied_alpha(depth, colours):
    straight = pixels_of(depth, colours + 1)
    most = np.iinfo(straight.dtype).max
    straight[..., -1] = np.maximum(straight[..., -1], most // 2)
    opacity = straight[..., -1:] / most
    stored = straight.copy()
    stored[..., :-1] = np.rint(straight[..., :-1] * opacity)
    data = tiff(stored, photometric="rgb" if colours == 3 else "minisblack", metadata=None,
                planarconfig="contig", extrasamples=["assocalpha"])  # fmt: skip
    read = imagecodecs.tiff_decode(data)
    colours = np.rint(np.minimum(read[..., :-1] / opacity, most))
    agree(data, np.concatenate([colours, read[..., -1:]], -1).astype(read.dtype), True)


DECODERS = {
    "JPEG": imagecodecs.jpeg8_decode,
    "WEBP": imagecodecs.webp_decode,
    "BMP": imagecodecs.bmp_decode,
    "GIF": imagecodecs.gif_decode,
    "JPEG2000": imagecodecs.jpeg2k_decode,
    "AVIF": imagecodecs.avif_decode,
    "PPM": lambda data: np.frombuffer(data[-10 * 14 * (3 if data[1:2] == b"6" else 1) :], np.uint8),
}


@pytest.mark.parametrize("image_format", DECODERS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("lossless", [True, False])
def test_what_pillow_reads(image_format, mode, orientation, lossless):
    has_alpha = mode == "RGBA"
    if has_alpha and image_format not in ("WEBP", "JPEG2000", "AVIF"):
        pytest.skip("the format has no alpha of its own")
    turns = image_format in ("JPEG", "WEBP", "AVIF")
    if not turns and orientation != 1:
        pytest.skip("the format has no orientation")
    if not lossless and image_format not in ("WEBP", "JPEG2000"):
        pytest.skip("the format has one way of coding")
    array = pixels_of(8, {"L": 1, "RGB": 3, "RGBA": 4}[mode])
    stored = np.ascontiguousarray(STORED[orientation](array))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if turns else {}
    options |= {"lossless": lossless, "exact": True} if image_format == "WEBP" else {}
    options |= {"irreversible": not lossless} if image_format == "JPEG2000" else {}
    data = pillow(stored if mode != "L" else stored[..., 0], image_format, **options)
    read = DECODERS[image_format](data)
    read = read.reshape(*stored.shape[:2], -1)  # as stored: these decoders turn nothing
    with Image.open(io.BytesIO(data)) as image:
        is_grey = image.mode == "L"
    read = read[..., :1] if is_grey and (np.ptp(read, axis=-1) == 0).all() else read
    agree(data, np.array(STORED[UNDONE[orientation]](read)), has_alpha)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("image_format", ["JPEG2000", "JXL", "PPM"])
def test_deep_formats_coded_without_loss(bits, channels, image_format):
    array = pixels_of(bits, channels)
    stored = np.ascontiguousarray(array if channels > 1 else array[..., 0])
    if image_format == "JXL":
        if bits not in (8, 16):
            pytest.skip("its samples are written whole")
        data = imagecodecs.jpegxl_encode(stored, lossless=True)
    elif image_format == "JPEG2000":
        data = imagecodecs.jpeg2k_encode(stored, level=0, reversible=True, bitspersample=bits)
    elif channels in (2, 4):
        pytest.skip("the format has no alpha")
    else:
        kind = 6 if channels == 3 else 5
        data = b"P%d %d %d %d\n" % (kind, *array.shape[1::-1], 2**bits - 1)
        data += array.astype(">u2" if bits > 8 else np.uint8).tobytes()
    agree(data, full_range(array, bits), channels in (2, 4))


@pytest.mark.parametrize("program", ["imagej", "ome"])
@pytest.mark.parametrize("depth", [8, 16])
def test_composites(program, depth):
    array = pixels_of(depth, 3)
    data = tiff(np.moveaxis(array, -1, 0).copy(), metadata={"axes": "CYX", "mode": "composite"},
                photometric="minisblack", **{program: True})  # fmt: skip
    planes = [imagecodecs.tiff_decode(data, index=page) for page in range(3)]
    agree(data, np.stack(planes, axis=-1), False)
