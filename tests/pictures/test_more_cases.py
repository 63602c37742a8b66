"""More files of the kinds in `picture_cases`: each is read right, kept whole, or told of."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from i2sb_jax.files import list_images
from i2sb_jax.pictures import (
    UnreadableImage,
    array_header,
    decode_array,
    decode_rgb,
    encode_picture,
    grey_in_srgb,
    read_picture,
)
from tests.picture_files import linear_grey_profile, pillow, tiff

RNG = np.random.default_rng(3)
DEEP = RNG.integers(0, 65536, (12, 18, 5), np.uint16)
RGB = (DEEP[..., :3] >> 8).astype(np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pages(*arrays, **options):
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as writer:
        for array, subfiletype in arrays:
            writer.write(array, photometric="rgb" if array.ndim == 3 else "minisblack",
                         subfiletype=subfiletype, metadata=None)  # fmt: skip
    return file.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(array, *chunks):
    data = imagecodecs.png_encode(np.ascontiguousarray(array))
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


# --- bands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_three_bands_are_colours(planar, dtype, bigtiff):
    array = RGB if dtype == np.uint8 else DEEP[..., :3]
    stored = array if planar == "contig" else np.moveaxis(array, -1, 0).copy()
    data = tiff(stored, photometric="minisblack", planarconfig=planar, bigtiff=bigtiff)
    np.testing.assert_array_equal(read_picture(data).pixels, array, strict=True)


@pytest.mark.parametrize("bands", [2, 4, 5])
def test_other_bands_are_one_line_that_names_the_way(bands):
    data = tiff(DEEP[..., :bands], photometric="minisblack", planarconfig="contig")
    for read in (read_picture, decode_rgb):
        with pytest.raises(UnreadableImage, match=rf"TIFF of {bands} bands.*as pairs"):
            read(data)


def test_bands_beyond_colours_are_told():
    picture = read_picture(tiff(DEEP, photometric="rgb", extrasamples=["unspecified"] * 2))
    assert picture.pixels.shape[2] == 3 and picture.alpha is None
    assert picture.notes == ("has 2 channels beside its colours, which are left out",)


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
def test_reduced_pages_are_passed_over(deep):
    array = DEEP[..., :3].copy() if deep else RGB
    small = array[::3, ::3].copy()
    data = pages((small, 1), (array, 0), (small, 1))
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, array)
    assert picture.notes == ()
    assert array_header(data, suffix=".tif") == (*array.shape, array.dtype)


@pytest.mark.parametrize(
    "data",
    [
        pages((RGB, 0), (RGB, 0)),
        tiff(DEEP[..., :2].transpose(2, 0, 1).copy(), imagej=True, metadata={"axes": "CYX"}),
        tiff(DEEP[..., :2].transpose(2, 0, 1).copy(), ome=True, metadata={"axes": "CYX"}),
        tiff(np.stack([DEEP[..., 0]] * 2), imagej=True, metadata={"axes": "ZYX"}, truncate=True),
    ],
)
def test_of_several_pages_it_is_said_which(data):
    assert read_picture(data).notes[0].startswith("is read from page 1 of 2")


def table(colour):
    """ImageJ's table that shows a channel in one colour."""
    ramp = np.zeros((3, 256), np.uint8)
    for number in {"red": [0], "green": [1], "blue": [2], "magenta": [0, 2]}[colour]:
        ramp[number] = np.arange(256)
    return ramp


def imagej(planes, *, colours=(), mode="composite", axes="CYX", **options):
    metadata = {"axes": axes, "mode": mode}
    if colours:
        metadata["LUTs"] = [table(colour) for colour in colours]
    return tiff(np.ascontiguousarray(planes), imagej=True, metadata=metadata, **options)


def ome(planes, *, colours=(), **options):
    numbers = {"red": -16776961, "green": 16711935, "blue": 65535, "white": -1, "cyan": 16777215}
    channel = {"Color": [numbers[colour] for colour in colours]} if colours else {}
    metadata = {"axes": "CYX", "Channel": channel}
    return tiff(np.ascontiguousarray(planes), ome=True, metadata=metadata,
                photometric="minisblack", **options)  # fmt: skip


