"""What `make quickstart` promises, at its full length."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

ROOT = pathlib.Path(__file__).parent.parent.parent
BIN = pathlib.Path(sys.executable).parent


def run(*command):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [os.fspath(part) for part in command],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.slow
def test_restored_photographs_beat_the_degraded_and_the_classical_ones(tmp_path):
    run(BIN / "i2sb-train", "--config", "configs/quickstart.py", "--workdir", tmp_path / "run")
    run(sys.executable, "-m", "experiments.quickstart.held_out", tmp_path / "in")
    out = run(
        BIN / "i2sb-restore", "--workdir", tmp_path / "run", "--input", tmp_path / "in",
        "--output", tmp_path / "out", "--degrade",
    )  # fmt: skip
    scores = {m[1]: float(m[2]) for m in re.finditer(r"^(.+?) +PSNR +([\d.]+) dB", out, re.M)}
    assert scores["restored"] >= scores["degraded"] + 3
    assert scores["restored"] >= scores["brightness matching"] + 0.5
