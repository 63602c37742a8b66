"""From published files to model folders: what is written, said and refused."""

import dataclasses
import hashlib
import pathlib

import jax
import numpy as np
import pytest

from i2sb_jax.interop import (
    export_model,
    import_weights,
    load_i2sb,
    load_model_folder,
    read_provenance,
    save_model,
)
from i2sb_jax.interop.adm import parameter_table
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.restoration import Restorer
from tests.interop.latest import PATH, UNET, make_run
from tests.interop.torch_writer import write_torch_file
from tests.models.networks import hashed_params

ROOT = pathlib.Path(__file__).parent.parent.parent


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("weights", ["net", "ema"])
def test_a_checkpoint_becomes_a_model_folder(tmp_path, weights):
    config, folder = make_run(), tmp_path / "run"
    imported = import_weights(PATH, folder, config, weights=weights)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("config.json", "model.safetensors", "provenance.json"),
    ]
    loaded, params = load_model_folder(folder)
    assert loaded == config
    assert_same(params, load_i2sb(PATH, UNET, weights=weights))
    assert imported.tensors == len(list(parameter_table(UNET)))
    assert imported.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    origin = read_provenance(folder)
    assert origin == imported.provenance
    assert origin.source == "latest.pt" and origin.weights == weights
    assert origin.sha256 == hashlib.sha256(PATH.read_bytes()).hexdigest()
    assert "assumed to be non-commercial" in origin.licence and "publisher" in origin.licence
    restored = Restorer.from_workdir(folder)(np.zeros((1, 32, 32, 3), np.float32), nfe=1)
    assert restored.shape == (1, 32, 32, 3) and np.isfinite(restored).all()


def released(path, *, write=write_torch_file, outputs=3, **options):
    """A file with ADM's names; those of OpenAI have 6 outputs."""
    entries = parameter_table(dataclasses.replace(UNET, out_channels=outputs))
    write(path, {entry.torch_name: np.ones(entry.torch_shape, np.float32) for entry in entries},
          **options)  # fmt: skip
    return path


UNCOND = "256x256_diffusion_uncond.pt"


@pytest.mark.parametrize(
    "name, outputs, begin",
    [
        (UNCOND, 6, "MIT (OpenAI, guided-diffusion) if this is OpenAI's file"),
        (UNCOND, 3, "not stated"),
        ("mine.pt", 6, "not stated"),
        ("mine.pt", 3, "not stated"),
    ],
)
def test_no_licence_is_claimed_for_an_unknown_file(tmp_path, name, outputs, begin):
    source = released(tmp_path / name, outputs=outputs)
    origin = import_weights(source, tmp_path / "run", make_run()).provenance
    assert origin.licence.startswith(begin) and origin.weights == "initial"
    export_model(tmp_path / "run", tmp_path / "out")
    assert "license: other\n" in (tmp_path / "out" / "README.md").read_text()


def test_licences_that_are_stated(tmp_path):
    source = released(tmp_path / UNCOND, outputs=6)
    given = import_weights(source, tmp_path / "b", make_run(), licence="ours").provenance
    assert given.licence == read_provenance(tmp_path / "b").licence == "ours"
    # what a file says of itself is believed, not what others in its form are under
    metadata = {"licence": "non-commercial", "weights": "ema"}
    source = released(tmp_path / "own", write=write_safetensors_file, metadata=metadata)
    origin = import_weights(source, tmp_path / "c", make_run()).provenance
    assert origin.licence == "non-commercial" and origin.weights == "ema"


@pytest.mark.parametrize(
    "metadata, words",
    [
        ({"licence": "\x1b[2JMIT"}, "licence='\\x1b[2JMIT' must be one line"),
        ({"licence": "MIT\nno"}, "licence='MIT\\nno' must be one line"),
        ({"licence": "x" * 10**6}, "at most 500 characters"),
        ({"weights": "best"}, "weights='best' is not known"),
    ],
    ids=["escape", "lines", "long", "weights"],
)
def test_what_a_stranger_writes_is_checked(tmp_path, metadata, words):
    source = released(tmp_path / "x", write=write_safetensors_file, metadata=metadata)
    message = refusal(source, tmp_path / "run")
    assert words in message and message.isprintable() and len(message) < 500
    assert not (tmp_path / "run").exists()


def test_a_file_name_that_is_no_text(tmp_path):
    source = released(tmp_path / "a\udcff.pt")
    assert import_weights(source, tmp_path / "run", make_run()).provenance.source == "a?.pt"


def test_exported_to_pytorch_and_imported_again_the_bits_are_the_same(tmp_path):
    params = hashed_params(UNET)
    save_model(tmp_path / "run", make_run(), params)
    export_model(tmp_path / "run", tmp_path / "adm", layout="adm")
    origin = import_weights(tmp_path / "adm/adm.safetensors", tmp_path / "back", make_run())
    assert origin.provenance.licence == "not stated"
    name = "model.safetensors"
    assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    assert_same(load_model_folder(tmp_path / "back")[1], params)


def refusal(source, folder, config=None, **options):
    with pytest.raises(ValueError) as error:
        import_weights(source, folder, config or make_run(), **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_refusals_write_nothing(tmp_path):
    folder = tmp_path / "run"
    assert "no file of weights" in refusal(tmp_path / "none.pt", folder)
    message = refusal(PATH, folder, make_run(corruption="colorize"))
    assert str(PATH) in message and "takes 3 input channels, the task's takes 6" in message
    write_torch_file(tmp_path / "net.pt", {"encoder.weight": np.ones(3, np.float32)})
    message = refusal(tmp_path / "net.pt", folder)
    assert "neither ADM's state dict" in message and "it holds encoder.weight" in message
    write_torch_file(tmp_path / "list.pt", [1, 2])
    assert "it holds a list" in refusal(tmp_path / "list.pt", folder)
    assert not folder.exists()


def test_nothing_is_overwritten(tmp_path):
    import_weights(PATH, tmp_path / "run", make_run())
    before = (tmp_path / "run/model.safetensors").stat().st_mtime_ns
    assert "is not empty" in refusal(PATH, tmp_path / "run")
    assert "this library's own names" in refusal(tmp_path / "run/model.safetensors", tmp_path / "b")
    assert (tmp_path / "run/model.safetensors").stat().st_mtime_ns == before
