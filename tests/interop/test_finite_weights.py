"""Weights with NaN or infinity restore nothing and start nothing: refused, the tensor named."""

import jax
import numpy as np
import pytest

from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.interop import (
    import_weights,
    load_model_folder,
    load_weights,
    params_from_state_dict,
    save_model,
    save_safetensors,
    state_dict_from_params,
)
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.run import Run
from i2sb_jax.training import TrainState
from i2sb_jax.training.teacher import load_teacher
from tests.interop.latest import UNET, make_run
from tests.interop.test_weights import abstract, one_line
from tests.models.networks import hashed_params
from tests.training.tiny import fresh_params, make_config

WEIGHTS = {"conv_in": {"kernel": np.ones((2, 3), np.float32)}, "z": {"bias": np.ones(4)}}
TOLD = ("z/bias holds NaN (1 of 4 values)", "weights must be finite")


def spoilt(dtype=np.float32, value=np.nan):
    bias = np.ones(4, dtype)
    bias[2] = value
    return {**WEIGHTS, "z": {"bias": bias}}


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_a_file(tmp_path, dtype):
    path = tmp_path / "w.safetensors"
    save_safetensors(path, spoilt(dtype))
    with pytest.raises(ValueError) as error:
        load_weights(path, abstract(spoilt()))
    one_line(error, str(path), *TOLD)


def test_a_number_that_no_float32_can_be(tmp_path):
    path = tmp_path / "w.safetensors"
    save_safetensors(path, spoilt(np.float64, 1e300))
    with pytest.raises(ValueError) as error:
        load_weights(path, abstract(spoilt()))
    one_line(error, "z/bias holds infinity (1 of 4 values)")


def test_a_checkpoint(tmp_path):
    averaged = jax.tree.map(jax.numpy.asarray, spoilt())
    fine = jax.tree.map(jax.numpy.asarray, spoilt(value=1.0))
    state = TrainState(jax.numpy.int32(4), fine, averaged, {"count": jax.numpy.int32(4)})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(4, state)
    with pytest.raises(ValueError) as error:
        load_weights(tmp_path, abstract(spoilt()))
    one_line(error, f"checkpoint 4 in {tmp_path}", *TOLD)


@pytest.fixture
def folder(tmp_path):
    """A model folder whose last kernel has a NaN, and its configuration."""
    config = make_config()
    params = fresh_params(config)
    params["conv_out"]["kernel"][0, 0, 0, 0] = np.nan
    save_model(tmp_path / "model", config, params)
    return tmp_path / "model", config


def test_a_model_folder(folder):
    with pytest.raises(ValueError) as error:
        load_model_folder(folder[0])
    one_line(error, "model.safetensors: conv_out/kernel holds NaN (1 of 216 values)")


def test_a_teacher(folder, tmp_path):
    config = make_config(teacher=str(folder[0]), sampling={"nfe": 1})
    with pytest.raises(ValueError) as error:
        load_teacher(config, tmp_path, Run(config).abstract_weights)
    one_line(error, "conv_out/kernel holds NaN")


@pytest.mark.parametrize("value, dtype", [(np.nan, np.float32), (1e300, np.float64)])
def test_an_import(tmp_path, value, dtype):
    tensors = state_dict_from_params(hashed_params(UNET), UNET)
    name = "middle_block.0.in_layers.2.weight"
    tensors[name] = tensors[name].astype(dtype)
    tensors[name][1, 2, 0, 0] = value
    count = tensors[name].size
    with pytest.raises(ValueError) as error:
        params_from_state_dict(tensors, UNET)
    kind = "NaN" if np.isnan(value) else "infinity"
    one_line(error, f"{name} holds {kind} (1 of {count} values): weights must be finite")
    write_safetensors_file(tmp_path / "adm.safetensors", tensors)
    with pytest.raises(ValueError) as error:
        import_weights(tmp_path / "adm.safetensors", tmp_path / "run", make_run())
    one_line(error, "adm.safetensors: ", name)
    assert not (tmp_path / "run").exists()
