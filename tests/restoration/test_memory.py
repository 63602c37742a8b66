"""The memory that restoring says it will take, beside what it takes."""

import os
import re
import resource
import subprocess
import sys

import jax
import numpy as np
import pytest

from i2sb_jax.accelerators.program import Memory
from i2sb_jax.pictures import write_png
from i2sb_jax.restoration import memory
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from tests.restoration.models import identity_model, photo

PROGRAM = Memory(arguments=1000, outputs=200, temporaries=30, code=5)


def test_what_is_to_come_grows_with_what_is_kept():
    assert memory.bytes_to_come(PROGRAM, pixels=100) == 2 * 1230 + 600
    assert memory.bytes_to_come(PROGRAM, pixels=100, states=2) == 2 * 1230 + 1200
    assert memory.bytes_to_come(PROGRAM, pixels=100, samples=3) == 2 * 1230 + 2700


def test_it_is_never_less_than_was_held_before(monkeypatch):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert memory.peak_bytes(0) >= peak
    assert memory.peak_bytes(10 * peak) > 10 * peak
    monkeypatch.setattr(memory, "_STATM", memory.pathlib.Path("/none"))  # another system
    assert memory.peak_bytes(0) >= peak


def test_one_line_tells_it(tmp_path, capsys):
    model = identity_model(tmp_path / "model", "jpeg-10")
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "a.png", photo(40, 52))
    restore_folder(model, tmp_path / "in", tmp_path / "out", Options(nfe=1))
    lines = [line for line in capsys.readouterr().err.splitlines() if "GB of memory" in line]
    assert len(lines) == (jax.default_backend() == "cpu")
    restore_folder(model, tmp_path / "in", tmp_path / "quiet", Options(nfe=1), quiet=True)
    assert "GB" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not memory._STATM.exists(), reason="other systems tell the peak alone")
def test_it_is_told_within_a_quarter(tmp_path):
    """A picture of 3 megapixels through a shipped model, in a process of its own."""
    write_png(tmp_path / "a.png", np.tile(photo(512, 512), (3, 4, 1)))
    program = (
        "import resource, sys\n"
        "from i2sb_jax.restoration.folder import restore_folder\n"
        "restore_folder('denoise', *sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.png", tmp_path / "b.png"],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    told = 1e9 * float(re.search(r"about ([\d.]+) GB of memory", done.stderr)[1])
    assert told == pytest.approx(int(done.stdout), rel=0.25)
