"""i2sb-restore, -evaluate and -export by the names of shipped models, on small pictures."""

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from experiments.quickstart import held_out
from i2sb_jax import zoo
from i2sb_jax.cli import evaluate, export, restore
from i2sb_jax.pictures import decode_rgb, write_png

pytest.importorskip("skimage")

RESTORE = ("i2sb-restore", restore.main)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")


@pytest.fixture
def tool(monkeypatch, capfd):
    """A console script; status, stdout and stderr."""

    def call(program, *arguments):
        name, main = program
        monkeypatch.setattr(sys, "argv", [name, *map(os.fspath, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, *capfd.readouterr()

    return call


@pytest.fixture(scope="module")
def crop():
    """Part of a photograph that no model has seen, uint8 [128, 128, 3]."""
    return dict(held_out.photographs("eval"))["coffee"][136:264, 200:328]


def error(seen, clean):
    return float(np.mean((seen.astype(float) - clean) ** 2))


def test_a_jpeg_file_gains_and_no_model_need_be_named(tool, tmp_path, crop):
    Image.fromarray(crop).save(tmp_path / "a.jpg", quality=20)
    status, out, err = tool(RESTORE, "--input", tmp_path / "a.jpg", "--output", tmp_path / "b.png")
    assert status == 0 and "1 picture restored" in out
    assert err.splitlines()[0].startswith("jpeg is taken for a.jpg: a JPEG file of quality 20 (")
    before, after = (decode_rgb((tmp_path / name).read_bytes()) for name in ("a.jpg", "b.png"))
    gain = 10 * np.log10(error(before, crop) / error(after, crop))
    assert gain > 1  # dB; a network that did nothing, or the wrong one, would have none
    named = ["--model", "jpeg", "--input", tmp_path / "a.jpg", "--output", tmp_path / "c.png"]
    status, _, err = tool(RESTORE, *named, "--strength", "0.5")
    assert status == 0 and "is taken" not in err
    half = decode_rgb((tmp_path / "c.png").read_bytes())
    between = (before.astype(float) + after) / 2
    assert np.abs(half - between).max() <= 0.75 + 1e-3  # two roundings


def test_names_and_listing(tool, tmp_path):
    status, out, _ = tool(RESTORE, "--list-models")
    assert status == 0 and out == zoo.listing() + "\n"
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "a.png", np.zeros((16, 16, 3), np.uint8))
    status, _, err = tool(RESTORE, "--model", "jepg", "--input", "in", "--output", "out")
    assert status == 2 and err == (
        "error: jepg is neither a folder nor a shipped model: did you mean 'jpeg'? (choices: "
        "jpeg, deblur, denoise, sr4x)\n"
    )
    status, _, err = tool(RESTORE, "--input", "in", "--output", "out")
    assert status == 2 and err.startswith("error: nothing tells what a.png needs")
    assert err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_an_export_by_name(tool, tmp_path):
    status, out, _ = tool(("i2sb-export", export.main), "--model", "jpeg", "--output", "mine")
    assert status == 0 and "jpeg written to mine" in out and "Apache-2.0" in out
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["corruption"] == (
        zoo.MODELS["jpeg"].corruption
    )


def test_the_package_is_no_place_for_results(tool):
    pytest.importorskip("tensorflow")
    status, _, err = tool(("i2sb-evaluate", evaluate.main), "--model", "denoise", "--data", "clean")
    assert status == 2 and err.splitlines()[-1].startswith("error: --output is missing")


@pytest.mark.slow
def test_an_evaluation_by_name(tool, tmp_path, crop, monkeypatch):
    pytest.importorskip("tensorflow")
    # a process joins a group of one before it touches a device, and this one has
    monkeypatch.setattr(evaluate.processes, "join", lambda mode, heartbeat: None)
    (tmp_path / "clean").mkdir()
    write_png(tmp_path / "clean" / "a.png", crop)
    program = ("i2sb-evaluate", evaluate.main)
    status, out, _ = tool(program, "--model", "denoise", "--data", "clean", "--output", "figures")
    assert status == 0 and "nfe 1" in out
    facts = json.loads((tmp_path / "figures" / "results.json").read_text())["facts"]
    assert "denoise" in json.dumps(facts)
    assert not (zoo.shipped_folder("denoise") / "evaluation").exists()
