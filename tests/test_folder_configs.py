"""`configs/folder.py:SIZE` and what stands on it: one's own photographs at four sizes."""

import math

import jax
import pytest

from i2sb_jax.run import Run

pytest.importorskip("ml_collections")

from i2sb_jax.cli import config_file

# parameters in millions, of ADM's levels at 128 channels
SIZES = {"": 138.3, ":64": 101.7, ":128": 105.2, ":256": 138.3, ":512": 139.6}


def parse(file, *overrides):
    flags = [f"--config=configs/{file}", "--workdir=runs/x", "--config.data.path=photographs"]
    return config_file.parse([*flags, *overrides], program="test")[0]


@pytest.fixture(autouse=True)
def in_the_repository(pytestconfig, monkeypatch):
    monkeypatch.chdir(pytestconfig.rootpath)


@pytest.mark.parametrize("size", SIZES)
def test_sizes(size):
    config = parse(f"folder.py{size}")
    assert config.image_size == int(size[1:] or 256)
    sides = [config.image_size // factor for factor in config.model.attention_downsamples]
    assert sides == [32, 16, 8]
    assert config.training.batch_size % config.training.accumulation_steps == 0
    params = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    millions = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) / 1e6
    assert millions == pytest.approx(SIZES[size], abs=0.1)


@pytest.mark.parametrize("size", SIZES)
def test_jpeg_is_the_same_but_for_the_corruption(size):
    config = parse(f"folder_jpeg.py{size}")
    assert Run(config).corruption.quality_range == (5, 95)
    same = parse(f"folder.py{size}", f"--config.corruption={config.corruption}")
    assert config == same


def test_adm_itself_is_an_override_away():
    config = parse("folder.py:256", "--config.model.model_channels=256")
    params = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == 552_807_171


@pytest.mark.parametrize("size", ("100", "", "64x"))
@pytest.mark.parametrize("file", ("folder.py", "folder_jpeg.py"))
def test_another_size_is_one_line(file, size):
    with pytest.raises(ValueError, match=rf"size '{size}': .*64, 128, 256, 512$") as error:
        parse(f"{file}:{size}")
    assert "\n" not in str(error.value)
