"""Weights as safetensors, model folders, and whatever `init_from` may name."""

import jax
import numpy as np
import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.accelerators import sharding
from i2sb_jax.checkpoint import Checkpoints, abstract_like
from i2sb_jax.interop import (
    check_weights,
    load_safetensors,
    load_weights,
    save_model,
    save_safetensors,
)
from i2sb_jax.training import TrainState

RNG = np.random.default_rng(0)
# every bit pattern counts: a subnormal, both zeros, a very large number
ODD = np.array([[1e-42, -0.0], [0.0, 1e38]], np.float32)
PARAMS = {
    "conv_in": {"kernel": RNG.standard_normal((3, 3, 2, 4)).astype(np.float32), "odd": ODD},
    "time_embed": {"dense_0": {"bias": RNG.standard_normal(4).astype(np.float32)}},
}


def abstract(params=PARAMS):
    return abstract_like(params, sharding.replicated(sharding.make_mesh()))


def assert_same_bits(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for mine, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        mine = np.asarray(mine)
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()


def one_line(error, *words):
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose averaged weights are PARAMS, and whose others are not."""
    workdir = tmp_path_factory.mktemp("run")
    others = jax.tree.map(lambda x: jax.numpy.asarray(2 * x), PARAMS)
    averaged = jax.tree.map(jax.numpy.asarray, PARAMS)
    state = TrainState(jax.numpy.int32(4), others, averaged, {"count": jax.numpy.int32(4)})
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(4, state)
    return workdir


def test_safetensors_round_trip_is_bit_exact(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_safetensors(path, PARAMS)
    assert_same_bits(load_safetensors(path), PARAMS)
    # strides do not travel
    turned = {"kernel": PARAMS["conv_in"]["kernel"].transpose(3, 2, 0, 1)}
    save_safetensors(path, turned)
    assert_same_bits(load_safetensors(path), turned)


def test_load_weights_from_a_file_a_model_folder_or_a_run(tmp_path, run):
    from tests.training.tiny import make_config

    save_safetensors(tmp_path / "weights.safetensors", PARAMS)
    config = make_config()
    save_model(tmp_path / "model", config, PARAMS)
    assert config_lib.load(tmp_path / "model") == config
    for source in (tmp_path / "weights.safetensors", tmp_path / "model", run):
        check_weights(source, abstract())
        loaded = load_weights(source, abstract())
        assert_same_bits(loaded, PARAMS)
        for array in jax.tree.leaves(loaded):
            assert isinstance(array, jax.Array) and array.sharding.is_fully_replicated


@pytest.mark.parametrize("call", [check_weights, load_weights])
def test_another_shape_or_name(tmp_path, run, call):
    path = tmp_path / "weights.safetensors"
    save_safetensors(path, PARAMS)
    wide = {**PARAMS, "conv_in": {**PARAMS["conv_in"], "odd": np.zeros((2, 3), np.float32)}}
    fewer = {"conv_in": PARAMS["conv_in"]}
    with pytest.raises(ValueError) as error:
        call(path, abstract(wide))
    one_line(error, str(path), "does not fit this config", "conv_in/odd is (2, 2) there, (2, 3)")
    with pytest.raises(ValueError) as error:
        call(path, abstract(fewer))
    one_line(error, "time_embed/dense_0/bias is (4,) there, absent here")
    with pytest.raises(ValueError) as error:
        call(path, abstract({**PARAMS, "more": np.zeros(3, np.float32)}))
    one_line(error, "more is absent there, (3,) here")
    with pytest.raises(ValueError) as error:
        call(run, abstract(wide))
    one_line(error, "checkpoint 4", "ema_params/conv_in/odd is (2, 2) there, (2, 3) here")


@pytest.mark.parametrize("call", [check_weights, load_weights])
def test_nothing_there(tmp_path, call):
    with pytest.raises(ValueError) as error:
        call(tmp_path / "none", abstract())
    one_line(error, f"no weights at {tmp_path}/none")
    with pytest.raises(ValueError) as error:
        call(tmp_path, abstract())
    one_line(error, f"no checkpoint in {tmp_path}/checkpoints", "train first")


@pytest.mark.parametrize("call", [check_weights, load_weights])
@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda data: b"", "is empty"),
        (lambda data: b"PK\x03\x04 and so on and so on", "not safetensors"),
        (lambda data: data[8:], "not safetensors"),
        (lambda data: data[:-1], "it is cut short"),
        (lambda data: data[:40], "cut short"),
        (lambda data: (2).to_bytes(8, "little") + b"[]", "not safetensors"),
    ],
    ids=["empty", "zip", "no length", "cut", "cut in the header", "no mapping"],
)
def test_a_broken_file(tmp_path, spoil, words, call):
    path = tmp_path / "weights.safetensors"
    save_safetensors(path, PARAMS)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError) as error:
        call(path, abstract())
    one_line(error, str(path), words, "i2sb-import")


def test_load_safetensors_refuses_what_is_none(tmp_path):
    with pytest.raises(ValueError) as error:
        load_safetensors(tmp_path / "none")
    one_line(error, "no file of weights at")
    (tmp_path / "text").write_text("weights")
    with pytest.raises(ValueError) as error:
        load_safetensors(tmp_path / "text")
    one_line(error, "text is refused", "not safetensors")


def test_an_export_for_pytorch_is_no_model_folder(tmp_path):
    (tmp_path / "adm.safetensors").touch()
    for call in (check_weights, load_weights):
        with pytest.raises(ValueError) as error:
            call(tmp_path, abstract())
        one_line(error, str(tmp_path), "PyTorch's names", "i2sb-import")
