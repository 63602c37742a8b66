"""Small pictures: Pillow's reduction, perhaps a JPEG file, smoothly enlarged."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from i2sb_jax.corruptions import enlarge_smoothly
from tests.corruptions.cases import cached_corruption, corrupt
from tests.golden import synthetic

UNLIKELY = 1e-6  # a p-value below it is no chance
SIZE = 32
IMAGE = synthetic.photo(1, SIZE, 5)
KERNELS = ("BOX", "BILINEAR", "BICUBIC", "LANCZOS")
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
SHARES = np.array([29, 31, 38]) / 98


def small(factor, kernel, quality=None, subsampling=None):
    levels = ((IMAGE[0] + 1) * 127.5).round().astype(np.uint8)
    size = (SIZE // factor,) * 2
    picture = Image.fromarray(levels).resize(size, Image.Resampling[kernel])
    if quality is not None:
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, subsampling=subsampling)
        picture = Image.open(file)
    return np.asarray(picture)


def draws(kernel, quality=None, subsampling="4:4:4"):
    share = np.cumsum([0, *SHARES])[SUBSAMPLINGS.index(subsampling)] + 0.01
    place = 0.0 if quality is None else (quality - 60 + 0.5) / 36
    chosen = (KERNELS.index(kernel) + 0.5) / 4
    return np.array([place, chosen, 0.7 if quality is None else 0.3, share], np.float32)


@pytest.mark.parametrize("factor", (2, 4))
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("file", ((None, "4:4:4"), (60, "4:2:0"), (75, "4:2:2"), (95, "4:4:4")))
def test_x1_is_a_small_picture_enlarged(factor, kernel, file):
    corruption = cached_corruption(f"sr{factor}x-photo", image_size=SIZE)
    expected = small(factor, kernel, *(file if file[0] else ()))
    np.testing.assert_array_equal(
        corruption.small_picture(IMAGE[0], draws(kernel, *file)), expected
    )
    enlarged = enlarge_smoothly(expected.astype(np.float32) / np.float32(127.5) - 1, factor)
    actual = corruption.degrade_picture(IMAGE[0], draws(kernel, *file))
    np.testing.assert_allclose(actual, enlarged, atol=1e-6)


def settings_of(images):
    """(kernel, quality or None, subsampling) of IMAGE's many versions, told by their pixels."""
    files = [(None, None), *itertools.product(range(60, 96), SUBSAMPLINGS)]
    settings = [(kernel, *file) for kernel in KERNELS for file in files]
    versions = [
        enlarge_smoothly(small(2, kernel, *file).astype(np.float32) / np.float32(127.5) - 1, 2)
        for kernel, *file in ((s[0], *(s[1:] if s[1] else ())) for s in settings)
    ]
    flat = np.stack(versions).reshape(len(settings), -1)[:, ::7]
    distances = np.stack(
        [np.abs(flat - x).max(axis=1) for x in images.reshape(len(images), -1)[:, ::7]]
    )
    assert ((distances < 1e-5).sum(axis=1) == 1).all()  # one of them, and no other
    return [settings[number] for number in distances.argmin(axis=1)]


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_which_reductions_are_drawn(backend):
    count = 500
    corruption = cached_corruption("sr2x-photo", image_size=SIZE)
    images = corrupt(backend, corruption, 3, np.repeat(IMAGE, count, axis=0)).image
    settings = settings_of(images)
    kernels = [sum(setting[0] == kernel for setting in settings) for kernel in KERNELS]
    assert stats.chisquare(kernels).pvalue > UNLIKELY
    assert stats.chisquare([kernels[0] + kernels[1], 0, *kernels[2:]]).pvalue < UNLIKELY
    jpegs = [setting for setting in settings if setting[1]]
    assert stats.binomtest(len(jpegs), count, 0.5).pvalue > UNLIKELY
    assert stats.binomtest(len(jpegs), count, 0.7).pvalue < UNLIKELY
    found = [sum(setting[2] == s for setting in jpegs) for s in SUBSAMPLINGS]
    assert stats.chisquare(found, SHARES * len(jpegs)).pvalue > UNLIKELY
    assert stats.chisquare([found[0] + found[1], 1e-9, found[2]], len(jpegs) * SHARES,
                           sum_check=False).pvalue < UNLIKELY  # fmt: skip
    qualities = np.array([setting[1] for setting in jpegs])
    bins = np.histogram(qualities, np.arange(60, 97, 6))[0]
    assert stats.chisquare(bins).pvalue > UNLIKELY
    assert stats.chisquare([*bins[:-1] * 1.25, 0], sum_check=False).pvalue < UNLIKELY


def test_sixteen_indices_meet_every_kernel_as_png_and_as_jpeg():
    corruption = cached_corruption("sr2x-photo", image_size=SIZE)
    settings = settings_of(corruption.degrade(np.repeat(IMAGE, 16, axis=0)))
    assert {(kernel, quality is None) for kernel, quality, _ in settings} == set(
        itertools.product(KERNELS, (True, False))
    )
