"""Feeding a GPU: its windows are those of the input pipeline, and what it trains restores."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from experiments.models import gpu, photographs
from i2sb_jax.config import from_config_dict
from i2sb_jax.configs import zoo
from i2sb_jax.corruptions import make_corruption
from i2sb_jax.data.windows import window_corruption
from i2sb_jax.restoration import Restorer


def make_config(task, **model):
    values = zoo.get_config(task)
    values.data.path = "PHOTOGRAPHS"
    values.model.update(model)
    return from_config_dict(values.to_dict())


def make_windows(task, count=2, seed=0, pictures=None):
    config = make_config(task)
    corruption = window_corruption(
        make_corruption(config.corruption, image_size=256), image_size=256, crop="window"
    )
    rng = np.random.default_rng(seed)
    pictures = [picture(300, 400), picture(280, 260)] if pictures is None else pictures
    return gpu.degraded_windows(rng, pictures, corruption, config, count)


def picture(height, width):
    rng = np.random.default_rng(height)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("task", zoo.TASKS)
def test_windows_are_a_quarter_of_what_is_degraded(task):
    windows = make_windows(task)
    assert windows.clean.shape == windows.degraded.shape == (8, 128, 128, 3)
    assert windows.clean.dtype == windows.degraded.dtype == np.uint8
    difference = np.abs(windows.clean.astype(int) - windows.degraded)
    assert 0 < difference.mean() < 60
    again, other = make_windows(task), make_windows(task, seed=1)
    np.testing.assert_array_equal(windows.degraded, again.degraded)
    assert (windows.degraded != other.degraded).any()


def test_a_window_keeps_its_neighbours():
    """The four pieces of a square, put together again, have no seam that the photograph has not."""
    square = np.arange(2 * 4 * 4 * 1).reshape(2, 4, 4, 1)
    cut = gpu._cut(square, 2)
    assert cut.shape == (8, 2, 2, 1)
    np.testing.assert_array_equal(cut[0, ..., 0], [[0, 1], [4, 5]])
    np.testing.assert_array_equal(cut[1, ..., 0], [[2, 3], [6, 7]])
    np.testing.assert_array_equal(cut[4, ..., 0], square[1, :2, :2, 0])


def test_what_a_file_tells_is_of_the_whole_window():
    windows = make_windows("jpeg")
    assert windows.cond.shape == (8, 4) and windows.cond.dtype == np.float32
    # four windows are of one file
    np.testing.assert_array_equal(windows.cond[:4], np.broadcast_to(windows.cond[0], (4, 4)))
    assert (windows.cond[0] != windows.cond[4]).any()
    assert make_windows("denoise").cond is None


def test_photographs_are_read_at_all_scales_that_hold_a_window(tmp_path):
    Image.fromarray(picture(520, 700)).save(tmp_path / "a.png")
    Image.fromarray(picture(300, 256)).save(tmp_path / "b.png")
    sizes = [found.shape[:2] for found in gpu.read_pictures(tmp_path, (1.0, 0.5, 0.25))]
    assert sizes == [(520, 700), (260, 350), (300, 256)]


def test_a_reduction_is_the_mean_of_whole_squares(tmp_path):
    clean = picture(31, 64)
    Image.fromarray(clean).save(tmp_path / "a.png")
    reduced = np.asarray(photographs.reduced((tmp_path / "a.png").read_bytes(), 3))
    assert reduced.shape == (10, 21, 3)
    means = clean[:30, :63].reshape(10, 3, 21, 3, 3).mean(axis=(1, 3))
    assert np.abs(reduced - means).max() < 1  # Pillow rounds by fixed-point numbers


def test_every_photographer_is_named():
    told = photographs.attribution()
    for each in photographs.PHOTOGRAPHS:
        assert each.by in told and pathlib.PurePosixPath(each.path).name in told
    assert {"astronaut", "coffee", "chelsea", "rocket"}.isdisjoint(told.replace(".", " ").split())


@pytest.mark.slow
def test_it_trains_a_model_that_restores(tmp_path, monkeypatch):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(picture(300 + 8 * number, 320)).save(folder / f"{number}.png")
    small = zoo.get_config

    def get_config(task):
        config = small(task)
        config.model.model_channels, config.image_size = 8, 32
        return config

    monkeypatch.setattr(zoo, "get_config", get_config)
    gpu.main([
        "denoise", "--photographs", str(folder), "--output", str(tmp_path / "model"),
        "--seconds", "90", "--workers", "1", "--batch-size", "8", "--ring", "512",
        "--dtype", "float32",
    ])  # fmt: skip
    lines = (tmp_path / "model" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses and np.isfinite(losses).all()
    rng = np.random.default_rng(0)
    clean = picture(128, 128).astype(np.float32)
    noisy = np.clip(clean + 25 * rng.standard_normal(clean.shape), 0, 255).astype(np.uint8)
    restored = (Restorer.from_workdir(tmp_path / "model")(noisy[None])[0] + 1) * 127.5
    assert np.square(restored - clean).mean() < np.square(noisy - clean).mean()
