"""Real JPEG files: what the encoder does, and which quality and subsampling an image meets."""

import io
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.corruptions import make_corruption
from tests.corruptions.cases import BACKENDS, cached_corruption, corrupt, degrade, import_tensorflow
from tests.golden import synthetic

SIZE = 32
IMAGE = synthetic.photo(1, SIZE, 5)
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
SHARES = np.array([29, 31, 38]) / 98
LOW, HIGH = 5, 14
NAME = f"jpeg-file-{LOW}-{HIGH}"


def through_pillow(image, quality, subsampling):
    """The file of a float [h, w, 3] image, read again as uint8."""
    file = io.BytesIO()
    levels = ((image + 1) * 127.5).clip(0, 255).round().astype(np.uint8)
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return np.asarray(Image.open(file))


def coded(quality, subsampling, image=IMAGE[0]):
    return through_pillow(image, quality, subsampling).astype(np.float32) / 127.5 - 1


def settings_of(images):
    """(quality, subsampling) of IMAGE's many versions, told by their pixels."""
    settings = [(q, s) for q in range(LOW, HIGH + 1) for s in SUBSAMPLINGS]
    versions = np.stack([coded(*setting) for setting in settings])
    equal = (np.abs(images[:, None] - versions).max(axis=(2, 3, 4)) == 0).astype(int)
    assert (equal.sum(axis=1) == 1).all()
    return [settings[number] for number in equal.argmax(axis=1)]


@pytest.mark.parametrize("size", (SIZE, 27))  # a file needs no multiple of 16
@pytest.mark.parametrize("quality", (1, 10, 75, 100))
def test_pixels_are_those_of_a_file(quality, size):
    images = synthetic.photo(2, size, 5) * 1.2  # beyond [-1, 1], where a file clips
    corruption = make_corruption(f"jpeg-file-{quality}-{quality}", image_size=size)
    for number, subsampling in enumerate(SUBSAMPLINGS):
        actual = corruption.degrade(images, index=np.full(2, number))
        expected = np.stack([coded(quality, subsampling, image) for image in images])
        np.testing.assert_array_equal(actual, expected)
    assert np.abs(actual).max() <= 1
    assert (actual != corruption.degrade(images, index=np.array([0, 0]))).any()  # the other one


