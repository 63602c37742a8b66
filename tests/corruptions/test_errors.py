"""A wrong argument is answered by one line that names it and what would be right."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.corruptions import make_corruption
from tests.corruptions.cases import cached_corruption, import_tensorflow

IMAGES = np.zeros((2, 32, 32, 3), np.float32)


def assert_one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    "name, nearest",
    (
        ("blur-unif", "blur-uni"),
        ("sr4x-pol", "sr4x-pool"),
        ("inpaint-centre", "inpaint-center"),
        ("jpg-10", "jpeg-10"),
        ("jpg-file", "jpeg-file"),
        ("jpeg-05", "jpeg-5"),
        ("colourize", "colorize"),
        ("blur-foto", "blur-photo"),
        ("sr4-photo", "sr4x-photo"),
        ("noisy", "noise"),
        ("jpeg-10 ", "jpeg-10"),
    ),
)
def test_unknown_name_is_answered_by_the_nearest(name, nearest):
    with pytest.raises(ValueError) as error:
        make_corruption(name, image_size=64)
    listed = ("jpeg-Q", "jpeg-file-LO-HI", "blur-photo-LO-HI", "noise-float-LO-HI", "sr4x-photo")
    assert_one_line(error, repr(name), f"did you mean {nearest!r}", *listed)


@pytest.mark.parametrize("name", (None, 5, ["jpeg-5"], ""))
def test_name_of_another_type(name):
    with pytest.raises(ValueError) as error:
        make_corruption(name, image_size=64)
    assert_one_line(error, "unknown corruption", repr(name))


@pytest.mark.parametrize("name", ("jpeg-0", "jpeg-101", "jpeg--5", "jpeg-1000"))
def test_jpeg_quality_out_of_range(name):
    with pytest.raises(ValueError) as error:
        make_corruption(name, image_size=64)
    assert_one_line(error, repr(name), "1...100")


@pytest.mark.parametrize(
    "name",
    (
        *("jpeg-file-", "jpeg-file-5", "jpeg-file-0-50", "jpeg-file-5-101", "jpeg-file-50-5"),
        *("jpeg-file--5-50", "jpeg-file-5-50-90", "jpeg-file-5-5O", "jpeg-file-5-50\n"),
    ),
)
def test_jpeg_file_range(name):
    with pytest.raises(ValueError) as error:
        make_corruption(name, image_size=64)
    assert_one_line(error, repr(name), "jpeg-file-LO-HI", "1 <= LO <= HI <= 100")


@pytest.mark.parametrize(
    "name, pattern, bounds",
    (
        ("blur-photo-", "blur-photo-LO-HI", "0 <= LO <= HI <= 20"),
        ("blur-photo-2", "blur-photo-LO-HI", "0 <= LO <= HI <= 20"),
        ("blur-photo-2-1.5", "blur-photo-LO-HI", "0 <= LO <= HI <= 20"),
        ("blur-photo-0-21", "blur-photo-LO-HI", "0 <= LO <= HI <= 20"),
        ("blur-photo-0-.5", "blur-photo-LO-HI", "0 <= LO <= HI <= 20"),
        ("blur-photo-0-inf", "blur-photo-LO-HI", "0 <= LO <= HI <= 20"),
        ("blur-photo-0-1e1", "blur-photo-LO-HI", "0 <= LO <= HI <= 20"),
        ("noise-0-101", "noise-LO-HI", "0 <= LO <= HI <= 100"),
        ("noise-floats", "noise-LO-HI", "0 <= LO <= HI <= 100"),
        ("noise--1-5", "noise-LO-HI", "0 <= LO <= HI <= 100"),
        ("noise-float-5", "noise-float-LO-HI", "0 <= LO <= HI <= 100"),
        ("noise-float-0-50\n", "noise-float-LO-HI", "0 <= LO <= HI <= 100"),
    ),
)
def test_range(name, pattern, bounds):
    with pytest.raises(ValueError) as error:
        make_corruption(name, image_size=64)
    assert_one_line(error, repr(name), pattern, bounds, "e.g.")


@pytest.mark.parametrize(
    "name, size, words",
    (
        ("jpeg-10", 250, ("16", "250", "240 or 256")),
        ("mixture", 100, ("16", "100", "96 or 112")),
        ("sr4x-pool", 30, ("4", "30", "28 or 32")),
        ("sr4x-bicubic", 9, ("4", "9", "8 or 12")),
        ("jpeg-10", 12, ("16", "12", "try 16")),
        ("sr2x-photo", 31, ("2", "31", "30 or 32")),
        ("sr4x-photo", 30, ("4", "30", "28 or 32")),
        ("blur-uni", 0, ("at least 8", "0")),
        ("colorize", -64, ("at least 8", "-64")),
        ("colorize", 64.0, ("integer", "64.0")),
        ("colorize", True, ("integer", "True")),
    ),
)
def test_image_size(name, size, words):
    with pytest.raises(ValueError) as error:
        make_corruption(name, image_size=size)
    assert_one_line(error, name, *words)


@pytest.mark.parametrize("name", ("jpeg-10", "inpaint-center", "colorize"))
def test_mask_file_without_freeform_masks(name):
    with pytest.raises(ValueError) as error:
        make_corruption(name, image_size=256, mask_file="masks.npz")
    assert_one_line(error, name, "mask_file")


def test_mask_file_of_another_size():
    with pytest.raises(ValueError) as error:
        make_corruption("mixture", image_size=64, mask_file="masks.npz")
    assert_one_line(error, "256", "64")


@pytest.mark.parametrize(
    "content, words",
    (
        (None, ("does not exist",)),
        (b"", ("not a readable .npz",)),
        (b"PK\x03\x04 and no more", ("not a readable .npz",)),
        ("npy", ("not a readable .npz",)),
        ({"masks": np.zeros(8192, np.uint8)}, ("20-30% freeform", "masks")),
        ({"20-30% freeform": np.zeros(100, np.uint8)}, ("packed", "[100]")),
        ({"20-30% freeform": np.zeros((1, 256, 256), bool)}, ("packed", "bool")),
        ({"20-30% freeform": np.array([None])}, ("not a readable .npz",)),
    ),
)
def test_bad_mask_file(content, words, tmp_path):
    path = tmp_path / "masks.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(8192, np.uint8))
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(ValueError) as error:
        make_corruption("inpaint-freeform2030", image_size=256, mask_file=path)
    assert_one_line(error, str(path), *words)


@pytest.mark.parametrize(
    "images, words",
    (
        (IMAGES.astype(np.float64), ("float32", "float64")),
        (IMAGES.astype(np.uint8), ("float32", "uint8")),
        (IMAGES[0], ("[batch, 32, 32, 3]", "[32, 32, 3]")),
        (IMAGES[:, :16], ("[batch, 32, 32, 3]", "[2, 16, 32, 3]")),
        (IMAGES[..., :1], ("[batch, 32, 32, 3]", "[2, 32, 32, 1]")),
        (jnp.zeros((2, 32, 32, 3), jnp.bfloat16), ("float32", "bfloat16")),
        ([[0.0]], ("list",)),
    ),
)
@pytest.mark.parametrize("name", ("sr4x-pool", "mixture"))
def test_images_of_another_kind(name, images, words):
    corruption = cached_corruption(name, image_size=32)
    for call in (lambda: corruption(None, images), lambda: corruption.degrade(images)):
        with pytest.raises(ValueError) as error:
            call()
        assert_one_line(error, *words)


@pytest.mark.parametrize("name", ("inpaint-center", "jpeg-file", "mixture", "colorize"))
def test_key_is_needed_and_of_the_kind_of_the_images(name):
    corruption = cached_corruption(name, image_size=32)
    with pytest.raises(ValueError) as error:
        corruption(None, IMAGES)
    assert_one_line(error, name, "key")
    with pytest.raises(ValueError) as error:
        corruption(jax.random.key(0), IMAGES)
    assert_one_line(error, "numpy.random.Generator")
    with pytest.raises(ValueError) as error:
        corruption(np.random.default_rng(0), jnp.asarray(IMAGES))
    assert_one_line(error, "jax.random key", "Generator")


@pytest.mark.parametrize("key", ([1, 2], [[1, 2]], [[1, 2, 3]] * 2, [[1.0, 2.0]] * 2))
def test_tensorflow_seeds_are_one_an_image(key):
    tf = import_tensorflow()
    corruption = cached_corruption("colorize", image_size=32)
    with pytest.raises(ValueError) as error:
        corruption(tf.constant(key), tf.constant(IMAGES))
    assert_one_line(error, "[batch, 2]")


@pytest.mark.parametrize("name", ("jpeg-10", "mixture"))
def test_mask_where_there_is_none(name):
    corruption = cached_corruption(name, image_size=32)
    with pytest.raises(ValueError) as error:
        corruption.degrade(IMAGES, IMAGES[..., :1])
    assert_one_line(error, name, "mask")


def test_tensorflow_is_not_imported_for_other_arrays():
    program = (
        "import sys, numpy, jax\n"
        "from i2sb_jax.corruptions import make_corruption\n"
        "images = numpy.zeros((9, 16, 16, 3), numpy.float32)\n"
        "mixture = make_corruption('mixture', image_size=16)\n"
        "mixture(numpy.random.default_rng(0), images)\n"
        "mixture.degrade(jax.numpy.asarray(images))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
