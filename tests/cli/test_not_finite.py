"""NaN through the tools: refused by name where it is read, explained where it is computed."""

import pathlib

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from i2sb_jax import interop
from i2sb_jax.cli import config_file, restore, train
from i2sb_jax.interop import save_model
from tests.data.paired import noise, write_arrays
from tests.data.pictures import write_pictures
from tests.training.tiny import fresh_params

CONFIG = pathlib.Path(__file__).parent.parent / "assets" / "older_run.py"  # a tiny network
SMALLER = "--config.model.channel_mult=(1.0,)"
PAIRS = ("--config.data.source=pairs", "--config.corruption=pairs", "--config.data.crop=window",
         "--config.data.path=path", "--config.data.target_path=target_path",
         "--config.data.scaling=fixed", "--config.data.eval_fraction=0.25",
         "--config.training.num_steps=3")  # fmt: skip


def training(*more):
    return "--config", CONFIG, "--workdir", "run", "--config.distributed=off", SMALLER, *more


def spoilt_model(folder):
    """A model folder of the tiny network, whose first bias has a NaN."""
    arguments = ["--config", str(CONFIG), "--workdir", "x", SMALLER]
    config, _ = config_file.parse(arguments, program="test")
    params = fresh_params(config)
    params["conv_in"]["bias"] = np.array([0, np.nan, 0, 0], np.float32)
    save_model(folder, config, params)
    return params


def test_weights_with_nan_start_no_training_and_leave_no_run(complaints, tmp_path):
    params = spoilt_model("model")
    status, (line,) = complaints(train, *training("--config.training.init_from=model"))
    assert status == 2
    assert "model.safetensors: conv_in/bias holds NaN (1 of 4 values)" in line
    assert not (tmp_path / "run" / "config.json").exists()
    # the same folder serves once other weights are there
    params["conv_in"]["bias"] = np.zeros(4, np.float32)
    interop.save_safetensors("mended.safetensors", params)
    given = ("--config.training.init_from=mended.safetensors", "--config.training.num_steps=1")
    assert complaints(train, *training(*given)) == (0, [])


def test_weights_with_nan_restore_nothing(complaints, tmp_path):
    spoilt_model("model")
    write_pictures(tmp_path / "in", 1)
    status, (line,) = complaints(restore, "--model", "model", "--input", "in", "--output", "out")
    assert status == 3 and "conv_in/bias holds NaN (1 of 4 values)" in line
    assert line.startswith("error: 000.png") and not (tmp_path / "out").exists()


def test_a_learning_rate_that_is_too_high_is_told(complaints, tmp_path):
    status, (line,) = complaints(
        train,
        *training("--config.optimizer.learning_rate=1e25", "--config.training.log_every=4"),
    )
    assert status == 3 and line.startswith("error: loss is ") and "at step 2: " in line, line
    assert "its pictures are finite (the loss was 0.7723 at step 1)" in line
    assert "a lower optimizer.learning_rate than 1e+25" in line and "no step is saved yet" in line
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def pairs(root, spoil):
    """Eight pairs of float files with values in [0, 1]; `spoil` changes one source in place."""
    for key, first in (("path", 0), ("target_path", 100)):
        arrays = {f"p{n}.npy": noise(first + n).astype(np.float32) / 255 for n in range(8)}
        if key == "path":
            for name in arrays:
                spoil(name, arrays[name])
        write_arrays(root / key, arrays)


@pytest.mark.slow
def test_a_value_that_is_none_of_a_picture_is_told_with_the_pair_and_its_side(complaints, tmp_path):
    def spoil(name, array):
        array[...] = 1e30 if name == "p3.npy" else array  # as some programs mark missing values

    pairs(tmp_path, spoil)
    status, (told, line) = complaints(train, *training(*PAIRS, "--config.training.batch_size=8"))
    assert told.startswith("warning: p3.npy: 1e+30 in channel 0 of the source lies far from")
    assert status == 3 and "as large as 2e+30 in the source of p3.npy" in line, line
    assert "learning_rate" not in line


@pytest.mark.parametrize("value, words", [(np.inf, "are infinite"), (-3.4e38, "too far from")])
def test_a_pair_that_is_not_finite_is_left_out_by_name(complaints, tmp_path, value, words):
    def spoil(name, array):
        if name == "p3.npy":
            array[2, 3, 0] = value

    pairs(tmp_path, spoil)
    given = (*PAIRS, "--config.training.batch_size=8", "--config.data.max_unreadable=0")
    status, lines = complaints(train, *training(*given))
    assert status == 2 and "p3.npy" in lines[-1] and words in lines[-1], lines
    assert "learning_rate" not in lines[-1]
    if value < 0:  # of values, not of files that cannot be read, the start tells more
        assert "p3.npy: -3.4e+38 in channel 0" in lines[0] and "data.source_nodata" in lines[0]
