"""What is passed on: weights, configuration, a card, and the licence of where they come from."""

import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.interop import (
    Provenance,
    export_model,
    load_model_folder,
    read_provenance,
    save_model,
)
from i2sb_jax.interop.provenance import write_provenance
from i2sb_jax.restoration import Restorer
from i2sb_jax.training import TrainState
from tests.interop.latest import UNET, make_run
from tests.models.networks import hashed_params, manifest

ORIGIN = Provenance(
    source="latest.pt", sha256="ab" * 32, licence="non-commercial", weights="ema", trained=True
)


@pytest.fixture
def run(tmp_path):
    """A run with a checkpoint, paths of one machine, metrics, and a stated origin."""
    averaged = hashed_params(UNET)
    others = jax.tree.map(lambda x: 2 * x, averaged)
    arrays = jax.tree.map(jax.numpy.asarray, (others, averaged))
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(4, TrainState(jax.numpy.int32(4), *arrays, {"count": jax.numpy.int32(4)}))
    config = make_run(
        data={"source": "folder", "path": "/home/ada/photographs/"},
        training={"init_from": "gs://bucket/adm"},
    )
    config_lib.save(tmp_path / "run", config)
    lines = [json.dumps({"step": step, "loss": 1 / step, "loss_hex": "0x1"}) for step in (1, 4)]
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 5, "lo']))
    write_provenance(tmp_path / "run", ORIGIN)
    return tmp_path / "run"


def test_an_export_restores_the_same_pixels(tmp_path, run):
    assert export_model(run, tmp_path / "out") == ORIGIN
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("README.md", "config.json", "model.safetensors", "provenance.json"),
    ]
    assert read_provenance(tmp_path / "out") == ORIGIN
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
    first, second = (Restorer.from_workdir(path)(images, nfe=2) for path in (run, tmp_path / "out"))
    np.testing.assert_array_equal(first, second)
    # an export can be exported
    export_model(tmp_path / "out", tmp_path / "again")
    left, right = (tmp_path / name / "model.safetensors" for name in ("out", "again"))
    assert left.read_bytes() == right.read_bytes()


def test_the_card_tells_task_recipe_data_metrics_and_licence(tmp_path, run):
    export_model(run, tmp_path / "out", address="hf://ada/sr4x")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\n") and "license: other\n" in card
    for words in (
        "# I²SB: sr4x-pool",
        "i2sb, 1000 steps, beta_max 0.3, SDE, predicts epsilon, weighted by epsilon",
        "folder, cut by window",
        "| loss | 0.25 |",
        "| licence of the source weights | non-commercial |",
        "| latest.pt (ema), sha256 abab",
        "i2sb-restore --model hf://ada/sr4x",
        "jax ",
    ):
        assert words in card, words
    assert "loss_hex" not in card


def test_names_and_layouts_of_pytorch(tmp_path, run):
    export_model(run, tmp_path / "out", layout="adm")
    with safetensors.safe_open(tmp_path / "out" / "adm.safetensors", "np") as file:
        metadata = file.metadata()
    assert metadata["licence"] == "non-commercial" and metadata["source"] == "latest.pt"
    tensors = safetensors.numpy.load_file(tmp_path / "out" / "adm.safetensors")
    _, params = load_model_folder(run)
    kernel = np.asarray(params["conv_in"]["kernel"])
    np.testing.assert_array_equal(tensors["input_blocks.0.0.weight"], kernel.transpose(3, 2, 0, 1))
    assert tensors["out.2.weight"].shape == (3, 32, 3, 3)
    assert {name.partition(".")[0] for name in tensors} == {
        name.partition(".")[0] for name in manifest("unet_tiny")
    }
    card = (tmp_path / "out" / "README.md").read_text()
    assert "safetensors.torch" in card and "attention_resolutions=(2,)" in card
    assert "in_channels=3" in card and "num_head_channels=32" in card


def refusal(*args, **options):
    with pytest.raises(ValueError) as error:
        export_model(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_refusals_write_nothing(tmp_path, run):
    out = tmp_path / "out"
    assert "format='onnx' is not known" in refusal(run, out, layout="onnx")
    assert "is not a run's folder" in refusal(tmp_path, out)
    assert "is not empty" in refusal(run, run)
    model = {"model_channels": 8, "head_channels": 8, "norm_groups": 4}
    narrow = make_run(model=model)
    network = narrow.model.unet_config(in_channels=3)
    save_model(tmp_path / "narrow", narrow, hashed_params(network))
    message = refusal(tmp_path / "narrow", out, layout="adm")
    assert "model.norm_groups=4" in message and "32" in message
    (run / "provenance.json").write_text('{"source": "x"}')
    assert "provenance.json: it must be a JSON object of source, sha256" in refusal(run, out)
    assert not out.exists()