PLANES = np.moveaxis(DEEP[..., :3], -1, 0)
SWAPPED = PLANES[[2, 0, 1]], ("blue", "red", "green")


@pytest.mark.parametrize(
    "data",
    [
        imagej(PLANES),
        imagej(PLANES, truncate=True),
        imagej(PLANES, colours=("red", "green", "blue")),
        imagej(SWAPPED[0], colours=SWAPPED[1]),
        imagej(PLANES, compression="zlib"),
        ome(PLANES),
        ome(PLANES, bigtiff=True, byteorder=">"),
        ome(PLANES, colours=("white", "white", "white")),
        ome(SWAPPED[0], colours=SWAPPED[1]),
    ],
)
def test_three_channels_are_colours(data):
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, DEEP[..., :3], strict=True)
    assert picture.notes == ("holds three channels, which are read as red, green and blue",)
    seen = decode_rgb(data).astype(float)
    assert np.abs(seen - DEEP[..., :3] / 257).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("write", [imagej, ome])
def test_three_channels_of_bytes_are_colours_for_training_too(write):
    told, planes = [], np.moveaxis(RGB, -1, 0)
    np.testing.assert_array_equal(decode_rgb(write(planes), tell=told.append), RGB)
    assert told == ["holds three channels, which are read as red, green and blue"]
    np.testing.assert_array_equal(read_picture(write(planes)).pixels, RGB)


@pytest.mark.parametrize(
    ("data", "pages"),
    [
        (imagej(PLANES, colours=("red", "green", "magenta")), 3),
        (imagej(PLANES, mode="grayscale"), 3),
        (imagej(PLANES, axes="ZYX"), 3),
        (imagej(PLANES, axes="TYX"), 3),
        (imagej(np.moveaxis(DEEP[..., :4], -1, 0)), 4),
        (ome(PLANES, colours=("red", "green", "cyan")), 3),
        (ome(np.moveaxis(DEEP, -1, 0)), 5),
        (tiff(PLANES.copy(), photometric="minisblack", metadata=None), 3),
    ],
)
def test_other_channels_are_told(data, pages):
    picture = read_picture(data)
    assert picture.pixels.shape == (12, 18, 1)
    assert picture.notes[0] == f"is read from page 1 of {pages}, and the others are left out"
    told = []
    decode_rgb(data, tell=told.append)
    assert told == [picture.notes[0]]


@pytest.mark.parametrize("axes", ["CYX", "ZYX", "TYX"])
def test_a_stack_with_one_page_is_no_array(axes):
    data = tiff(
        DEEP[..., :3].transpose(2, 0, 1).copy(), imagej=True, metadata={"axes": axes}, truncate=True
    )
    for read in (decode_array, array_header):
        with pytest.raises(UnreadableImage, match="ImageJ stack of 3 pictures with one page"):
            read(data, suffix=".tif")


# --- meaning of colour ----------------------------------------------------------------------------


def jp2_with_profile():
    data = pillow(RGB, "JPEG2000", irreversible=False)
    at = data.index(b"colr") - 4
    (length,) = struct.unpack_from(">I", data, at)
    colour = struct.pack(">I4sBBB", 11 + len(SRGB), b"colr", 2, 0, 0) + SRGB
    head = data.index(b"jp2h") - 4
    (whole,) = struct.unpack_from(">I", data, head)
    grown = struct.pack(">I", whole + len(colour) - length)
    return data[:head] + grown + data[head + 4 : at] + colour + data[at + length :]


def bmp_with_profile():
    rows = np.pad(RGB[::-1, :, ::-1].reshape(12, -1), ((0, 0), (0, -(18 * 3) % 4))).tobytes()
    start = 14 + 124
    head = struct.pack("<IiiHHIIiiII", 124, 18, 12, 1, 24, 0, len(rows), 11811, 11811, 0, 0)
    head = (head + bytes(16) + b"DEBM").ljust(112, b"\0")
    head += struct.pack("<III", 124 + len(rows), len(SRGB), 0)
    size = start + len(rows) + len(SRGB)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, start) + head + rows + SRGB


