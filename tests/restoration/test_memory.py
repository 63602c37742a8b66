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
    once = np.ones(2**27, np.uint8).nbytes  # and let go again
    assert memory.peak_bytes(0) > once
    assert memory.peak_bytes(100 * once) > 100 * once
    monkeypatch.setattr(memory, "_STATUS", memory.pathlib.Path("/none"))  # another system
    assert memory.peak_bytes(0) >= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.skipif(not memory._STATUS.exists(), reason="other systems tell the peak alone")
def test_what_started_the_process_does_not_count():
    held = np.ones(2**30, np.uint8)  # of this process, more than the other one takes
    program = "from i2sb_jax.restoration import memory\nprint(memory.peak_bytes(0))"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert 2**25 < int(done.stdout) < held.nbytes


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
@pytest.mark.skipif(not memory._STATUS.exists(), reason="other systems tell the peak alone")
def test_it_is_told_within_a_quarter(tmp_path):
    """A picture of 3 megapixels through a shipped model, in a process of its own."""
    write_png(tmp_path / "a.png", np.tile(photo(512, 512), (3, 4, 1)))
    program = (
        "import sys\n"
        "from i2sb_jax.restoration import memory\n"
        "from i2sb_jax.restoration.folder import restore_folder\n"
        "restore_folder('denoise', *sys.argv[1:])\n"
        "print(memory.peak_bytes(0))\n"
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
