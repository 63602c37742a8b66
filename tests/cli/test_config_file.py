"""Whose `configs` a config file imports: its own, or that of the package by its former name."""

import pathlib
import sys

import pytest

pytest.importorskip("ml_collections")

from i2sb_jax.cli import config_file

RUN = """
from configs import {names}
from i2sb_jax.configs import small_adm
def get_config():
    config = small_adm.get_config()
    config.seed = shared.SEED
    return config
"""


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Parses tmp_path/configs/run.py, which imports `names` of configs, and shared.py beside it."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    elsewhere = [path for path in sys.path if not (pathlib.Path(path) / "configs").exists()]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *elsewhere])  # of no checkout
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "shared.py").write_text("SEED = 7\n")

    def call(*, names, is_package):
        (folder / "run.py").write_text(RUN.format(names=names))
        if is_package:
            (folder / "__init__.py").write_text("")
        arguments = ["--config=configs/run.py"]
        return config_file.parse(arguments, program="test", needs_workdir=False)[0]

    yield call
    for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:
        del sys.modules[name]


def test_a_package_of_ones_own(parse, capfd):
    assert parse(names="shared", is_package=True).seed == 7
    assert capfd.readouterr().err == ""
    assert "i2sb" not in sys.modules["configs"].__file__


def test_a_folder_of_ones_own(parse, capfd):
    """Without __init__.py it has never hidden the package's."""
    assert parse(names="base, shared", is_package=False).seed == 7
    assert capfd.readouterr().err.count("write from i2sb_jax.configs import") == 1
