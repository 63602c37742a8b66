"""Small picture files that are easily read wrongly, kept badly or passed over; and what is right.

Every file is valid; `original.npy` beside them has the pixels.
"""

import pathlib
import struct
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms
from skimage import data

PIXELS = np.ascontiguousarray(data.astronaut()[20:100, 180:276])
DEEP = PIXELS.astype(np.uint16) * 257
GREEN = PIXELS[..., 1]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

EXPECTED = {
    "bands/uint16_rgb_as_minisblack.tif": "RGB, 16 bits, the original x 257; never band 1 alone",
    "bits/twelve.tif": "grey, values (green >> 4) of 0...4095 scaled to the full range",
    "bits/twelve_white_is_zero.tif": "the same picture as twelve.tif",
    "depth/white_is_zero16.tif": "green x 257 for restoring and training alike",
    "depth/planar16.tif": "the original x 257 for all of them",
    "colour/linear.png": "gAMA 1.0 still in the result",
    "colour/display_p3.png": "cICP still in the result",
    "colour/bigtiff16.tif": "its ICC profile still in the result",
    "colour/camera_adobe_rgb.jpg": "ColorSpace 65535 and R03 still there, or an Adobe RGB profile",
    "pages/thumbnail_first.tif": "the second page, 96x80",
    "pages/three.tif": "the first page, and a line that says so",
    "exif/names.jpg": "Artist and Copyright as UTF-8 bytes, unchanged",
    "suffix/photo.jfif": "restored",
    "suffix/photo.jpe": "restored",
    "suffix/photo.mpo": "restored",
    "suffix/photo.avif": "restored, or named as left out",
    "names/" + "b" * 246 + ".png": "restored, and so are its neighbours",
    "png/trns_beside_alpha.png": "read; the tRNS is ignored",
    "png/turned_by_xmp.png": "upright, as the WebP beside it",
    "png/turned_by_xmp.webp": "upright",
    "alpha/disc.png": "enlarged without a fringe: over white none darker than the disc by > 3",
}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _packed12(values: np.ndarray) -> bytes:
    pairs = values.astype(int).reshape(-1, 2)
    return b"".join(bytes((a >> 4, (a & 15) << 4 | b >> 8, b & 255)) for a, b in pairs)


def _tiff(bits: int, photometric: int, payload: bytes, height: int, width: int) -> bytes:
    tags = [
        (256, 4, width),
        (257, 4, height),
        (258, 3, bits),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 122),
        (277, 3, 1),
        (278, 4, height),
        (279, 4, len(payload)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + payload


def _exif_text(fields: dict[int, bytes]) -> bytes:
    entries, body, start = b"", b"", 8 + 2 + 12 * len(fields) + 4
    for tag, text in sorted(fields.items()):
        text += b"\0"
        entries += struct.pack("<HHII", tag, 2, len(text), start + len(body))
        body += text + bytes(len(text) % 2)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + entries + bytes(4) + body


def write(out: pathlib.Path) -> None:
    """Writes all files of EXPECTED below `out`."""
    for folder in {pathlib.PurePath(name).parent for name in EXPECTED}:
        (out / folder).mkdir(parents=True, exist_ok=True)
    np.save(out / "original.npy", PIXELS)
    tifffile.imwrite(
        out / "bands/uint16_rgb_as_minisblack.tif",
        DEEP,
        photometric="minisblack",
        planarconfig="contig",
    )
    twelve = DEEP[..., 1] >> 4
    (out / "bits/twelve.tif").write_bytes(_tiff(12, 1, _packed12(twelve), *GREEN.shape))
    (out / "bits/twelve_white_is_zero.tif").write_bytes(
        _tiff(12, 0, _packed12(4095 - twelve), *GREEN.shape)
    )
    tifffile.imwrite(
        out / "depth/white_is_zero16.tif", 65535 - DEEP[..., 1], photometric="miniswhite"
    )
    tifffile.imwrite(
        out / "depth/planar16.tif",
        np.moveaxis(DEEP, -1, 0).copy(),
        photometric="rgb",
        planarconfig="separate",
    )
    png = imagecodecs.png_encode(PIXELS)
    (out / "colour/linear.png").write_bytes(
        png[:33] + _chunk(b"gAMA", struct.pack(">I", 100000)) + png[33:]
    )
    (out / "colour/display_p3.png").write_bytes(
        png[:33] + _chunk(b"cICP", bytes([12, 13, 0, 1])) + png[33:]
    )
    tifffile.imwrite(
        out / "colour/bigtiff16.tif", DEEP, photometric="rgb", bigtiff=True, iccprofile=SRGB
    )
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0xA001: 65535, 0xA005: {1: "R03"}})
    Image.fromarray(PIXELS).save(
        out / "colour/camera_adobe_rgb.jpg", quality=95, exif=exif.tobytes()
    )
    with tifffile.TiffWriter(out / "pages/thumbnail_first.tif") as tiff:
        tiff.write(PIXELS[::8, ::8].copy(), photometric="rgb", subfiletype=1, metadata=None)
        tiff.write(PIXELS, photometric="rgb", metadata=None)
    with tifffile.TiffWriter(out / "pages/three.tif") as tiff:
        for page in range(3):
            tiff.write(np.roll(PIXELS, 20 * page, 0), photometric="rgb", metadata=None)
    names = {0x013B: "Ä. Example".encode(), 0x8298: "© Ä. Example".encode()}
    Image.fromarray(PIXELS).save(out / "exif/names.jpg", quality=95, exif=_exif_text(names))
    for suffix in ("jfif", "jpe", "mpo"):
        Image.fromarray(PIXELS).save(out / f"suffix/photo.{suffix}", "JPEG")
    Image.fromarray(PIXELS).save(out / "suffix/photo.avif")
    for name in ("a", "b" * 246, "c"):
        (out / f"names/{name}.png").write_bytes(png)
    rgba = imagecodecs.png_encode(np.dstack([PIXELS, PIXELS[..., 0]]))
    (out / "png/trns_beside_alpha.png").write_bytes(
        rgba[:33] + _chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)) + rgba[33:]
    )
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    turned = np.rot90(PIXELS).copy()
    lying = imagecodecs.png_encode(turned)
    (out / "png/turned_by_xmp.png").write_bytes(
        lying[:33] + _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + lying[33:]
    )
    Image.fromarray(turned).save(out / "png/turned_by_xmp.webp", lossless=True, xmp=xmp)
    y, x = np.mgrid[:64, :64]
    alpha = np.uint8((x - 32) ** 2 + (y - 32) ** 2 < 500) * 255
    disc = np.where(alpha[..., None] > 0, np.uint8([220, 40, 40]), np.uint8([0, 0, 0]))
    Image.fromarray(np.dstack([disc, alpha])).save(out / "alpha/disc.png")
