"""A network that is told how a JPEG was made: by the file, through the CLI and from Python."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.corruptions.jpeg_file import standard_settings
from i2sb_jax.pictures import from_uint8, read_jpeg_info
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.told import told_settings
from i2sb_jax.run import Run
from tests.restoration.models import identity_model, photo
from tests.training.tiny import make_config

TASK = "jpeg-told-20-80"
FACTS = corruption_facts(TASK)


def encode(quality, subsampling=2):
    file = io.BytesIO()
    Image.fromarray(photo(64, 64)).save(file, "JPEG", quality=quality, subsampling=subsampling)
    return file.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of random weights: what it is told changes what it gives."""
    folder = tmp_path_factory.mktemp("told") / "model"
    config = make_config(
        corruption=TASK,
        bridge={"deterministic": True},
        sampling={"sampler": "ode"},
        model={"norm": "none", "middle_attention": False},
    )
    shapes = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    rng = np.random.default_rng(0)
    draw = lambda s: 0.12 * rng.standard_normal(s.shape).astype(np.float32)  # noqa: E731
    interop.save_model(folder, config, jax.tree.map(draw, shapes))
    return folder


def test_a_header_is_kept_within_what_was_learnt():
    for quality, seen in ((5, 20), (20, 20), (50, 50), (80, 80), (95, 80)):
        told = told_settings(FACTS, read_jpeg_info(encode(quality, 1)))
        np.testing.assert_array_equal(told, standard_settings(seen, "4:2:2"))
    np.testing.assert_array_equal(told_settings(FACTS, None), standard_settings(80, "4:4:4"))
    grey = io.BytesIO()
    Image.fromarray(photo(16, 16)[..., 0]).save(grey, "JPEG", quality=50)
    luma, chroma, *halved = told_settings(FACTS, read_jpeg_info(grey.getvalue()))
    assert luma == standard_settings(50, "4:4:4")[0] and halved == [-1, -1] and -1 < chroma < 1


def test_python_tells_and_is_checked(model):
    restorer = Restorer.from_workdir(model)
    images = np.stack([from_uint8(photo(32, 32))] * 2)
    silent = restorer(images, nfe=1)
    best = restorer(images, nfe=1, told=standard_settings(80, "4:4:4"))
    np.testing.assert_array_equal(silent, best)
    two = np.stack([standard_settings(80, "4:4:4"), standard_settings(20, "4:2:0")])
    mixed = restorer(images, nfe=1, told=two)
    np.testing.assert_allclose(mixed[0], best[0], atol=1e-6)
    assert np.abs(mixed[1] - best[1]).max() > 1e-3
    with pytest.raises(ValueError, match=r"told has shape \[3, 4\], must be \[4\] or \[2, 4\]"):
        restorer(images, nfe=1, told=np.zeros((3, 4)))


def test_others_are_told_nothing(tmp_path):
    restorer = Restorer.from_workdir(identity_model(tmp_path / "model", "jpeg-file-20-80"))
    with pytest.raises(ValueError, match="jpeg-file-20-80 is told nothing of files"):
        restorer(np.zeros((1, 32, 32, 3), np.float32), nfe=1, told=np.zeros(4))


def test_files_tell(model, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, data in (("low.jpg", encode(25)), ("high.jpg", encode(80))):
        (folder / name).write_bytes(data)
    Image.fromarray(photo(64, 64)).save(folder / "plain.png")
    restore_folder(model, folder, tmp_path / "out", Options(nfe=1, tile=64), quiet=True)
    warning = capsys.readouterr().err
    assert "plain.png is no JPEG file" in warning and "quality 80" in warning
    restorer = Restorer.from_workdir(model)
    for name in ("low.jpg", "high.jpg", "plain.png"):
        with Image.open(folder / name) as picture:
            pixels = np.asarray(picture)
        info = read_jpeg_info((folder / name).read_bytes()) if name != "plain.png" else None
        middle = slice(24, 40)  # at borders windows are mirrored further than here
        with Image.open((tmp_path / "out" / name).with_suffix(".png")) as picture:
            restored = from_uint8(np.asarray(picture))[middle, middle]

        def error(told, pixels=pixels, restored=restored, middle=middle):
            expected = restorer(from_uint8(pixels)[None], nfe=1, told=told)[0]
            return np.abs(restored - expected[middle, middle]).max()

        assert error(told_settings(FACTS, info)) < 0.6 / 127.5
        assert error(standard_settings(40, "4:2:2")) > 1.2 / 127.5
