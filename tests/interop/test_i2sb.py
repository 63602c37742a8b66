"""The authors' checkpoints: both sets of weights, and what does not fit is told."""

import dataclasses

import numpy as np
import pytest

from i2sb_jax.interop import load_i2sb, read_torch_file
from i2sb_jax.interop.adm import parameter_table
from i2sb_jax.models import UNet
from tests import golden
from tests.interop.latest import PATH, UNET
from tests.interop.torch_writer import Zeros, write_torch_file

COND = dataclasses.replace(UNET, in_channels=6)


def outputs(params):
    expected = golden.load("latest_expected")
    return UNet(UNET).apply({"params": params}, expected["x"], expected["t"])


@pytest.mark.parametrize("weights", ["net", "ema"])
def test_the_golden_checkpoint(weights):
    expected = golden.load("latest_expected")
    got = np.asarray(outputs(load_i2sb(PATH, UNET, weights=weights)))
    want, other = (
        expected[f"{name}_out"] for name in (weights, {"net": "ema"}.get(weights, "net"))
    )
    assert np.abs(got - want).max() <= 1e-4 * want.std()
    assert np.abs(got - other).max() > 1e-2 * want.std()  # the two are told apart


def test_the_averages_are_the_default():
    average = load_i2sb(PATH, UNET)["conv_in"]["bias"]
    np.testing.assert_array_equal(average, load_i2sb(PATH, UNET, weights="ema")["conv_in"]["bias"])


def checkpoint(config, *, dtype=np.float32):
    """A checkpoint of zeros."""
    shapes = {f"diffusion_model.{e.torch_name}": e.torch_shape for e in parameter_table(config)}
    tensors = {name: Zeros(shape, dtype) for name, shape in shapes.items()}
    ema = {"decay": 0.99, "shadow_params": list(tensors.values()), "collected_params": []}
    return {"net": tensors, "ema": ema}


def refusal(path, config, **options):
    with pytest.raises(ValueError) as error:
        load_i2sb(path, config, **options)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("weights", ["net", "ema"])
def test_inputs_of_another_task(tmp_path, weights):
    message = refusal(PATH, COND, weights=weights)
    assert "takes 3 input channels, the task's takes 6" in message
    assert "fit jpeg-5" in message and "mixture" in message and "colorize" not in message
    write_torch_file(tmp_path / "cond.pt", checkpoint(COND))
    message = refusal(tmp_path / "cond.pt", UNET, weights=weights)
    assert "takes 6 input channels, the task's takes 3" in message
    assert "fit colorize" in message and "jpeg-5" not in message


def test_missing_and_surplus_tensors_are_named(tmp_path):
    contents = checkpoint(UNET)
    contents["net"]["diffusion_model.label_emb.weight"] = Zeros((4, 4))
    del contents["net"]["diffusion_model.out.2.bias"]
    write_torch_file(tmp_path / "latest.pt", contents)
    for weights in ("net", "ema"):
        message = refusal(tmp_path / "latest.pt", UNET, weights=weights)
        assert "1 missing: out.2.bias; 1 surplus: label_emb.weight" in message


def test_averages_that_are_too_few_or_of_another_order(tmp_path):
    contents = checkpoint(UNET)
    averages = contents["ema"]["shadow_params"]
    averages[0], averages[4] = averages[4], averages[0]
    write_torch_file(tmp_path / "latest.pt", contents)
    message = refusal(tmp_path / "latest.pt", UNET)
    assert "time_embed.0.weight has shape (32, 3, 3, 3), expected (128, 32)" in message
    load_i2sb(tmp_path / "latest.pt", UNET, weights="net")
    averages.pop()
    write_torch_file(tmp_path / "latest.pt", contents)
    message = refusal(tmp_path / "latest.pt", UNET)
    assert f"holds {len(averages)} tensors and the network has {len(averages) + 1}" in message


def test_half_precision_becomes_float32(tmp_path):
    write_torch_file(tmp_path / "latest.pt", checkpoint(UNET, dtype=np.float16))
    assert load_i2sb(tmp_path / "latest.pt", UNET)["conv_in"]["kernel"].dtype == np.float32


def test_what_is_no_checkpoint(tmp_path):
    assert "weights='best' is not known" in refusal(PATH, UNET, weights="best")
    write_torch_file(tmp_path / "net.pt", read_torch_file(PATH)["net"])
    assert "no 'net' with an 'ema' beside it" in refusal(tmp_path / "net.pt", UNET)
