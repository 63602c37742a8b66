"""Cutting squares out of pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.data.preprocess import cut, prepare
from i2sb_jax.data.synthetic import random_picture
from i2sb_jax.pictures import (
    UnreadableImage,
    center_crop,
    decode_rgb,
    decode_square,
    resize_short_side,
)
from i2sb_jax.pictures.header import ORIENTATION_TAG
from tests.data.pictures import picture, png


def test_resize_mode_is_the_papers():
    image = prepare(png(1, height=40, width=60), image_size=16, crop="resize")
    want = center_crop(resize_short_side(picture(1, height=40, width=60), 16), 16)
    np.testing.assert_array_equal(image, want)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("turn", [1, 3, 6])
@pytest.mark.parametrize(("height", "width"), [(375, 500), (509, 207), (64, 90), (30, 40)])
def test_square_of_a_file_has_the_bytes_of_the_steps(kind, turn, height, width):
    file, exif = io.BytesIO(), Image.Exif()
    exif[ORIENTATION_TAG] = turn
    Image.fromarray(random_picture(turn, height=height, width=width)).save(file, kind, exif=exif)
    whole = decode_rgb(file.getvalue())
    assert whole.shape[:2] == ((width, height) if turn == 6 else (height, width))
    want = center_crop(resize_short_side(whole, 64), 64)
    np.testing.assert_array_equal(decode_square(file.getvalue(), 64), want)


def test_window_mode_keeps_native_pixels():
    np.testing.assert_array_equal(prepare(png(1), image_size=16, crop="window"), picture(1))
    small = prepare(png(1, height=8, width=12), image_size=16, crop="window")
    assert small.shape == (16, 24, 3)


def test_arrays_serve_as_well():
    image = picture(2)
    np.testing.assert_array_equal(prepare(image, image_size=8, crop="window"), image)
    grey = prepare(image[..., :1], image_size=8, crop="window")
    np.testing.assert_array_equal(grey[..., 2], image[..., 0])
    for wrong in (image.astype(np.float32), image[..., 0], image[..., :2]):
        with pytest.raises(UnreadableImage, match=r"must be uint8 \[h, w, 1 or 3\]"):
            prepare(wrong, image_size=8, crop="window")


PLAIN = {"image_size": 8, "flip": False, "quarter_turns": False, "shuffle_channels": False}


def test_cut_reaches_every_corner_and_nothing_else():
    image = picture(3, height=10, width=12)
    corner = np.float32(0.9999999)
    np.testing.assert_array_equal(cut(image, [0, 0, 0, 0, 0], **PLAIN), image[:8, :8])
    np.testing.assert_array_equal(cut(image, [corner, corner, 0, 0, 0], **PLAIN), image[2:, 4:])


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [0.2, 0.7])
def test_cut_flips_and_turns(mirror, turns):
    image = picture(4, height=8, width=8)
    draws = [0, 0, mirror, turns / 4 + 0.1, 0]
    want = image[:, ::-1] if mirror < 0.5 else image
    got = cut(image, draws, **(PLAIN | {"flip": True, "quarter_turns": True}))
    np.testing.assert_array_equal(got, np.rot90(want, turns))
    got = cut(image, draws, **(PLAIN | {"flip": True}))
    np.testing.assert_array_equal(got, want)
    got = cut(image, draws, **PLAIN)
    np.testing.assert_array_equal(got, image)


def test_cut_puts_channels_into_each_of_their_orders():
    image = picture(5, height=8, width=8)
    options = PLAIN | {"shuffle_channels": True}
    seen = {
        tuple(int(np.argwhere(image[0, 0] == value)[0, 0]) for value in square[0, 0])
        for square in (cut(image, [0, 0, 0, 0, (k + 0.5) / 6], **options) for k in range(6))
    }
    assert len(set(image[0, 0])) == 3 and len(seen) == 6
