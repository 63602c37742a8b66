"""i2sb-demo before there is a page: what it refuses, in one line each."""

import importlib.util
import os
import socket
import subprocess
import sys

import pytest

from i2sb_jax import zoo
from i2sb_jax.cli import demo, startup
from tests.restoration.models import identity_model


@pytest.fixture
def installed(monkeypatch):
    """As if gradio were there; nothing gets as far as using it."""
    monkeypatch.setattr(startup, "require", lambda *packages: None)


def test_without_its_extra(complaints, monkeypatch):
    monkeypatch.setattr(startup.importlib.util, "find_spec", lambda package: None)
    status, (line,) = complaints(demo)
    assert status == 2 and line.endswith("the page needs pip install 'i2sb_jax[demo]'")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "0"), "--port 0 must lie in 1…65535"),
        (("--port", "x"), "--port"),
        (("--model", "jepg"), "did you mean 'jpeg'?"),
        (("--model", "."), "is not a run's folder"),
        (("--share",), "--share"),
    ],
)
def test_what_does_not_fit(installed, complaints, arguments, words):
    status, (line,) = complaints(demo, *arguments)
    assert status == 2 and line.startswith("error: ") and words in line


def test_a_run_on_pairs_is_for_another_tool(installed, complaints, tmp_path):
    data = {"source": "pairs", "path": "x", "target_path": "y"}
    identity_model(tmp_path / "model", "pairs", data=data)
    status, (line,) = complaints(demo, "--model", tmp_path / "model")
    assert status == 2 and "learnt from pairs" in line and "i2sb-restore takes it" in line


def test_models_are_described(tmp_path):
    for name, model in zoo.MODELS.items():
        label, about, nfe = demo.describe(name)
        assert label == f"{name}: {model.task}" and model.gain() in about
        assert "Apache-2.0" in about and nfe == 1
    identity_model(tmp_path / "<b>", "jpeg-10")
    label, about, _ = demo.describe(str(tmp_path / "<b>"))
    assert "Licence of its weights: not stated." in about and "<b>" not in about


@pytest.mark.skipif(not importlib.util.find_spec("gradio"), reason="needs gradio")
def test_a_port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "i2sb_jax.cli.demo", "--port", port],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == f"error: --port {port} is in use: choose another by --port\n"
