"""A whole folder: names, unreadable pictures, sheets and scores."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.pictures import from_uint8, to_uint8
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_folder import SHEET
from i2sb_jax.restoration.sheet import comparison_sheet
from tests.restoration.models import identity_model
from tests.training.tiny import fresh_params, make_config


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder whose network returns zero: the OT-ODE gives back X_1."""
    folder = tmp_path_factory.mktemp("model")
    config = make_config(
        corruption="blur-gauss-exact",
        bridge={"deterministic": True},
        sampling={"sampler": "ode"},
    )
    interop.save_model(folder, config, fresh_params(config))
    return folder


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in {"a.png": (20, 16), "sub/b.jpg": (16, 20), "c.png": (20, 16)}.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (*size, 3), np.uint8)).save(path)
    return tmp_path / "in"


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures_keep_names_sizes_and_under_the_identity_pixels(folder, tmp_path, capsys):
    out, model = tmp_path / "out", identity_model(tmp_path / "model", "noise-0-50")
    outcome = restore_folder(model, folder, out, Options(nfe=2))
    assert outcome.restored == 3 and not outcome.unreadable and not outcome.scores
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png")) == [
        "a.png", "c.png", "sub/b.png",
    ]  # fmt: skip
    # one level: saved values are truncated
    difference = read(folder / "a.png").astype(int) - read(out / "a.png")
    assert np.abs(difference).max() <= 1
    assert read(out / "sub/b.png").shape == (16, 20, 3)
    expected = "3 pictures, 6 tiles of 16×16 (at once 2), nfe 2 each: 6 network calls"
    assert expected in capsys.readouterr().err


def test_degrading_measures_against_the_original(model, folder, tmp_path):
    outcome = restore_folder(model, folder, tmp_path / "out", Options(nfe=1, degrade=True))
    assert list(outcome.scores) == ["degraded", "brightness matching", "restored"]
    degraded, matched, restored = (outcome.scores[title] for title in outcome.scores)
    # a network that does nothing restores nothing; matching the brightness does
    assert restored[0] == pytest.approx(degraded[0], abs=0.01)
    assert matched[0] > degraded[0] + 1
    assert read(tmp_path / "out" / "a.png").shape == (16, 16, 3)  # the run's size
    sheet = read(tmp_path / "out" / SHEET)
    assert sheet.shape[1] == 4 * 256 + 3 * 4  # clean | degraded | matched | restored


def test_an_unreadable_picture_is_named_and_left_out(model, folder, tmp_path, capsys):
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    outcome = restore_folder(model, folder, tmp_path / "out", Options(nfe=1))
    assert outcome.restored == 3
    assert list(outcome.unreadable) == ["broken.png"]
    assert "broken.png is left out" in capsys.readouterr().err


def test_nothing_given_is_overwritten(model, folder, tmp_path):
    with pytest.raises(ValueError, match="lies in the input folder"):
        restore_folder(model, folder, folder / "restored", Options(nfe=1))
    Image.new("RGB", (16, 16)).save(folder / "a.jpg")
    with pytest.raises(ValueError, match="would both be written"):
        restore_folder(model, folder, tmp_path / "out", Options(nfe=1))
    assert not (tmp_path / "out").exists()


def test_the_sheet_has_a_column_a_title_and_enlarges_without_smoothing():
    red = np.zeros((4, 4, 3), np.uint8)
    red[:2, :, 0] = 255
    sheet = comparison_sheet([{"left": red, "right": red}] * 2)
    assert sheet.shape == (20 + 2 * 256 + 4, 2 * 256 + 4, 3)
    cell = sheet[20 : 20 + 256, :256]
    assert set(np.unique(cell[..., 0])) == {0, 255}
    assert (cell[:128, :, 0] == 255).all() and (cell[128:, :, 0] == 0).all()


def test_truncation_of_exact_levels_is_at_most_one():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    back = to_uint8(from_uint8(levels))
    assert np.abs(back.astype(int) - levels).max() <= 1


KEPT = """
import pathlib, sys
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options

model, source, out, cache = map(pathlib.Path, sys.argv[1:])
restore_folder(model, source, out, Options(nfe=1))
print(len(list(cache.glob("jit_run-*"))))
"""


def test_one_evaluation_is_compiled_for_all_starts(model, folder, tmp_path):
    """JAX 0.10 keeps no program that calls back: of one evaluation batches are counted instead."""
    cache = tmp_path / "cache"
    environment = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": os.fspath(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    arguments = [os.fspath(path) for path in (model, folder, tmp_path / "out", cache)]
    done = subprocess.run(
        [sys.executable, "-c", KEPT, *arguments],
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr
    assert "1 picture" in done.stderr or "3 pictures" in done.stderr  # it was watched
