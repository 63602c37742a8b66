"""PPM and JPEG 2000 files of more than 8 bits a channel, of which Pillow reads 8."""

import re
import struct
from typing import NamedTuple

import imagecodecs
import numpy as np

from i2sb_jax.pictures.header import UnreadableImage
from i2sb_jax.pictures.modes import split_alpha
from i2sb_jax.pictures.profiles import box
from i2sb_jax.pictures.tiff import Layers, full_range

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(rb"P([2356])" + _SPACE.join([b"", *[rb"(\d+)"] * 3]) + rb"\s")
_PLAIN, _COLOURED = (2, 3), (3, 6)  # kinds of Netpbm
_JP2, _CODESTREAM = b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"  # SOC and SIZ
_COMPONENTS = 40  # bytes from there to their number, after which each has three
_SRGB, _GREY, _BY_NUMBER = 16, 17, 1  # of the box colr


class _Component(NamedTuple):
    bits: int
    is_signed: bool
    across: int
    down: int


def decode_deep(data: bytes, width: int, height: int) -> Layers | None:
    """Layers of the full range of 16 bits.

    Args:
        data: a file whose header was read, and whose size is known to be allowed.
        width: as the header has it.
        height: as the header has it.

    Returns:
        None where Pillow reads all there is, or the samples are of a kind that it alone reads.

    Raises:
        UnreadableImage: pixels are missing or broken.
    """
    if data.startswith(b"P"):
        return _netpbm(data, width, height)
    if _is_plain_jpeg2000(data):
        try:
            array = imagecodecs.jpeg2k_decode(data)
        except imagecodecs.Jpeg2kError as error:  # names functions of the library
            raise UnreadableImage(f"a truncated or broken JPEG 2000 file ({error})") from None
        array = array if array.ndim == 3 else array[..., None]
        if array.shape[:2] != (height, width) or array.dtype != np.uint16:
            return None
        return split_alpha(full_range(array, _components(data)[0].bits))
    return None


def netpbm_bits(data: bytes) -> int:
    """Bits a channel of a Netpbm file; 8 where its header tells nothing."""
    found = _NETPBM.match(data)
    return int(found[4]).bit_length() if found else 8


def jpeg2000_bits(data: bytes) -> int:
    """Bits of the deepest channel of a JPEG 2000 file; 8 where its header tells nothing."""
    return max((part.bits for part in _components(data)), default=8)


def _netpbm(data: bytes, width: int, height: int) -> Layers | None:
    found = _NETPBM.match(data)
    if found is None or not 255 < int(found[4]) < 65536:
        return None
    kind, most, pixels = int(found[1]), int(found[4]), data[found.end() :]
    shape = (height, width, 3 if kind in _COLOURED else 1)
    count = height * width * shape[2]
    if kind in _PLAIN:
        numbers = re.sub(rb"#[^\n]*", b"", pixels).split(maxsplit=count)[:count]
        values = np.array([int(number) for number in numbers], np.int64)
    else:
        values = np.frombuffer(pixels, ">u2", min(count, len(pixels) // 2)).astype(np.int64)
    if len(values) < count:
        raise UnreadableImage(f"truncated: {len(values)} of {count} samples")
    if values.max() > most:
        raise UnreadableImage(f"a sample of {values.max()}, and its header says {most} at most")
    array = ((values * 65535 + most // 2) // most).astype(np.uint16)
    return Layers(array.reshape(shape), None)


def _is_plain_jpeg2000(data: bytes) -> bool:
    """Whether its components are grey or sRGB side by side, of one depth, which needs more bits."""
    parts = _components(data)
    if not parts or len(parts) > 4 or len(set(parts)) > 1 or not 8 < parts[0].bits <= 16:
        return False
    if parts[0].is_signed or (parts[0].across, parts[0].down) != (1, 1):
        return False
    header = box(data, b"jp2h", 0, len(data)) if data.startswith(_JP2) else None
    if header is None:
        return True
    if any(box(data, kind, *header) for kind in (b"pclr", b"cdef")) and not _has_usual_alpha(
        data, header, len(parts)
    ):
        return False
    colour = box(data, b"colr", *header)
    if colour is None or data[colour[0]] != _BY_NUMBER:
        return True  # a profile of the components as they are
    return struct.unpack_from(">I", data, colour[0] + 3)[0] in (_SRGB, _GREY)


def _has_usual_alpha(data: bytes, header: tuple[int, int], count: int) -> bool:
    """Whether what the channels are said to be is what their order says: colours, then alpha."""
    if box(data, b"pclr", *header):
        return False
    start, end = box(data, b"cdef", *header)
    (number,) = struct.unpack_from(">H", data, start)
    if end < start + 2 + 6 * number or number != count:
        return False
    told = {}
    for place in range(start + 2, start + 2 + 6 * number, 6):
        channel, meaning, of = struct.unpack_from(">3H", data, place)
        told[channel] = (meaning, of)
    colours = count if count in (1, 3) else count - 1
    usual = {channel: (0, channel + 1) for channel in range(colours)}
    return told == (usual if colours == count else usual | {colours: (1, 0)})


def _components(data: bytes) -> tuple[_Component, ...]:
    start = data.find(_CODESTREAM)
    if start < 0 or len(data) < start + _COMPONENTS + 2:
        return ()
    (count,) = struct.unpack_from(">H", data, start + _COMPONENTS)
    at = start + _COMPONENTS + 2
    if len(data) < at + 3 * count:
        return ()
    parts = (data[place : place + 3] for place in range(at, at + 3 * count, 3))
    return tuple(
        _Component((bits & 127) + 1, bits > 127, across, down) for bits, across, down in parts
    )
