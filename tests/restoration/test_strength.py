"""How much of the change is taken: all, none, or a part, in files and in arrays."""

import json

import imagecodecs
import jax
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.pictures import from_uint8, to_pixels
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from tests.restoration.models import identity_model, photo
from tests.training.tiny import fresh_params, make_config


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("strength")


@pytest.fixture(scope="module")
def model(root):
    """One that changes pictures: weights everywhere, also where training begins with zeros."""
    return changing(root / "model", "blur-photo-0-2")


def changing(folder, corruption):
    # of two levels: noise on the weights of one would drive pictures beyond black and white
    config = make_config(corruption=corruption, bridge={"deterministic": True},
                         sampling={"sampler": "ode"},
                         model={"channel_mult": (1.0, 1.0)})  # fmt: skip
    rng = np.random.default_rng(0)
    noisy = jax.tree.map(
        lambda x: x + np.float32(0.05) * rng.standard_normal(x.shape, np.float32),
        fresh_params(config),
    )
    interop.save_model(folder, config, noisy)
    return folder


def restored(model, source, output, **options):
    """Name -> pixels."""
    options = Options(nfe=1, tile=32, overlap=16, **options)
    assert not restore_folder(model, source, output, options, quiet=True).unreadable
    return {path.name: imagecodecs.png_decode(path.read_bytes()) for path in output.glob("*.png")}


@pytest.fixture(scope="module")
def pictures(root):
    """In 8 and 16 bits, grey, and with transparency."""
    folder = root / "in"
    folder.mkdir()
    rgb = photo(40, 57)
    deep = rgb.astype(np.uint16) * 257 + np.uint16(31)
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    Image.fromarray(rgb).save(folder / "rgb.png")
    Image.fromarray(rgb[..., 0]).save(folder / "grey.png")
    Image.fromarray(np.dstack([rgb, rgb[..., 1]])).save(folder / "alpha.png")
    return folder


@pytest.fixture(scope="module")
def whole(root, model, pictures):
    """All restored, strength left as it is."""
    return restored(model, pictures, root / "whole")


def test_none_of_it_is_the_input_and_all_of_it_the_result(model, pictures, whole, tmp_path):
    one = restored(model, pictures, tmp_path / "one", strength=1)
    none = restored(model, pictures, tmp_path / "none", strength=0)
    for path in pictures.iterdir():
        given = imagecodecs.png_decode(path.read_bytes())
        np.testing.assert_array_equal(one[path.name], whole[path.name])
        np.testing.assert_array_equal(none[path.name], given)
        assert np.abs(whole[path.name].astype(int) - given).max() > 5  # the model does something
    assert json.loads((tmp_path / "none" / "restore.json").read_text())["strength"] == 0


def test_a_part_lies_between(model, pictures, whole, tmp_path):
    part = restored(model, pictures, tmp_path / "part", strength=0.25)
    for path in pictures.iterdir():
        given = imagecodecs.png_decode(path.read_bytes()).astype(float)
        between = given + 0.25 * (whole[path.name] - given)
        # the result was rounded before it was mixed here, and what was mixed once more
        assert np.abs(part[path.name] - between).max() <= 0.25 * 0.5 + 0.5 + 1e-3


@pytest.mark.usefixtures("whole")
def test_another_strength_is_another_result(model, pictures, root):
    with pytest.raises(ValueError, match=r"strength is 1.0 there, 0.5 here"):
        restored(model, pictures, root / "whole", strength=0.5)


def test_a_preview_is_mixed_too(model, pictures, tmp_path):
    options = Options(nfe=1, preview=True, strength=0.0)
    restore_folder(model, pictures / "rgb.png", tmp_path / "out", options, quiet=True)
    strip = imagecodecs.png_decode((tmp_path / "out" / "preview.png").read_bytes())
    before, after = np.split(strip, 2, axis=1)
    np.testing.assert_array_equal(before, after)


def test_of_a_reduction_the_enlarged_picture_is_the_input(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(20, 24)).save(tmp_path / "in" / "a.png")
    model = changing(tmp_path / "model", "sr4x-photo")
    made = restored(model, tmp_path / "in", tmp_path / "out", strength=0)["a.png"]
    smooth = enlarge_smoothly(from_uint8(photo(20, 24))[None], 4)[0]
    np.testing.assert_array_equal(made, to_pixels(smooth, np.dtype(np.uint8)))


def test_arrays(model):
    restorer, images = Restorer.from_workdir(model), photo(40, 57)[None]
    values, whole = from_uint8(images), restorer(images)
    np.testing.assert_array_equal(restorer(images, strength=1), whole)
    np.testing.assert_array_equal(restorer(images, strength=0), values)
    half = restorer(images, strength=0.5)
    np.testing.assert_allclose(half, (values + whole) / 2, atol=1e-6)
    assert np.abs(half - whole).max() > 0.02
    with pytest.raises(ValueError, match=r"^strength=0.5 mixes .* leave out record"):
        restorer(images, strength=0.5, nfe=2, record=(0,))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_other_numbers_are_refused(model, strength):
    with pytest.raises(ValueError, match=r"^strength=.* must lie in 0 … 1"):
        Options(strength=strength)
    with pytest.raises(ValueError, match=r"^strength=.* must lie in 0 … 1"):
        Restorer.from_workdir(model)(photo(16, 16)[None], strength=strength)


@pytest.mark.parametrize(
    "corruption, options, reason",
    [
        ("inpaint-center", {}, "inpaint-center fills holes"),
        ("colorize", {}, "colorize colours grey pictures"),
        ("sr4x-pool", {}, "sr4x-pool enlarges it"),
        ("mixture", {}, "and sr4x-pool enlarges it"),
        ("blur-uni", {"degrade": True}, "blur-uni darkens it"),
    ],
)
def test_where_input_and_result_are_not_alike_it_is_refused(corruption, options, reason):
    config = make_config(corruption=corruption, bridge={"deterministic": True},
                         sampling={"sampler": "ode"})  # fmt: skip
    Options(**options).resolve(config)
    with pytest.raises(ValueError, match=rf"^strength=0.5 mixes .*{reason}"):
        Options(strength=0.5, **options).resolve(config)
    if corruption == "mixture":
        Options(strength=0.5, member="jpeg-5").resolve(config)


def test_arrays_that_are_not_alike_are_refused(tmp_path):
    restorer = Restorer.from_workdir(identity_model(tmp_path / "m", "sr4x-pool"))
    with pytest.raises(ValueError, match=r"^strength=0.5 mixes .* the task enlarges it"):
        restorer(photo(16, 16)[None], strength=0.5)
