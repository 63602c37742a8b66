"""Colour profiles: where a file keeps its own, whether it fits, and what a grey one means."""

import io
import struct

import numpy as np
from PIL import Image, ImageCms

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_BMP_V5, _EMBEDDED = 124, b"DEBM"  # its header's size; "MBED" as a little-endian number
_MOST_BYTES = 1 << 24


def stored_profile(data: bytes) -> bytes | None:
    """The profile in a JPEG 2000 file or a BMP of version 5, which Pillow passes over; or None."""
    if data.startswith(_JP2):
        return _jp2_profile(data)
    if data.startswith(b"BM"):
        return _bmp_profile(data)
    return None


def fitting_profile(icc_profile: bytes | None, channels: int) -> bytes | None:
    """The profile, if it is of the colour space that the pixels are in; else None."""
    space = b"GRAY" if channels == 1 else b"RGB "
    return icc_profile if icc_profile and icc_profile[16:20] == space else None


def grey_in_srgb(grey: np.ndarray, icc_profile: bytes) -> np.ndarray:
    """Grey as sRGB shows it, of the same type; as it is where the profile cannot be used.

    Args:
        grey: uint8 or uint16, any shape.
        icc_profile: of grey.
    """
    levels = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
        srgb = ImageCms.createProfile("sRGB")
        shown = ImageCms.profileToProfile(levels, profile, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return grey
    curve = np.asarray(shown)[0, :, 1]
    if grey.dtype == np.uint8:
        return curve[grey]
    whole = np.interp(np.arange(65536), np.arange(256) * 257, curve.astype(float) * 257)
    return np.rint(whole).astype(np.uint16)[grey]


def _jp2_profile(data: bytes) -> bytes | None:
    header = box(data, b"jp2h", 0, len(data))
    colour = None if header is None else box(data, b"colr", *header)
    if colour is None or data[colour[0]] != 2:  # 2: a profile follows
        return None
    return data[colour[0] + 3 : colour[1]]


def box(data: bytes, kind: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Returns the begin and the end of the contents of the first box of a kind."""
    while start + 8 <= end:
        length, found = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1 and start + 16 <= end:
            (length,) = struct.unpack_from(">Q", data, start + 8)
            head = 16
        length = length or end - start
        if length < head or (start + length > end and found != kind):
            return None
        if found == kind:
            return (start + head, min(start + length, end)) if length > head else None
        start += length
    return None


def _bmp_profile(data: bytes) -> bytes | None:
    if len(data) < 14 + _BMP_V5 or struct.unpack_from("<I", data, 14) != (_BMP_V5,):
        return None
    if data[14 + 56 : 14 + 60] != _EMBEDDED:
        return None
    start, size = struct.unpack_from("<II", data, 14 + 112)
    profile = data[14 + start : 14 + start + size]
    return profile if 128 < size <= _MOST_BYTES and len(profile) == size else None
