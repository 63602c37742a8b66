"""PPM and JPEG 2000 of more than 8 bits, beside what imagecodecs and arithmetic say."""

import struct

import imagecodecs
import numpy as np
import pytest

from i2sb_jax.pictures import UnreadableImage, decode_rgb, decode_square, read_picture
from i2sb_jax.pictures.deep import decode_deep
from tests.picture_files import pillow

DEEP = np.random.default_rng(5).integers(0, 65536, (9, 13, 4), np.uint16)


def spread(array, most):
    return np.uint16(np.rint(array * (65535 / most)))


def ppm(array, most, *, plain=False, comment=b""):
    kind = {(1, False): 5, (3, False): 6, (1, True): 2, (3, True): 3}[array.shape[2], plain]
    head = b"P%d%s %d\n%d %d\n" % (kind, comment, *array.shape[1::-1], most)
    if plain:
        rows = (b" ".join(b"%d" % value for value in row.ravel()) for row in array)
        return head + b"\n".join(rows)
    return head + array.astype(">u2").tobytes()


def jpeg2000(array, bits, **options):
    array = array if array.shape[2] > 1 else array[..., 0]
    return imagecodecs.jpeg2k_encode(
        np.ascontiguousarray(array), level=0, reversible=True, bitspersample=bits, **options
    )


def check(data, expected, has_alpha=False):
    picture = read_picture(data)
    kept = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    np.testing.assert_array_equal(kept, expected, strict=True)
    assert (picture.alpha is not None) == has_alpha and picture.notes == ()
    if not has_alpha:
        seen = decode_rgb(data).astype(float)
        assert np.abs(seen - expected / 257).max() <= 0.5 + 1e-3
    assert decode_square(data, 9).shape == (9, 9, 3)


@pytest.mark.parametrize("most", [65535, 4095, 1000, 256])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_netpbm(most, channels, plain):
    array = np.uint16(DEEP[..., :channels].astype(int) * most // 65535)
    check(ppm(array, most, plain=plain, comment=b"\n# a comment, 7 8 9\n"), spread(array, most))


@pytest.mark.parametrize("bits", [9, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("codecformat", ["jp2", "j2k"])
def test_jpeg2000(bits, channels, codecformat):
    array = DEEP[..., :channels] >> (16 - bits)
    data = jpeg2000(array, bits, codecformat=codecformat)
    check(data, spread(array, 2**bits - 1), channels in (2, 4))


def test_colours_that_are_no_rgb_are_left_to_pillow():
    data = jpeg2000(DEEP[..., :3], 16)
    number = data.index(b"colr") + 7
    of_yuv = data[:number] + (18).to_bytes(4, "big") + data[number + 4 :]
    picture = read_picture(of_yuv)
    assert picture.pixels.dtype == np.uint8
    assert picture.notes == ("has 16 bits a channel, of which 8 are read",)


def with_box(data, kind, contents):
    """A JPEG 2000 file with a box more in its header."""
    at = data.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", data, at)
    box = struct.pack(">I", 8 + len(contents)) + kind + contents
    end = at + length
    return data[:at] + struct.pack(">I", length + len(box)) + data[at + 4 : end] + box + data[end:]


def channels_said_to_be(*said):
    """The contents of a box cdef: (channel, meaning, of which colour) each."""
    return struct.pack(">H", len(said)) + b"".join(struct.pack(">3H", *each) for each in said)


def test_channels_in_their_usual_order():
    data = jpeg2000(DEEP, 16, codecformat="jp2")
    usual = (0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0)
    check(with_box(data, b"cdef", channels_said_to_be(*usual)), DEEP, True)


@pytest.mark.parametrize(
    "said",
    [
        ((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 2, 0)),  # premultiplied
        ((0, 0, 3), (1, 0, 2), (2, 0, 1), (3, 1, 0)),  # BGR
        ((0, 0, 1), (1, 0, 2), (2, 0, 3)),  # of three alone
    ],
)
def test_channels_in_another_order_are_left_to_pillow(said):
    data = jpeg2000(DEEP, 16, codecformat="jp2")
    assert decode_deep(with_box(data, b"cdef", channels_said_to_be(*said)), 13, 9) is None


def test_a_palette_and_numbers_with_a_sign_are_left_to_pillow():
    data = jpeg2000(DEEP, 16, codecformat="jp2")
    assert decode_deep(with_box(data, b"pclr", b"anything"), 13, 9) is None
    depths = data.index(b"\xff\x4f\xff\x51") + 42  # three bytes a component: depth, steps
    signed = bytearray(data)
    signed[depths : depths + 12 : 3] = bytes([15 | 128]) * 4
    assert decode_deep(bytes(signed), 13, 9) is None
    assert decode_deep(data[: depths + 2], 13, 9) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (ppm(DEEP[..., :3], 65535)[:-1], "truncated: 350 of 351 samples"),
        (ppm(DEEP[..., :3], 65535, plain=True)[:900], "truncated"),
        (ppm(DEEP[..., :3], 300), "its header says 300 at most"),
        (jpeg2000(DEEP[..., :3], 16)[:200], "."),
    ],
)
def test_what_is_broken_is_one_line(data, message):
    for read in (read_picture, decode_rgb):
        with pytest.raises(UnreadableImage, match=message) as error:
            read(data)
        assert "\n" not in str(error.value)


def test_eight_bits_stay_eight():
    for kind in ("PPM", "JPEG2000"):
        assert read_picture(pillow(np.uint8(DEEP[..., :3] >> 8), kind)).pixels.dtype == np.uint8