def test_a_file_is_not_the_published_operator():
    file = cached_corruption("jpeg-file-10-10", image_size=SIZE).degrade(IMAGE, index=np.array([1]))
    operator = cached_corruption("jpeg-10", image_size=SIZE).degrade(IMAGE)
    levels = (file + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    assert np.abs(file - operator).mean() > 2 / 127.5  # two 8-bit levels


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_agree_to_the_bit(backend):
    corruption = cached_corruption("jpeg-file", image_size=SIZE)
    images = synthetic.photo(10, SIZE, 9)
    expected = corruption.degrade(images)
    np.testing.assert_array_equal(degrade(backend, corruption, images), expected)
    called = corrupt(backend, corruption, 0, images, np.arange(10)).image
    np.testing.assert_array_equal(called, expected)


def test_any_ten_indices_cover_the_range():
    corruption = cached_corruption(NAME, image_size=SIZE)
    index = np.concatenate([np.arange(40), [32765, 32766, 32767, 32768, 10**9, 2**31 - 1]])
    settings = settings_of(corruption.degrade(np.repeat(IMAGE, len(index), axis=0), index=index))
    for first, subsampling in enumerate(SUBSAMPLINGS):
        assert {setting[1] for setting in settings[first:40:3]} == {subsampling}
    for step in (1, 3):  # of any subsampling, of one
        for start in range(40 - 9 * step):
            qualities = sorted(quality for quality, _ in settings[start : start + 10 * step : step])
            ends = [LOW - 1, *qualities, HIGH + 1]
            assert len(qualities) == 10 and max(np.diff(ends)) <= 3, qualities


@pytest.mark.parametrize("backend", ("numpy", "jit", "vmap", "tf.data"))
def test_how_often_qualities_and_subsamplings_are_drawn(backend):
    """Chi-square over the thirty settings; the controls never draw the highest quality or 4:2:2."""
    corruption = cached_corruption(NAME, image_size=SIZE)
    count = 1000
    settings = settings_of(corrupt(backend, corruption, 7, np.repeat(IMAGE, count, axis=0)).image)
    counts = np.array([settings.count((q, s)) for q in range(LOW, HIGH + 1) for s in SUBSAMPLINGS])

    expected = count / 10 * np.tile(SHARES, 10)

    def chi_square(counts):
        return ((counts - expected) ** 2 / expected).sum()

    limit = 29 + 6 * 58**0.5  # six standard deviations above the mean of 29 degrees of freedom
    assert counts.sum() == count and chi_square(counts) < limit
    assert chi_square(np.where(np.arange(30) < 27, counts * 10 / 9, 0)) > limit
    by_subsampling = counts.reshape(10, 3).sum(axis=0)
    assert np.abs(by_subsampling / count - SHARES).max() < 5 * (0.25 / count) ** 0.5
    assert np.abs(by_subsampling / count - [0.5, 0, 0.5]).max() > 5 * (0.25 / count) ** 0.5


def test_draws_are_an_images_own():
    """Of a NumPy batch the first images meet the same whatever follows them."""
    corruption = cached_corruption("jpeg-file", image_size=SIZE)
    images = synthetic.photo(4, SIZE, 9)
    other = np.concatenate([images[:2], images[:2] * 0.5])
    first = corruption(np.random.default_rng(3), images).image
    np.testing.assert_array_equal(first[:2], corruption(np.random.default_rng(3), other).image[:2])
    keys = jax.random.split(jax.random.key(0), 4)
    one = jax.vmap(lambda key, image: corruption(key, image[None]).image[0])
    np.testing.assert_array_equal(one(keys, images)[1:3], one(keys[1:3], images[1:3]))


@pytest.mark.parametrize("backend", ("jax", "numpy", "tf"))
def test_no_images(backend):
    corruption = cached_corruption("jpeg-file", image_size=SIZE)
    empty = np.zeros((0, SIZE, SIZE, 3), np.float32)
    asarray = {"jax": jnp.asarray, "numpy": np.asarray}.get(backend)
    asarray = asarray or import_tensorflow().constant
    assert corruption.degrade(asarray(empty)).shape == empty.shape


def test_the_gradient_is_refused_with_the_reason():
    corruption = cached_corruption("jpeg-file", image_size=SIZE)

    def loss(scale, stop):
        images = scale * jnp.asarray(IMAGE)
        images = jax.lax.stop_gradient(images) if stop else images
        return jnp.sum(scale * corruption.degrade(images))

    for gradient in (jax.grad(loss), jax.jit(jax.grad(loss), static_argnums=1)):
        with pytest.raises(ValueError, match=r"no gradient.*jax.lax.stop_gradient"):
            gradient(1.0, False)
        expected = corruption.degrade(IMAGE).sum()
        np.testing.assert_allclose(gradient(1.0, True), expected, rtol=1e-4)


@pytest.mark.parametrize(
    "name, expected",
    (
        ("jpeg-10", (10, 10)),
        ("jpeg-file", (5, 95)),
        ("jpeg-file-20-90", (20, 90)),
        ("mixture", (5, 10)),
        ("sr4x-pool", None),
        ("inpaint-center", None),
        ("colorize", None),
    ),
)
def test_quality_range(name, expected):
    assert cached_corruption(name, image_size=SIZE).quality_range == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_one_cpu_is_an_error_and_no_hang():
    program = (
        "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"
        "import jax, jax.numpy as jnp\n"
        "from i2sb_jax.corruptions import make_corruption\n"
        "images = jnp.zeros((8, 64, 64, 3))\n"
        "print(jax.jit(make_corruption('jpeg-file', image_size=64).degrade)(images).shape)\n"
    )

    def run(**environment):
        alone = {k: v for k, v in os.environ.items() if k not in ("NPROC", "XLA_FLAGS")}
        return subprocess.run(
            [sys.executable, "-c", program], env=alone | {"JAX_PLATFORMS": "cpu"} | environment,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    assert "hangs inside JAX where the process has one CPU" in run().stderr
    assert run(NPROC="2").stdout == "(8, 64, 64, 3)\n"
