"""JPEG XL: its size from the header (ISO/IEC 18181-1, Annex D), and its pixels by imagecodecs."""

from typing import BinaryIO

import imagecodecs
import numpy as np

from i2sb_jax.pictures.header import UnreadableImage
from i2sb_jax.pictures.profiles import box

_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_LENGTHS = (9, 13, 18, 30)  # bits of a side
_HEAD = 1 << 20  # bytes in which the codestream begins


def is_jpegxl(start: bytes) -> bool:
    """Whether a file that starts so is JPEG XL."""
    return start.startswith((_CODESTREAM, _CONTAINER))


def jpegxl_size(file: BinaryIO) -> tuple[int, int]:
    """(width, height), upright.

    Raises:
        UnreadableImage: the header is broken.
    """
    data = file.read(_HEAD)
    if data.startswith(_CONTAINER):
        whole = box(data, b"jxlc", 0, len(data))
        part = box(data, b"jxlp", 0, len(data))
        if whole is None and part is None:
            raise UnreadableImage("a JPEG XL file without a picture")
        data = data[whole[0] :] if whole is not None else data[part[0] + 4 :]
    if not data.startswith(_CODESTREAM) or len(data) < 16:
        raise UnreadableImage("a JPEG XL file with a broken header")
    bits = _Bits(data[2:16])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        width = height * across // down
    else:
        width = _side(bits, small)
    turn = 1
    if not bits.take(1) and bits.take(1):  # not all as usual, and more is said
        turn = 1 + bits.take(3)
    return (width, height) if turn < 5 else (height, width)


def decode_jpegxl(data: bytes) -> np.ndarray:
    """[h, w, c] of uint8 or uint16, upright, the last of 2 and 4 channels is alpha.

    Raises:
        UnreadableImage: it is broken, or holds floats or other channels.
    """
    try:
        array = imagecodecs.jpegxl_decode(data)
    except imagecodecs.JpegxlError as error:  # names functions of the library
        raise UnreadableImage(f"a truncated or broken JPEG XL file ({error})") from None
    array = array if array.ndim == 3 else array[..., None]
    if array.ndim != 3 or array.shape[2] > 4 or array.dtype not in (np.uint8, np.uint16):
        raise UnreadableImage(
            f"a JPEG XL file of {array.dtype} {array.shape}: grey or RGB of 8 or 16 bits are read"
        )
    return array


class _Bits:
    """Bits of bytes, the lowest first."""

    def __init__(self, data: bytes):
        """Begins at the first bit of `data`."""
        self._rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        """The next bits as a number."""
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value


def _side(bits: _Bits, small: int) -> int:
    if small:
        return 8 * (1 + bits.take(5))
    return 1 + bits.take(_LENGTHS[bits.take(2)])
