"""Every kind of file that the guide names, through a network that changes nothing: kept or told.

What a file holds is stated beside it, and looked for in its result by other decoders than those
that made it. Each thing is there, or a note of that file says what is not.
"""

import importlib.util
import io
import re
import struct
import types
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from i2sb_jax.pictures import lost_in, read_picture, result_suffix
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from tests.picture_files import STORED, pillow, tiff
from tests.restoration.models import identity_model, photo

RGB = photo(24, 32)
GREY, ALPHA = RGB[..., 0], np.uint8(np.linspace(1, 255, 24 * 32).reshape(24, 32))
RGBA = np.dstack([RGB, ALPHA])
DEEP = RGB.astype(np.uint16) * 257 - np.arange(32, dtype=np.uint16)[None, :, None] * (RGB > 0)
DEEP_ALPHA = ALPHA.astype(np.uint16) * 257
DEEP_RGBA = np.dstack([DEEP, DEEP_ALPHA])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LYING = np.ascontiguousarray(STORED[6](RGB))
PALETTE = Image.fromarray(RGB).quantize(200)
ARTIST, DATE, LENS = "Ä. Example", "2026:11:30 01:02:03", "50 mm"


def exif(orientation=1, *, dpi=None, artist=ARTIST):
    block = Image.Exif()
    block.update({0x010F: "Maker", 0x0112: orientation, 0x013B: artist.encode()})
    if dpi:
        block.update({0x011A: float(dpi), 0x011B: float(dpi), 0x0128: 2})
    block.get_ifd(0x8769).update({0x829A: 0.004, 0x9003: DATE, 0xA434: LENS, 0xA431: "serial 4711"})
    block.get_ifd(0x8825).update({1: "N", 2: (50.0, 56.0, 3.0)})  # the place
    return block.tobytes()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(array, *chunks):
    data = imagecodecs.png_encode(np.ascontiguousarray(array))
    return data[:33] + b"".join(chunk(*each) for each in chunks) + data[33:]


def decoded(data, mode="RGB"):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))


class Kind(NamedTuple):
    """A file, the pixels that it shows upright, with alpha last, and what else it holds.

    Attributes:
        told: patterns of the notes that say what of the file itself is not read.
    """

    data: bytes
    pixels: np.ndarray
    holds: Mapping = types.MappingProxyType({})
    told: tuple[str, ...] = ()


