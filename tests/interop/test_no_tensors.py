"""What lies where a tensor of weights should: each is refused by its name, in one line."""

import dataclasses

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from i2sb_jax.interop import check_weights, import_weights, load_safetensors, save_model
from i2sb_jax.interop.adm import adm_params, parameter_table, params_from_state_dict
from i2sb_jax.interop.i2sb import i2sb_params
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.interop.weights import load_model_folder
from tests.interop.latest import UNET, make_run
from tests.interop.torch_writer import write_torch_file
from tests.models.networks import hashed_params

NAMES = ("input_blocks.0.0.weight", "out.2.weight", "out.2.bias", "middle_block.1.qkv.weight")
# a value, and what is said of it
VALUES = [
    (3, "is no tensor but of type int"),
    (0.5, "is no tensor but of type float"),
    ("weights", "is no tensor but of type str"),
    (None, "is no tensor but of type NoneType"),
    ({"weight": np.zeros(3)}, "is no tensor but of type dict"),
    ([np.zeros(3)], "is no tensor but of type list"),
    (np.zeros(3, np.int64), "holds int64"),
    (np.zeros(3, np.uint8), "holds uint8"),
    (np.zeros(3, bool), "holds bool"),
    (np.zeros(3, np.complex64), "holds complex64"),
    (np.array(["x"]), "holds <U1"),
]
# shapes that a file may claim, and that fit nothing
SHAPES = [(), (0,), (0, 3, 3, 3), (32, 0, 3, 3), (32, 3, 0, 0), (32, 3, 3), (32, 3, 3, 3, 1)]


def state_dict(dtype=np.float32, config=UNET):
    return {e.torch_name: np.ones(e.torch_shape, dtype) for e in parameter_table(config)}


def one_line(call, *args, **options):
    with pytest.raises(ValueError) as error:
        call(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("value, words", VALUES, ids=lambda v: str(v)[:30])
@pytest.mark.parametrize("name", NAMES)
def test_in_a_state_dict(name, value, words):
    contents = {**state_dict(), name: value}
    for adapt in (True, False):
        assert f"{name} {words}" in one_line(adm_params, contents, UNET, adapt=adapt)
    assert f"{name} {words}" in one_line(params_from_state_dict, contents, UNET)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("inputs", [3, 6])
def test_shapes_that_fit_nothing(name, shape, inputs):
    contents = {**state_dict(), name: np.zeros(shape, np.float32)}
    config = dataclasses.replace(UNET, in_channels=inputs)
    for adapt in (True, False):
        message = one_line(adm_params, contents, config, adapt=adapt)
        assert f"{name} has shape" in message or "input channels" in message


@pytest.mark.parametrize("value, words", VALUES, ids=lambda v: str(v)[:30])
@pytest.mark.parametrize(
    "number, name", [(4, "input_blocks.0.0.weight"), (0, "time_embed.0.weight")]
)
def test_in_a_checkpoint(number, name, value, words):
    net = {f"diffusion_model.{key}": tensor for key, tensor in state_dict().items()}
    averages = [*state_dict().values()]
    averages[number] = value
    contents = {"net": net, "ema": {"shadow_params": averages}}
    assert f"{name} {words}" in one_line(i2sb_params, contents, UNET, weights="ema")
    i2sb_params(contents, UNET, weights="net")
    contents["net"] = {**net, f"diffusion_model.{name}": value}
    assert f"{name} {words}" in one_line(i2sb_params, contents, UNET, weights="net")


@pytest.mark.parametrize("part", ["net", "ema"])
@pytest.mark.parametrize("value", [3, "x", None, [1, 2]])
def test_parts_of_a_checkpoint_of_another_kind(tmp_path, part, value):
    contents = {"net": state_dict(), "ema": {"shadow_params": []}, part: value}
    write_torch_file(tmp_path / "latest.pt", contents)
    message = one_line(import_weights, tmp_path / "latest.pt", tmp_path / "run", make_run())
    assert f"its '{part}' is no table of tensors but of type {type(value).__name__}" in message
    assert not (tmp_path / "run").exists()


def test_one_tensor_under_two_names():
    net = state_dict()
    net["diffusion_model.out.2.bias"] = net["out.2.bias"] + 1
    contents = {"net": net, "ema": {"shadow_params": []}}
    assert "names a tensor twice" in one_line(i2sb_params, contents, UNET, weights="net")


@pytest.mark.parametrize(
    "dtype",
    [np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2],
)
def test_floats_of_any_width_become_float32(dtype):
    params = adm_params(state_dict(dtype), UNET)
    assert params["conv_in"]["bias"].dtype == np.float32 and params["conv_in"]["bias"][0] == 1
    wide = dataclasses.replace(UNET, in_channels=6)
    kernel = adm_params(state_dict(dtype), wide)["conv_in"]["kernel"]
    assert kernel.dtype == np.float32 and (kernel[:, :, :3] == 1).all()
    params_from_state_dict({k: jnp.asarray(v, jnp.bfloat16) for k, v in state_dict().items()}, UNET)


@pytest.mark.parametrize("dtype", [np.int32, np.complex64, bool])
def test_in_a_model_folder(tmp_path, dtype):
    save_model(tmp_path, make_run(), hashed_params(UNET))
    path = tmp_path / "model.safetensors"
    params = load_safetensors(path)
    params["conv_in"]["bias"] = np.zeros(32, dtype)
    save_model(tmp_path, make_run(), params)
    message = one_line(load_model_folder, tmp_path)
    assert str(path) in message and f"conv_in/bias holds {np.dtype(dtype)}" in message
    assert message == one_line(check_weights, tmp_path, hashed_params(UNET))


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c")])
def test_tensors_within_tensors(tmp_path, names):
    write_safetensors_file(tmp_path / "x", {name: np.zeros(1) for name in names})
    assert str(tmp_path / "x") in one_line(load_safetensors, tmp_path / "x")
