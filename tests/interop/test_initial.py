"""Initial weights start a training and restore nothing; a finished bridge is left as it is."""

import dataclasses

import jax
import numpy as np
import pytest

from i2sb_jax.accelerators import sharding
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.interop import (
    Provenance,
    export_model,
    import_weights,
    load_model_folder,
    load_weights,
    read_provenance,
    save_model,
)
from i2sb_jax.interop.safetensors_file import read_safetensors_metadata
from i2sb_jax.restoration import Restorer, load_model
from tests.interop.latest import UNET, make_run
from tests.interop.test_convert import UNCOND, refusal, released
from tests.models.networks import hashed_params

TRAINED = Provenance(source=UNCOND, sha256="0" * 64, licence="MIT", weights="initial", trained=True)


def refused(call, folder):
    with pytest.raises(ValueError) as error:
        call(folder)
    message = str(error.value)
    assert "initial weights" in message and "\n" not in message
    assert f"--config.training.init_from={folder}" in message


@pytest.fixture
def imported(tmp_path):
    """A model folder of ADM's file."""
    import_weights(released(tmp_path / UNCOND, outputs=6), tmp_path / "adm", make_run())
    return tmp_path / "adm"


@pytest.mark.parametrize("call", [load_model_folder, Restorer.from_workdir, load_model])
def test_they_restore_nothing(imported, call):
    refused(call, imported)


def test_they_start_a_training(imported):
    params = hashed_params(UNET)
    like = abstract_like(params, sharding.replicated(sharding.make_mesh()))
    assert float(load_weights(imported, like)["conv_in"]["bias"][0]) == 1


def test_an_export_of_them_is_none_of_a_bridge(tmp_path, imported):
    export_model(imported, tmp_path / "out")
    refused(load_model_folder, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "i2sb-restore" not in card and "weights are those of" in card
    export_model(imported, tmp_path / "torch", layout="adm")
    file = tmp_path / "torch" / "adm.safetensors"
    assert read_safetensors_metadata(file)["weights"] == "initial"
    # they can still be given the inputs of another task
    import_weights(file, tmp_path / "colour", make_run(corruption="colorize"))
    assert read_provenance(tmp_path / "colour").is_initial
    refused(load_model_folder, tmp_path / "colour")


def test_a_run_that_began_with_them_restores_and_so_does_its_export(tmp_path):
    save_model(tmp_path / "run", make_run(), hashed_params(UNET), provenance=TRAINED)
    load_model_folder(tmp_path / "run")
    export_model(tmp_path / "run", tmp_path / "out")
    assert read_provenance(tmp_path / "out") == TRAINED
    load_model_folder(tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| weights began as | {UNCOND} (initial)" in card and "i2sb-restore" in card
    export_model(tmp_path / "run", tmp_path / "torch", layout="adm")
    import_weights(tmp_path / "torch" / "adm.safetensors", tmp_path / "back", make_run())
    origin = read_provenance(tmp_path / "back")
    assert (origin.weights, origin.licence, origin.trained) == ("ema", "MIT", False)
    load_model_folder(tmp_path / "back")


def test_a_finished_bridge_is_not_fitted_to_another_task(tmp_path):
    save_model(tmp_path / "run", make_run(), hashed_params(UNET), provenance=TRAINED)
    export_model(tmp_path / "run", tmp_path / "torch", layout="adm")
    file, colour = tmp_path / "torch" / "adm.safetensors", make_run(corruption="colorize")
    message = refusal(file, tmp_path / "x", colour)
    assert "takes 3 input channels, the task's takes 6" in message
    one = make_run(
        corruption="pairs",
        data={"source": "pairs", "path": "p", "source_channels": 3, "target_channels": 1,
              "target_path": "t", "cond_x1": True},
    )  # fmt: skip
    assert "takes 3 input channels, the task's takes 4" in refusal(file, tmp_path / "x", one)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("weights", ["ema", "net"])
def test_a_state_dict_without_a_word_can_be_said_to_be_a_bridge(tmp_path, weights):
    plain = released(tmp_path / "bridge.pt")
    import_weights(plain, tmp_path / "run", make_run(), weights=weights)
    assert read_provenance(tmp_path / "run").weights == weights
    restored = Restorer.from_workdir(tmp_path / "run")(np.zeros((1, 32, 32, 3)), nfe=1)
    assert restored.shape == (1, 32, 32, 3)
    # but ADM's own has a variance, which no bridge has
    adm = released(tmp_path / UNCOND, outputs=6)
    message = refusal(adm, tmp_path / "x", weights=weights)
    assert "out.2.weight has shape (6, 32, 3, 3), expected (3, 32, 3, 3)" in message


def test_weights_of_another_kind_restore(tmp_path):
    for weights, trained in (("ema", False), ("net", False), ("ema", True)):
        origin = dataclasses.replace(TRAINED, weights=weights, trained=trained)
        folder = tmp_path / f"{weights}{trained}"
        save_model(folder, make_run(), hashed_params(UNET), provenance=origin)
        _, params = load_model_folder(folder)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