@pytest.mark.parametrize(
    ("data", "array"),
    [
        (jp2_with_profile(), RGB),
        (bmp_with_profile(), RGB),
        (tiff(DEEP[..., :3], photometric="rgb", bigtiff=True, iccprofile=SRGB), DEEP[..., :3]),
        (tiff(RGB, photometric="rgb", bigtiff=True, iccprofile=SRGB), RGB),
        (tiff(RGB, photometric="rgb", byteorder=">", iccprofile=SRGB), RGB),
    ],
)
def test_profiles_that_decoders_pass_over(data, array):
    picture = read_picture(data)
    np.testing.assert_array_equal(picture.pixels, array)
    assert picture.icc_profile == SRGB


CHRM = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
CICP, SRGB_CHUNK = (b"cICP", bytes([9, 16, 0, 1])), (b"sRGB", b"\0")
GAMMA, SIZE = (b"gAMA", struct.pack(">I", 45455)), (b"pHYs", struct.pack(">IIB", 11811, 5906, 1))


@pytest.mark.parametrize(
    ("array", "chunks"),
    [
        (RGB, (GAMMA, CHRM)),
        (RGB, (SRGB_CHUNK, SIZE)),
        (DEEP[..., :3], (CICP, (b"sBIT", bytes([10, 10, 10])))),
        (DEEP[..., :4], ((b"sBIT", bytes([12, 12, 12, 1])),)),
        (DEEP[..., 0], ((b"sBIT", bytes([14])), GAMMA)),
    ],
)
def test_chunks_are_carried_over(array, chunks):
    picture = read_picture(with_chunks(array, *chunks))
    assert dict(picture.chunks) == dict(chunks)
    data = encode_picture(picture.pixels, alpha=picture.alpha, chunks=picture.chunks)
    assert dict(read_picture(data).chunks) == dict(chunks)
    for kind, body in chunks:
        assert chunk(kind, body) in data


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_in_srgb(dtype):
    profile = linear_grey_profile()
    most = np.iinfo(dtype).max
    levels = np.linspace(0, most, 7).astype(dtype).reshape(1, 7, 1)
    light = levels / most
    expected = np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    shown = grey_in_srgb(levels, profile)
    assert shown.dtype == dtype and shown.shape == levels.shape
    assert np.abs(shown / most - expected).max() < 1.5 / 255
    np.testing.assert_array_equal(grey_in_srgb(levels, b"broken"), levels)


# --- PNGs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        with_chunks(DEEP[..., :4], (b"tRNS", bytes(6))),
        with_chunks(DEEP[..., :2], (b"tRNS", bytes(2))),
        with_chunks(RGB, (b"tRNS", bytes(2))),  # of the length that grey has
        with_chunks(RGB[..., 0], (b"tRNS", b"")),
    ],
)
def test_transparency_that_means_nothing(data):
    has_alpha = data[25] in (4, 6)  # the colour type
    picture = read_picture(data)
    assert (picture.alpha is not None) == has_alpha
    assert array_header(data, suffix=".png")[2] == picture.pixels.shape[2] + has_alpha


def xmp(orientation, form="attribute"):
    value = {"attribute": b'tiff:Orientation="%d"', "element": b"><tiff:Orientation>%d<"}[form]
    return b"<x:xmpmeta><rdf:Description " + value % orientation + b"/></x:xmpmeta>"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["attribute", "element"])
@pytest.mark.parametrize("packed", [False, True])
def test_xmp_turns_a_png(orientation, form, packed):
    body = zlib.compress(xmp(orientation, form)) if packed else xmp(orientation, form)
    text = b"XML:com.adobe.xmp\0" + bytes([packed, 0]) + b"\0\0" + body
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = read_picture(pillow(RGB, "PNG", exif=exif.tobytes())).pixels
    np.testing.assert_array_equal(read_picture(with_chunks(RGB, (b"iTXt", text))).pixels, expected)


