"""What `make quickstart` promises, at its full length."""

import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

from experiments.quickstart import table

ROOT = pathlib.Path(__file__).parent.parent.parent
BIN = pathlib.Path(sys.executable).parent


def run(*command):
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [os.fspath(part) for part in command],
        cwd=ROOT, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_whole_photographs_come_back_better_than_by_a_wiener_filter(tmp_path):
    model, clean = tmp_path / "run", tmp_path / "in" / "clean"
    degraded, restored = tmp_path / "in" / "degraded", tmp_path / "out"
    run(BIN / "i2sb-train", "--config", "configs/quickstart.py", "--workdir", model)
    run(
        sys.executable, "-m", "experiments.quickstart.held_out", tmp_path / "in",
        "--blur", "1", "1.5", "2",
    )  # fmt: skip
    run(BIN / "i2sb-restore", "--model", model, "--input", degraded, "--output", restored)
    rows = table.measure(str(clean), str(degraded), str(restored), noise=2.0)
    gains = [row.restored.psnr - row.file.psnr for row in rows]
    wiener = [row.wiener.psnr - row.file.psnr for row in rows]  # with one setting for all widths
    assert len(rows) == 12
    assert min(gains) > 0
    assert sum(gains) / 12 >= 1.5
    assert sum(gains) / 12 >= sum(wiener) / 12 + 0.3

    # a sharp photograph stays what it was
    run(BIN / "i2sb-restore", "--model", model, "--input", clean, "--output", tmp_path / "sharp")
    sharp = table.measure(str(clean), str(clean), str(tmp_path / "sharp"), noise=2.0)
    assert min(row.restored.psnr for row in sharp) >= 38