SHOT = {"artist": ARTIST, "date": DATE, "lens": LENS}
FULL = SHOT | {"profile": SRGB, "dpi": 300}
_JPEG = pillow(LYING, "JPEG", quality=93, exif=exif(6), icc_profile=SRGB, dpi=(300, 300))
_GREY_JPEG = pillow(GREY, "JPEG", quality=93, dpi=(300, 300))
_PROGRESSIVE = pillow(RGB, "JPEG", quality=95, progressive=True)
_CMYK = pillow(Image.fromarray(np.dstack([255 - RGB, 0 * GREY]), "CMYK"), "TIFF")
# Pillow writes this one's text anew, in ASCII
_AVIF = pillow(RGB, "AVIF", quality=90, exif=exif(dpi=300, artist="A"), icc_profile=SRGB)
_LOSSY = pillow(RGB, "WEBP", quality=80)
_P3, _GAMMA = (b"cICP", bytes([12, 13, 0, 1])), (b"gAMA", struct.pack(">I", 100000))
_PHYS = (b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
_EXIF = (b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
_XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- "4711" --></x:xmpmeta>'
_IPTC = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x50\0\x07Example"
_WITH_IPTC = pillow(RGB, "JPEG", quality=93, xmp=_XMP)
_WITH_IPTC = (
    _WITH_IPTC[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(_IPTC)) + _IPTC + _WITH_IPTC[2:]
)
_TIFF_TAGS = {"extratags": [(0x0112, "H", 1, 6, True), (0x013B, "s", 0, ARTIST.encode(), True)]}

KINDS = {
    "photo.jpg": Kind(_JPEG, np.rot90(decoded(_JPEG), -1), FULL),
    "grey.jpg": Kind(_GREY_JPEG, decoded(_GREY_JPEG, "L"), {"dpi": 300}),
    "captions.jpg": Kind(_WITH_IPTC, decoded(_WITH_IPTC), told=("has IPTC and XMP, which",)),
    "captions.png": Kind(
        png(RGB, (b"tEXt", b"Author\0Ada"), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + _XMP)), RGB,
        told=("has XMP and texts, which",)),
    "captions.tif": Kind(
        tiff(RGB, photometric="rgb", extratags=[(700, "B", len(_XMP), _XMP, True)]), RGB,
        told=("has XMP, which",)),
    "two.mpo": Kind(
        two := pillow(RGB, "MPO", save_all=True, append_images=[Image.fromarray(RGB[::-1])]),
        decoded(two), told=("holds 2 pictures, of which the first",)),
    "progressive.jpe": Kind(_PROGRESSIVE, decoded(_PROGRESSIVE)),
    "photo.png": Kind(png(LYING, _EXIF, _PHYS), RGB, SHOT | {"dpi": 300}),
    "profile.png": Kind(pillow(RGB, icc_profile=SRGB), RGB, {"profile": SRGB}),
    "meaning.png": Kind(png(RGB, _P3), RGB, {"cICP": _P3[1]}),
    "linear.png": Kind(png(DEEP, _GAMMA), DEEP, {"gAMA": _GAMMA[1]}),
    "deep alpha.png": Kind(png(DEEP_RGBA), DEEP_RGBA),
    "grey alpha.png": Kind(png(np.dstack([GREY, ALPHA])), np.dstack([GREY, ALPHA])),
    "palette.png": Kind(pillow(PALETTE), np.asarray(PALETTE.convert("RGB"))),
    "deep.tif": Kind(
        tiff(np.ascontiguousarray(STORED[6](DEEP)), photometric="rgb", iccprofile=SRGB,
             resolution=(300, 300), **_TIFF_TAGS),
        DEEP, {"artist": ARTIST, "profile": SRGB, "dpi": 300}),
    "big.tif": Kind(
        tiff(DEEP_RGBA, photometric="rgb", extrasamples=["unassalpha"], bigtiff=True,
             iccprofile=SRGB, byteorder=">"), DEEP_RGBA, {"profile": SRGB}),
    "twelve.tif": Kind(
        tiff(DEEP >> 4, photometric="rgb", bitspersample=12),
        np.uint16(np.rint((DEEP >> 4) * (65535 / 4095)))),
    "white is zero.tif": Kind(tiff(65535 - DEEP[..., 0], photometric="miniswhite"), DEEP[..., 0]),
    "planar.tif": Kind(
        tiff(np.moveaxis(RGB, -1, 0).copy(), photometric="rgb", planarconfig="separate"), RGB),
    "pages.tif": Kind(tiff(np.stack([RGB, RGB[::-1]]), photometric="rgb"), RGB,
                      told=("page 1 of 2",)),
    "cmyk.tif": Kind(_CMYK, RGB, told=("is CMYK, and becomes sRGB",)),
    "alpha.webp": Kind(
        pillow(RGBA, "WEBP", lossless=True, exact=True, exif=exif(dpi=300), icc_profile=SRGB),
        RGBA, FULL),
    "lossy.webp": Kind(_LOSSY, decoded(_LOSSY)),
    "palette.gif": Kind(pillow(PALETTE, "GIF"), np.asarray(PALETTE.convert("RGB"))),
    "moving.gif": Kind(
        pillow(PALETTE, "GIF", save_all=True, append_images=[Image.fromarray(RGB[::-1])]),
        np.asarray(PALETTE.convert("RGB")), told=("holds 2 pictures, of which the first",)),
    "photo.bmp": Kind(pillow(RGB, "BMP", dpi=(300, 300)), RGB, {"dpi": 300}),
    "photo.ppm": Kind(pillow(RGB, "PPM"), RGB),
    "deep.pgm": Kind(pillow(DEEP[..., 0], "PPM"), DEEP[..., 0]),
    "deep.ppm": Kind(b"P6 # colours\n32 24 65535\n" + DEEP.astype(">u2").tobytes(), DEEP),
    "photo.jp2": Kind(pillow(RGB, "JPEG2000"), RGB),
    "alpha.jp2": Kind(pillow(RGBA, "JPEG2000"), RGBA),
    "deep.jp2": Kind(imagecodecs.jpeg2k_encode(DEEP, level=0, reversible=True), DEEP),
    "deep.j2k": Kind(
        imagecodecs.jpeg2k_encode(DEEP[..., 0], level=0, reversible=True, codecformat="j2k"),
        DEEP[..., 0]),
    "photo.avif": Kind(_AVIF, decoded(_AVIF), FULL | {"artist": "A"}),
    "ten.avif": Kind(
        ten := imagecodecs.avif_encode(DEEP >> 6, level=100, bitspersample=10), decoded(ten),
        told=("has 10 bits a channel, of which 8 are read",)),
    "deep.jxl": Kind(
        imagecodecs.jpegxl_encode(DEEP_RGBA, lossless=True), DEEP_RGBA,
        told=("is JPEG XL, of which pixels alone are read",)),
}  # fmt: skip
if importlib.util.find_spec("pillow_heif"):
    _HEIC = pillow(RGB, "HEIF", quality=-1, exif=exif(dpi=300), icc_profile=SRGB)
    KINDS["photo.heic"] = Kind(_HEIC, decoded(_HEIC), FULL)
FORMATS = ("png", "same", "tiff", "webp", "jpeg")
# what a format cannot hold; of these, and of nothing else, a note has to speak
NOT_IN = {
    ".png": set(),
    ".tif": {"cICP", "gAMA"},
    ".webp": {"cICP", "gAMA", "depth"},
    ".jpg": {"cICP", "gAMA", "depth"},
}
NOT_IN |= {suffix: NOT_IN[".jpg"] for suffix in (".jpe", ".mpo")}
SAID = {"depth": "has 16 bits a channel", "cICP": "has cICP,", "gAMA": "has gAMA,"}


class Result(NamedTuple):
    pixels: np.ndarray
    holds: dict


def result_of(path):
    """A result as Pillow, tifffile and imagecodecs read it; upright, for it turns nothing."""
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        block = image.getexif()
        profile, dpi = image.info.get("icc_profile"), image.info.get("dpi")
        mode = {"LA": "LA", "L": "L", "RGBA": "RGBA"}.get(image.mode, "RGB")
        pixels = np.asarray(image.convert(mode)) if image.mode != "I;16" else None
    if path.suffix == ".png":
        pixels = imagecodecs.png_decode(data)
    elif path.suffix == ".tif":
        pixels = tifffile.imread(io.BytesIO(data))
    assert block.get(0x0112, 1) == 1
    shot = block.get_ifd(0x8769)
    assert 0xA431 not in shot and not block.get_ifd(0x8825) and b"4711" not in data
    if dpi is None and 0x011A in block:
        centimetres = block.get(0x0128) == 3
        dpi = [side * (2.54 if centimetres else 1) for side in (block[0x011A], block[0x011B])]
    holds = {"artist": block.get(0x013B), "date": shot.get(0x9003), "lens": shot.get(0xA434)}
    if isinstance(holds["artist"], str):
        holds["artist"] = holds["artist"].encode("latin-1", "replace").decode(errors="replace")
    if path.suffix == ".tif" and 0x011A not in block:
        dpi = None  # Pillow's own guess
    holds |= {"profile": profile, "dpi": dpi and round(float(dpi[0]))}
    for kind, body in ((b"cICP", _P3[1]), (b"gAMA", _GAMMA[1])):
        found = path.suffix == ".png" and chunk(kind, body) in data
        holds[kind.decode()] = body if found else None
    return Result(pixels, {key: value for key, value in holds.items() if value is not None})


class Run(NamedTuple):
    outcome: object
    out: object
    said: str


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    for name, kind in KINDS.items():
        (folder / stem(name)).write_bytes(kind.data)
    return folder


def stem(name):
    """Names that differ in their suffix alone would become one file."""
    return re.sub(r"^(.*)\.(\w+)$", r"\1 \2.\2", name)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "jpeg-10")


