"""i2sb-restore as three processes: one is killed, one joins late, and nobody can tell."""

import json
import os
import subprocess
import sys
import time

import pytest
from PIL import Image

from i2sb_jax.cli import restore
from i2sb_jax.restoration.claims import FOLDER, Claims
from i2sb_jax.restoration.output_folder import SETTINGS
from i2sb_jax.restoration.results_list import RESULTS
from tests import bucket_path
from tests.cli import runs
from tests.restoration.models import identity_model, photo

COUNT = 200
# the tool, of a machine that takes its time, so that there is a middle to be killed in
PROGRAM = """
import os, sys, time
from i2sb_jax.cli import restore
from i2sb_jax.restoration import claims, folder
from tests import bucket_path

claims.LEASE = 6.0
write = folder._Work._write
folder._Work._write = lambda self, job: (time.sleep(float(os.environ["PACE"])), write(self, job))
restore.main()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "noise-0-50", bridge={}, sampling={})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("in")
    for number in range(COUNT):
        Image.fromarray(photo(16, 16, seed=number)).save(folder / f"{number:03}.png")
    return folder


def environment(number):
    """What a launcher tells one of three processes."""
    return {"JAX_NUM_PROCESSES": "3", "JAX_PROCESS_ID": str(number)}


def start(model, source, output, number=None):
    """i2sb-restore; with a number it is that one of three processes, slow enough to be watched."""
    told = {"PACE": "0"} if number is None else environment(number) | {"PACE": "0.4"}
    given = ["--model", model, "--input", source, "--output", output, "--nfe", "2"]
    runs.STARTED.append(
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *map(str, given)],
            env=os.environ | {"JAX_PLATFORMS": "cpu"} | told, cwd=runs.ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
    )  # fmt: skip
    return runs.STARTED[-1]


def wait_for(count, found, process):
    deadline = time.monotonic() + 240
    while len(found()) < count:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


def contents(output):
    """Name -> bytes of all that is there, on the disk or in the bucket."""
    if str(output).startswith(bucket_path.SCHEME):
        return bucket_path.contents(output)
    return {
        path.relative_to(output).as_posix(): path.read_bytes()
        for path in output.rglob("*")
        if path.is_file() and not path.name.endswith(".tmp")
    }


@pytest.mark.slow
@pytest.mark.parametrize("where", ["disk", "bucket"])
def test_three_processes_of_which_one_is_killed_and_one_late(
    model, pictures, tmp_path, monkeypatch, where
):
    source, one, out = pictures, tmp_path / "one", tmp_path / "out"
    if where == "bucket":
        (tmp_path / "bucket").mkdir()
        monkeypatch.setenv("BUCKET_ROOT", str(tmp_path / "bucket"))
        monkeypatch.setenv("BUCKET_LATE", "5")
        source, one, out = (f"bucket://b/{name}" for name in ("in", "one", "out"))
        bucket_path.fill(source, pictures)
    status, told, _ = runs.finish(start(model, source, one))
    assert (status, told) == (0, f"{COUNT} pictures restored into {one}")
    alone = contents(one)
    assert len(alone) == COUNT + 2 and not any(name.startswith(FOLDER) for name in alone)

    first, lost = start(model, source, out, 0), start(model, source, out, 1)
    wait_for(10, lambda: noted(out, lost), lost)
    late = start(model, source, out, 2)
    wait_for(1, lambda: noted(out, late), late)
    lost.kill()
    lost.communicate()
    by_lost = noted(out, lost)
    ended = [runs.finish(process) for process in (first, late)]
    assert [status for status, *_ in ended] == [0, 0], ended

    together = contents(out)
    if where == "bucket":  # lists did not show yet what was to go
        together = {k: v for k, v in together.items() if not k.startswith(FOLDER)}
    assert together.keys() == alone.keys()
    assert all(together[name] == alone[name] for name in alone if name != RESULTS)
    listed = [json.loads(line) for line in together[RESULTS].splitlines()]
    assert sorted(entry["files"][0] for entry in listed) == sorted(set(alone) - {SETTINGS, RESULTS})
    counts = [len(by_lost), *(int(told.split(" ")[0]) for _, told, _ in ended)]
    assert min(counts) > 0
    # a bucket cannot tell which of two claims of one moment was the first
    assert sum(counts) == COUNT if where == "disk" else sum(counts) >= COUNT


def noted(output, process):
    """Pictures that a process has noted as finished."""
    owner = f"-{process.pid}-"
    claims = [
        json.loads(data or b"{}")
        for name, data in contents(output).items()
        if name.startswith(FOLDER) and data.startswith(b"{")
    ]
    return [each["picture"] for each in claims if owner in each["owner"] and "made_of" in each]


def test_the_tool_shares_when_it_is_told_to(call, model, pictures, tmp_path, monkeypatch):
    """By its option, by a launcher's variables, or by a folder that is shared already."""
    shared = []
    enter = Claims.__enter__
    monkeypatch.setattr(
        Claims, "__enter__", lambda self: (shared.append(self._place), enter(self))[1]
    )
    (tmp_path / "in").mkdir()
    for name in ("000.png", "001.png"):
        (tmp_path / "in" / name).write_bytes((pictures / name).read_bytes())
    given = ("--model", model, "--input", tmp_path / "in", "--nfe", 1, "--output")
    status, out, _ = call(restore, *given, tmp_path / "a")
    assert (status, shared) == (0, []) and out == f"2 pictures restored into {tmp_path / 'a'}\n"
    assert call(restore, *given, tmp_path / "b", "--share")[0] == 0 and shared == [(None, None)]
    for variable, value in environment(2).items():
        monkeypatch.setenv(variable, value)
    assert call(restore, *given, tmp_path / "c")[0] == 0 and shared[1:] == [(2, 3)]
    single = tmp_path / "in" / "000.png"
    assert call(restore, *given[:3], single, *given[4:], tmp_path / "x.png")[0] == 0
    assert len(shared) == 2
