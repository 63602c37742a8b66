"""Hostile and broken files: one line that names what was refused, nothing run, little memory."""

import os
import pathlib
import subprocess
import sys

import pytest

from i2sb_jax.interop import read_safetensors_file, read_torch_file, read_weights_file
from tests.interop import hostile, hostile_containers, hostile_legacy

CASES = [
    *(*hostile.PROGRAMS, *hostile.PICKLES, *hostile.TENSORS),
    *(*hostile_containers.ZIPS, *hostile_containers.SAFETENSORS, *hostile_containers.OTHERS),
    *(*hostile_legacy.PROGRAMS, *hostile_legacy.FILES),
]
MEMORY = 256 << 20  # bytes that reading any of them may take
LARGE = 200_000  # bytes of those that are read for seconds: once, where memory is bounded


def reader(case):
    if case.name.startswith("safetensors"):
        return read_safetensors_file
    return read_weights_file if case.name.startswith("other") else read_torch_file


@pytest.mark.parametrize(
    "case", [case for case in CASES if len(case.data) < LARGE], ids=lambda case: case.name
)
def test_refused_in_one_line(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights"
    path.write_bytes(case.data)
    with pytest.raises(ValueError) as refused:
        reader(case)(path)
    line = str(refused.value)
    assert case.message in line
    assert line.startswith(str(path)) and "\n" not in line and line.isprintable()
    assert len(line) < len(str(path)) + 400
    assert [file.name for file in tmp_path.iterdir()] == ["weights"]


def test_there_are_enough_of_each_and_no_two_alike():
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) > 200
    assert all(case.message for case in CASES)


@pytest.mark.parametrize("case", [case for case in CASES if case.runs], ids=lambda case: case.name)
def test_the_dangerous_ones_are_dangerous(case, tmp_path):
    """A reader that runs what it reads does touch the canary."""
    zipped = case.data.startswith(b"PK")
    program = hostile_containers.member(case.data, "archive/data.pkl") if zipped else case.data
    believe = "import pickle, sys\nfor _ in range(5): pickle.load(sys.stdin.buffer)"
    subprocess.run(
        [sys.executable, "-c", believe], input=program, cwd=tmp_path, capture_output=True
    )
    assert (tmp_path / hostile.CANARY).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is set by Linux's means")
def test_memory_is_bounded(tmp_path):
    """All of them are refused in a process that may take MEMORY more than it has."""
    for number, case in enumerate(CASES):
        (tmp_path / f"{number}").write_bytes(case.data)
    script = f"""
import pathlib, resource
from i2sb_jax.interop import read_safetensors_file, read_torch_file, read_weights_file
pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + {MEMORY}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for number, reader in enumerate({[reader(case).__name__ for case in CASES]}):
    try:
        globals()[reader](str(number))
    except ValueError as error:
        print(error)
try:
    bytearray({MEMORY})
except MemoryError:
    print("limited")
"""
    root = pathlib.Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    *lines, control = done.stdout.splitlines()
    assert control == "limited"
    for number, (case, line) in enumerate(zip(CASES, lines, strict=True)):
        assert line.startswith(f"{number} ") and case.message in line
        assert line.isprintable() and len(line) < 400
    assert not (tmp_path / hostile.CANARY).exists()