@pytest.fixture(scope="module", params=FORMATS)
def run(request, source, model, tmp_path_factory):
    out = tmp_path_factory.mktemp(f"as {request.param}")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stderr", printed)
        options = Options(nfe=1, tile=32, format=request.param)
        outcome = restore_folder(model, source, out, options, quiet=True)
    return request.param, Run(outcome, out, printed.getvalue())


def expected_of(pixels, suffix):
    """The pixels as a format holds them: those of 16 bits rounded to 8, and coded by Pillow."""
    if suffix in (".png", ".tif"):
        return pixels
    if pixels.dtype == np.uint16:
        pixels = np.uint8(np.rint(pixels / 257))
    if suffix == ".webp":
        mode = "RGBA" if pixels.ndim == 3 and pixels.shape[2] in (2, 4) else "RGB"
        if mode == "RGBA":
            grey = pixels.shape[2] == 2
            pixels = pixels[..., [0, 0, 0, 1]] if grey else pixels
        return decoded(pillow(pixels, "WEBP", quality=95, exact=True), mode)
    mode = "L" if pixels.ndim == 2 else "RGB"
    return decoded(pillow(pixels, "JPEG", quality=95, subsampling=0), mode)


@pytest.mark.parametrize("name", KINDS)
def test_all_that_a_file_holds_is_kept_or_told(run, name):
    file_format, (outcome, out, said) = run
    kind, suffix = KINDS[name], result_suffix(name, file_format)
    file = stem(name)
    has_alpha = kind.pixels.ndim == 3 and kind.pixels.shape[2] in (2, 4)
    if suffix in (".jpg", ".jpe", ".mpo") and has_alpha:
        assert "transparent, which no JPEG can be" in outcome.unreadable[file]
        return
    result = result_of((out / file).with_suffix(suffix))
    expected = expected_of(kind.pixels, suffix)
    assert result.pixels.shape == expected.shape and result.pixels.dtype == expected.dtype
    np.testing.assert_array_equal(result.pixels, expected)
    holds = kind.holds | ({"depth": 16} if kind.pixels.dtype == np.uint16 else {})
    lost = NOT_IN[suffix] & set(holds)
    kept = {key: value for key, value in kind.holds.items() if key not in lost}
    assert result.holds == kept
    picture = read_picture(kind.data)
    notes = [*picture.notes, *lost_in(picture, suffix)]
    patterns = [*kind.told, *(SAID[key] for key in lost)]
    for pattern in patterns:
        (note,) = (note for note in notes if pattern in note)
        assert re.sub(r"\d+", "", note) in re.sub(r"\d+", "", said)
    assert len(notes) == len(patterns), notes


def test_all_are_restored(run):
    file_format, (outcome, _, _) = run
    clear = [name for name, kind in KINDS.items()
             if not (kind.pixels.ndim == 3 and kind.pixels.shape[2] in (2, 4))]  # fmt: skip
    assert outcome.restored == (len(clear) if file_format == "jpeg" else len(KINDS))
