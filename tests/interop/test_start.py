"""Both networks of a bridge that starts at another model's answer travel in one folder."""

import json
import sys

import jax
import numpy as np
import pytest

from i2sb_jax import config as config_lib
from i2sb_jax import interop
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.interop.provenance import Provenance
from i2sb_jax.types import StartedParams
from tests.interop.test_hub import FakeHub
from tests.restoration.test_restorer import random_params
from tests.training.tiny import make_config

SMALL = {"norm": "none", "middle_attention": False}
ORIGIN = Provenance(
    source="m.pt", sha256="ab" * 32, licence="CC-BY-4.0", weights="ema", trained=True
)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A model folder, its configuration and its parameters."""
    root = tmp_path_factory.mktemp("zuzana")
    theirs = make_config(model=SMALL, data={"source": "folder", "path": "/home/zuzana"})
    interop.save_model(root / "m", theirs, random_params(theirs), provenance=ORIGIN)
    ours = make_config(model=SMALL | {"patch": 2}, bridge={"start": str(root / "m")})
    params = StartedParams(random_params(ours), random_params(theirs))
    interop.save_model(root / "both", ours, params)
    return root / "both", ours, params


def test_what_is_saved_comes_back(both):
    folder, ours, params = both
    config, loaded = interop.load_model_folder(folder)
    jax.tree.map(np.testing.assert_array_equal, loaded, params)
    assert config.bridge.start == str(folder / "start") and config.model == ours.model
    digest = interop.weights_digest(loaded)
    other = loaded._replace(start=jax.tree.map(lambda x: x + 1, loaded.start))
    assert digest != interop.weights_digest(other)  # of both


def test_an_export_holds_both_with_their_licences_and_no_path(both, tmp_path):
    folder, _, params = both
    interop.export_model(folder, tmp_path / "out", address="hf://ada/both")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in
                     (tmp_path / "out").rglob("*") if path.is_file())  # fmt: skip
    own = ["README.md", "config.json", "model.safetensors"]
    assert written == [*own, *(f"start/{name}" for name in [*own, "provenance.json"])]
    for name in written:
        assert b"zuzana" not in (tmp_path / "out" / name).read_bytes(), name
    card = (tmp_path / "out" / "README.md").read_text()
    assert "starts at the answer of the model in start/, with noise of σ 0.2" in card
    theirs = (tmp_path / "out" / "start" / "README.md").read_text()
    assert "CC-BY-4.0" in theirs and "--model hf://ada/both/start" in theirs
    for again in (tmp_path / "out", tmp_path / "again"):
        _, loaded = interop.load_model_folder(again)
        jax.tree.map(np.testing.assert_array_equal, loaded, params)
        if again.name == "out":  # an export can be exported
            interop.export_model(again, tmp_path / "again")


def test_the_hub_gives_both(both, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "hub"))
    interop.export_model(both[0], tmp_path / "hub" / "ada" / "both")
    config, loaded = interop.load_model_folder("hf://ada/both")
    jax.tree.map(np.testing.assert_array_equal, loaded, both[2])
    assert config.bridge.start.startswith(str(tmp_path / "hub" / "cache"))


def test_names_of_adm_are_of_one_network(both, tmp_path):
    with pytest.raises(ValueError, match=r"format='adm' is of one network, and .* has two"):
        interop.export_model(both[0], tmp_path / "out", layout="adm")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"has no config\.json"):  # not followed, but looked for
        interop.load_model_folder(lonely(both, tmp_path / "lonely"))


def lonely(both, folder):
    """A copy without the model that it starts at, which is there where its config says."""
    config_lib.save(folder, both[1])
    interop.save_safetensors(folder / "model.safetensors", both[2].bridge)
    return folder


def test_a_start_within_a_start_is_refused(both, tmp_path):
    folder = lonely(both, tmp_path / "outer")
    (folder / "start").mkdir()
    (folder / "start" / "config.json").write_text((both[0] / "config.json").read_text())
    assert json.loads((folder / "start" / "config.json").read_text())["bridge"]["start"]
    with pytest.raises(ValueError, match="itself starts at the answer of another model: name a"):
        interop.load_model_folder(folder)


def test_other_runs_begin_from_the_bridges_own_weights(both):
    folder, _, params = both
    everywhere = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = abstract_like(params.bridge, everywhere)
    loaded = interop.load_weights(folder, shapes)
    jax.tree.map(np.testing.assert_array_equal, loaded, params.bridge)
