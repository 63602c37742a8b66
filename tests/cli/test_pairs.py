"""Pairs through the real tool: a generated edges → photo set, and 16-bit .tif of two channels."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

from i2sb_jax import config as config_lib
from i2sb_jax.cli import train as train_tool
from i2sb_jax.data import open_source
from i2sb_jax.data.scaling import load_value_ranges
from i2sb_jax.pictures import center_crop, decode_rgb, encode_array

ROOT = pathlib.Path(__file__).parent.parent.parent
TINY = {
    "model.model_channels": 8,
    "model.channel_mult": (1.0, 1.0),
    "model.num_res_blocks": 1,
    "model.attention_downsamples": (),
    "model.head_channels": 8,
    "model.norm_groups": 4,
    "data.crop": "window",
    "data.eval_fraction": 0.25,
    "optimizer.learning_rate": 3e-3,
    "training.accumulation_steps": 1,
    "training.batch_size": 4,
    "training.log_every": 1,
    "training.checkpoint_every": 10,
    "sampling.nfe": 2,
    "sampling.batch_size": 2,
}


def arguments(name, workdir, **overrides):
    """Of i2sb-train: a config of configs/translation, made tiny."""
    config = f"--config={ROOT}/configs/translation/{name}.py"
    values = (f"--config.{key}={value}" for key, value in (TINY | overrides).items())
    return [f"--workdir={workdir}", config, *values]


def start(name, workdir, **overrides):
    """i2sb-train in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "i2sb_jax.cli.train", *arguments(name, workdir, **overrides)],
        env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, timeout=300,
        cwd=workdir.parent,
    )  # fmt: skip


def train(name, workdir, **overrides):
    done = start(name, workdir, **overrides)
    assert done.returncode == 0, done.stderr
    return done


def losses(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def edges_of(photo):
    """A drawing of a photograph: black where brightness changes fast, on white."""
    grey = photo.astype(np.float32).mean(axis=-1)
    steep = np.hypot(*np.gradient(grey)) > 12
    return np.where(steep[..., None], 0, 255).astype(np.uint8).repeat(3, axis=-1)


@pytest.fixture(scope="module")
def edges(tmp_path_factory):
    """Parts of real photographs, their edges on the left."""
    folder = tmp_path_factory.mktemp("edges") / "train"
    folder.mkdir()
    photos = open_source("photos", split="train")
    for number in range(len(photos)):
        photo = center_crop(decode_rgb(photos.read(number).image), 144)
        for place in range(9):
            top, left = 48 * (place // 3), 48 * (place % 3)
            part = photo[top : top + 48, left : left + 48]
            both = np.concatenate([edges_of(part), part], axis=1)
            Image.fromarray(both).save(folder / f"{number}-{place}_AB.png")
    return folder


@pytest.mark.slow
def test_edges_to_photographs(edges):
    workdir = edges.parent / "run"
    changes = {"image_size": 32, "data.path": edges, "training.num_steps": 30}
    changes["data.group_pattern"] = r"^\d+"  # parts of one photograph stay together
    done = train("edges2shoes", workdir, **changes)
    assert "pairs on pairs at 32 px" in done.stdout and "warning" not in done.stderr
    assert len(losses(workdir)) == 30
    assert np.mean(losses(workdir)[-10:]) < 0.8 * np.mean(losses(workdir)[:5])
    with Image.open(workdir / "images" / "step_00000030.png") as sheet:
        assert sheet.width == 3 * 32  # clean | degraded | restored
        clean, degraded = (np.asarray(sheet)[:, x : x + 32] for x in (0, 32))
    assert set(np.unique(degraded)) <= {0, 255} and len(np.unique(clean)) > 10
    config = config_lib.load(workdir)
    assert (config.image_channels, config.cond_channels) == (3, 3)


@pytest.fixture(scope="module")
def microscope(tmp_path_factory):
    """Two noisy 16-bit channels and the clean one they are of; 1024², three moments of a field."""
    root = tmp_path_factory.mktemp("microscope")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:1024, :1024] / 1024
    for folder in ("low", "high"):
        (root / folder).mkdir()
    for number in range(6):
        a, b, c, d = rng.uniform(5, 40, 4)
        signal = (2 + np.sin(a * x + b * y) + np.cos(c * x - d * y)) * 900 + 300
        low = signal[..., None] * [0.5, 0.2] + rng.normal(0, 40, (1024, 1024, 2))
        name = f"fov{number // 3}_t{number % 3}.tif"
        for folder, values in (("low", low), ("high", signal[..., None])):
            array = np.clip(values, 0, 65535).astype(np.uint16)
            (root / folder / name).write_bytes(encode_array(array, suffix=".tif"))
    return root


TIF = {"image_size": 64, "data.group_pattern": r"fov\d", "bridge.beta_max": 0.3}


@pytest.mark.slow
def test_two_channels_of_16_bits_to_one(microscope):
    folders = {f"data.{k}": microscope / v for k, v in (("path", "low"), ("target_path", "high"))}
    (microscope / "high" / "stray.tif").write_bytes((microscope / "high/fov0_t0.tif").read_bytes())
    workdir = microscope / "run"
    done = train("tif16", workdir, **TIF, **folders, **{"training.num_steps": 20})
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning")]
    assert "1 files of" in warning and warning.endswith(": stray.tif")
    assert np.mean(losses(workdir)[-5:]) < np.mean(losses(workdir)[:5])
    config, ranges = config_lib.load(workdir), load_value_ranges(workdir)
    assert (config.image_channels, config.cond_channels) == (1, 2)
    assert (ranges.source.channels, ranges.target.channels) == (2, 1)
    assert ranges.target.dtype == "uint16" and ranges.target.suffix == ".tif"
    assert 300 <= ranges.target.low[0] < 800 and 3300 < ranges.target.high[0] <= 3900
    with Image.open(workdir / "images" / "step_00000020.png") as sheet:
        assert sheet.width == 3 * 64

    before = (workdir / "value_ranges.json").read_bytes()
    train("tif16", workdir, **TIF, **folders, **{"training.num_steps": 24})
    assert (workdir / "value_ranges.json").read_bytes() == before
    assert len(losses(workdir)) == 24


def test_a_field_of_view_on_both_sides(microscope, complaints, monkeypatch):
    there = {
        "data.path": "low",
        "data.target_path": "high",
        "data.eval_path": "later/low",
        "data.eval_target_path": "later/high",
    }
    for folder in ("low", "high"):
        (microscope / "later" / folder).mkdir(parents=True)
        one = (microscope / folder / "fov1_t0.tif").read_bytes()
        (microscope / "later" / folder / "fov1_t9.tif").write_bytes(one)
    workdir = microscope / "refused"
    monkeypatch.chdir(microscope)
    status, (line,) = complaints(
        train_tool, *arguments("tif16", workdir, **TIF, **there, distributed="off")
    )
    assert status == 2 and not workdir.exists()
    assert line.startswith("error: 1 groups of data.group_pattern=") and ": fov1;" in line
