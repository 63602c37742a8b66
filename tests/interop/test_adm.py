"""PyTorch names and layouts: every tensor has one place, and nothing is guessed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.interop.adm import (
    LAYOUTS,
    adapt_adm_channels,
    load_adm,
    parameter_table,
    params_from_state_dict,
    state_dict_from_params,
    to_flax_layout,
    to_torch_layout,
)
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.models import UNet, adm_256
from tests.golden import synthetic
from tests.interop.torch_writer import write_torch_file
from tests.models.networks import COND, DEEP, SMALL, TINY, golden_state_dict, manifest


def stand_ins(shapes):
    """Arrays of any size that take four bytes each."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("config", "name"), [(TINY, "unet_tiny"), (DEEP, "unet_deep"), (adm_256(), "adm256")]
)
def test_table_is_the_manifest_and_the_network(config, name):
    table = list(parameter_table(config))
    assert [(entry.torch_name, entry.torch_shape) for entry in table] == list(
        manifest(name).items()
    )
    assert len({entry.flax_path for entry in table}) == len(table)

    params = params_from_state_dict(stand_ins(manifest(name)), config)
    x = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    t = jax.ShapeDtypeStruct((1,), jnp.float32)
    expected = jax.eval_shape(UNet(config).init, jax.random.key(0), x, t)["params"]
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, expected)
    leaves = jax.tree.leaves(params)
    assert all(leaf.dtype == np.float32 for leaf in leaves)
    # Views all the way: 2.2 GB of ADM were not allocated.
    assert all(not any(leaf.strides) for leaf in leaves if leaf.size > 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_have_an_inverse(layout):
    shape = {"vector": (5,), "linear": (5, 4), "pointwise_1d": (5, 4, 1), "conv_2d": (5, 4, 3, 2)}
    tensor = synthetic.hashed_unet_weight(layout, shape[layout])
    array = to_flax_layout(tensor, layout)
    assert array.shape[-1] == 5
    np.testing.assert_array_equal(to_torch_layout(array, layout), tensor)


def test_layouts_by_hand():
    linear, conv = np.arange(6).reshape(2, 3), np.arange(24).reshape(2, 3, 1, 4)
    assert to_flax_layout(linear, "linear")[2, 1] == linear[1, 2]
    assert to_flax_layout(linear[:, :, None], "pointwise_1d")[2, 1] == linear[1, 2]
    assert to_flax_layout(conv, "conv_2d")[0, 3, 2, 1] == conv[1, 2, 0, 3]


def test_missing_and_surplus_tensors_are_named():
    state_dict = golden_state_dict("unet_tiny")
    for i in range(7):
        state_dict[f"extra.{i}"] = np.zeros(1, np.float32)
    del state_dict["middle_block.1.qkv.weight"], state_dict["out.2.bias"]
    with pytest.raises(ValueError) as error:
        params_from_state_dict(state_dict, TINY)
    message = str(error.value)
    assert "2 missing: middle_block.1.qkv.weight, out.2.bias;" in message
    assert "7 surplus: extra.0, extra.1, extra.2, extra.3, extra.4, …" in message


def test_wrong_shape_is_named():
    state_dict = golden_state_dict("unet_tiny")
    with pytest.raises(
        ValueError, match=r"input_blocks.0.0.weight has shape \(32, 3, 3, 3\), exp.*\(32, 6, 3, 3\)"
    ):
        params_from_state_dict(state_dict, COND)
    # The same number of elements is not enough.
    name = "input_blocks.1.0.emb_layers.1.weight"
    state_dict[name] = state_dict[name].T
    with pytest.raises(ValueError, match=f"{name} has shape .*128, 64.*, expected .*64, 128"):
        params_from_state_dict(state_dict, TINY)


def test_half_precision_files_become_float32():
    state_dict = {
        entry.torch_name: np.ones(entry.torch_shape, np.float16) for entry in parameter_table(SMALL)
    }
    params = params_from_state_dict(state_dict, SMALL)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_released_file_is_fitted_to_a_conditional_network():
    released = dataclasses.replace(TINY, out_channels=6)
    state_dict = {
        entry.torch_name: synthetic.hashed_unet_weight(entry.torch_name, entry.torch_shape)
        for entry in parameter_table(released)
    }
    with pytest.raises(ValueError, match=r"out.2.weight has shape \(6, 32, 3, 3\)"):
        params_from_state_dict(state_dict, TINY)

    adapted = adapt_adm_channels(state_dict, COND, seed=0)
    params = params_from_state_dict(adapted, COND)
    kernel = params["conv_in"]["kernel"]
    old = state_dict["input_blocks.0.0.weight"]
    np.testing.assert_array_equal(kernel[:, :, :3], to_flax_layout(old, "conv_2d"))
    fresh = kernel[:, :, 3:]
    bound = (6 * 9) ** -0.5
    assert 0.9 * bound < np.abs(fresh).max() <= bound
    np.testing.assert_array_equal(params["conv_out"]["bias"], state_dict["out.2.bias"][:3])
    assert state_dict["out.2.bias"].shape == (6,)

    again, other = (adapt_adm_channels(state_dict, COND, seed=seed) for seed in (0, 1))
    name = "input_blocks.0.0.weight"
    np.testing.assert_array_equal(adapted[name], again[name])
    assert np.any(adapted[name] != other[name])


def test_a_file_that_fits_is_left_alone():
    state_dict = golden_state_dict("unet_tiny")
    adapted = adapt_adm_channels(state_dict, TINY, seed=0)
    assert adapted.keys() == state_dict.keys()
    for name, tensor in state_dict.items():
        np.testing.assert_array_equal(adapted[name], tensor)


def test_back_to_pytorch_is_the_inverse():
    state_dict = golden_state_dict("unet_tiny")
    back = state_dict_from_params(params_from_state_dict(state_dict, TINY), TINY)
    assert list(back) == list(manifest("unet_tiny"))  # PyTorch's own order
    for name, tensor in state_dict.items():
        np.testing.assert_array_equal(back[name], tensor)
    params = params_from_state_dict(state_dict, TINY)
    del params["mid_attention"]["qkv"]["bias"]
    with pytest.raises(ValueError, match="mid_attention/qkv/bias is in one of them only"):
        state_dict_from_params(params, TINY)


def assert_same(params, expected):
    jax.tree.map(np.testing.assert_array_equal, params, expected)


@pytest.mark.parametrize("write", [write_torch_file, write_safetensors_file])
def test_a_released_file_is_loaded_from_either_format(tmp_path, write):
    released = dataclasses.replace(TINY, out_channels=6)
    state_dict = {
        entry.torch_name: synthetic.hashed_unet_weight(entry.torch_name, entry.torch_shape)
        for entry in parameter_table(released)
    }
    path = tmp_path / "released"
    write(path, state_dict)
    for config, seed in ((TINY, 0), (COND, 3)):
        expected = params_from_state_dict(adapt_adm_channels(state_dict, config, seed=seed), config)
        assert_same(load_adm(path, config, seed=seed), expected)
    loaded = jax.tree.leaves(load_adm(path, TINY))
    assert not any(leaf.flags.owndata for leaf in loaded)  # all but the maps is views


def test_a_network_with_other_inputs_is_explained(tmp_path):
    write_torch_file(tmp_path / "cond.pt", golden_state_dict("unet_tiny", in_channels=6))
    with pytest.raises(ValueError) as error:
        load_adm(tmp_path / "cond.pt", TINY)
    message = str(error.value)
    assert "takes 6 input channels, the task's takes 3" in message and "\n" not in message
    assert "fit colorize and paired data" in message and "sr4x" not in message
    write_torch_file(tmp_path / "other.pt", {"classifier.weight": np.zeros(3, np.float32)})
    with pytest.raises(
        ValueError, match=r"none of ADM's tensors in it: no input_blocks.0.0.weight"
    ):
        load_adm(tmp_path / "other.pt", TINY)
