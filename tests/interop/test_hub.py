"""hf:// addresses, with a hub that lies in a folder."""

import os
import pathlib
import shutil
import sys
import types

import numpy as np
import pytest
from etils import epath

from i2sb_jax.interop import export_model, hub, load_model_folder, local_folder, save_model
from i2sb_jax.interop.provenance import Provenance, read_provenance
from tests.models.networks import hashed_params
from tests.training.tiny import make_config


class FakeHub(types.ModuleType):
    """Repositories as folders; remembers what was asked for."""

    def __init__(self, root):
        super().__init__("huggingface_hub")
        self.root, self.calls = root, []

    def snapshot_download(self, repo_id, *, revision, allow_patterns, repo_type):
        self.calls.append((repo_id, revision, repo_type))
        source = self.root / repo_id
        if not source.is_dir():
            raise RuntimeError(f"404: no repository {repo_id}\nand a page of advice")
        cache = self.root / "cache" / repo_id
        cache.mkdir(parents=True, exist_ok=True)
        for name in allow_patterns:
            if (source / name).exists():
                (cache / name).parent.mkdir(exist_ok=True)
                shutil.copy(source / name, cache / name)
        return str(cache)

    def create_repo(self, repo_id, *, repo_type, private, exist_ok):
        assert repo_type == "model" and private and exist_ok
        if repo_id.startswith("locked/"):
            raise RuntimeError("403: not yours")
        (self.root / repo_id).mkdir(parents=True, exist_ok=True)
        return f"https://hub/{repo_id}"

    def upload_folder(self, *, repo_id, repo_type, folder_path):
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    module = FakeHub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return module


@pytest.fixture
def model(tmp_path):
    config = make_config()
    params = hashed_params(config.model.unet_config(in_channels=3))
    origin = Provenance(source="a.pt", sha256="0" * 64, licence="MIT", weights="ema", trained=False)
    save_model(tmp_path / "model", config, params, provenance=origin)
    return tmp_path / "model"


def test_pushed_and_pulled_it_is_the_same_model(tmp_path, fake, model):
    export_model(model, tmp_path / "out", address="hf://ada/tiny")
    (tmp_path / "out" / "run.py").write_text("evil")
    assert hub.push_folder(tmp_path / "out", "ada/tiny") == "https://hub/ada/tiny"
    assert "hf://ada/tiny" in (fake.root / "ada/tiny/README.md").read_text()
    config, params = load_model_folder("hf://ada/tiny@v1")
    assert fake.calls == [("ada/tiny", "v1", "model")]  # once, not for each file
    mine, theirs = load_model_folder(model)
    assert config == mine
    np.testing.assert_array_equal(params["conv_in"]["kernel"], theirs["conv_in"]["kernel"])
    assert read_provenance("hf://ada/tiny").licence == "MIT"
    assert not (fake.root / "cache/ada/tiny/run.py").exists()


def test_other_paths_are_left_alone(fake):
    for path in ("runs/hf", "gs://bucket/run", pathlib.Path("x"), epath.Path("y")):
        assert local_folder(path) is path
    assert not fake.calls
    assert local_folder("~/run") == os.path.expanduser("~/run")


def test_an_address_that_became_a_path(fake):
    (fake.root / "ada/tiny").mkdir(parents=True)
    assert local_folder(pathlib.PurePosixPath("hf://ada/tiny")).endswith("cache/ada/tiny")
    assert fake.calls == [("ada/tiny", None, "model")]


def one_line(call, *args):
    with pytest.raises(ValueError) as error:
        call(*args)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_wrong_is_told_in_one_line(fake, model):
    for address in ("hf://tiny", "hf://ada/tiny@", "hf://a/b/c", "hf://a b/c"):
        assert "use hf://OWNER/NAME[@REVISION]" in one_line(local_folder, address)
    message = one_line(local_folder, "hf://ada/none")
    assert message == "cannot download hf://ada/none: 404: no repository ada/none"
    assert "use OWNER/NAME" in one_line(hub.push_folder, model, "tiny")
    assert "cannot push to locked/x: 403" in one_line(hub.push_folder, model, "locked/x")


def test_without_the_extra(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: local_folder("hf://ada/tiny"),
        lambda: hub.check_can_push("ada/tiny"),
        lambda: load_model_folder("hf://ada/tiny"),
    ):
        assert "pip install 'i2sb_jax[hub]'" in one_line(call)
