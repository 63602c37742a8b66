"""Files of pictures, made in code, for the tests of everything that reads them."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image

# For every EXIF orientation, how the upright picture was turned before it was stored.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


def pillow(image, image_format="PNG", **options):
    """What Pillow writes of an image or an array."""
    buffer = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def tiff(array, **options):
    """What tifffile writes of an array."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def png(width, height, *, depth=8, colour=2, pixels=b"\0"):
    """A PNG that claims a size and holds, by default, one byte of pixels."""

    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def linear_grey_profile():
    """An ICC profile of grey whose numbers are light: half the light is 188 of 255 in sRGB."""
    head = struct.pack(">I4sI4s4s4s", 0, b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head = (head + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)).ljust(128, b"\0")
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    curve = b"curv" + bytes(4) + struct.pack(">I", 0)
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 12)
    profile = head + table + white + curve
    return struct.pack(">I", len(profile)) + profile[4:]