# --- metadata -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["Müller".encode("latin-1"), "日本".encode(), "日本".encode("cp932")]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_text_of_any_coding_goes_on(text, order):
    value = text + b"\0" * (2 if len(text) % 2 == 0 else 1)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    block = head + struct.pack(order + "HHII", 0x013B, 2, len(value), 26) + bytes(4) + value
    picture = read_picture(pillow(RGB, "JPEG", exif=b"Exif\0\0" + block))
    again = read_picture(encode_picture(picture.pixels, exif=picture.exif))
    assert value in again.exif and again.exif == picture.exif


@pytest.mark.parametrize(
    ("data", "per_metre"),
    [
        (pillow(RGB, "JPEG", dpi=(300, 300)), 11811),
        (pillow(RGB, "TIFF", dpi=(600, 600)), 23622),
        (pillow(RGB, "PNG", dpi=(72, 72)), 2835),
        (pillow(RGB, "BMP", dpi=(96, 96)), 3780),
        (tiff(DEEP[..., 0], resolution=(100, 100), resolutionunit="CENTIMETER"), 10000),
    ],
)
def test_resolution_is_kept(data, per_metre):
    (size,) = (body for kind, body in read_picture(data).chunks if kind == b"pHYs")
    across, down, unit = struct.unpack(">IIB", size)
    assert unit == 1 and across == down and abs(across - per_metre) <= 1


@pytest.mark.parametrize("seed", range(4))
def test_broken_metadata_never_breaks_a_picture(seed):
    """Tags of random bytes: the picture is read, or refused in a line."""
    rng = np.random.default_rng(seed)
    exif = read_picture(pillow(RGB, "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0")).exif
    assert exif is None
    whole = Image.Exif()
    whole.update({0x010F: "Maker", 0x013B: "Somebody"})
    whole.get_ifd(0x8769).update({0x829A: 0.005, 0xA005: {1: "R03"}})
    block = np.frombuffer(whole.tobytes(), np.uint8)
    for _ in range(200):
        hit = block.copy()
        places = rng.integers(6, len(block), 4)
        hit[places] = rng.integers(0, 256, 4)
        picture = read_picture(with_chunks(RGB, (b"eXIf", hit[6:].tobytes())))
        assert picture.pixels.size == RGB.size


# --- folders --------------------------------------------------------------------------------------


def test_suffixes_and_side_folders(tmp_path):
    taken = ["a.JFIF", "b.jpe", "c.mpo", "d/e.j2k", "d/f.jpf", "g.pnm", "h.pbm", "i.avif", "j.jxl"]
    others = ["k.cr3", "l.xcf", "m.XCF", "README"]
    aside = ["@eaDir/n.jpg", "d/@eaDir/o.jpg", ".thumbnails/p.png", "__MACOSX/q.jpg", ".r.png"]
    for name in (*taken, *others, *aside):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    told = []
    assert list_images(tmp_path, tell=told.append) == sorted(taken)
    assert told == ["4 files with other suffixes (.cr3 .xcf none) are left out"]
    told.clear()
    (tmp_path / "s" / "t").mkdir(parents=True)
    (tmp_path / "s" / "t" / "u.heic").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no pictures in .*1 file with another suffix"):
        list_images(tmp_path / "s", suffixes=(".png",), tell=told.append)
    assert told == []


@pytest.mark.parametrize("suffix", [".j2k", ".jpf", ".pnm", ".pbm", ".avif", ".mpo"])
def test_what_the_suffixes_hold_is_read(suffix):
    kind = {".j2k": "JPEG2000", ".jpf": "JPEG2000", ".avif": "AVIF", ".mpo": "MPO"}.get(suffix)
    image = Image.fromarray(RGB).convert("1" if suffix == ".pbm" else "RGB")
    options = {"no_jp2": True} if suffix == ".j2k" else {}
    data = pillow(image, kind or "PPM", **options)
    assert read_picture(data).pixels.shape == (12, 18, 1 if suffix == ".pbm" else 3)
    assert decode_rgb(data).shape == (12, 18, 3)
