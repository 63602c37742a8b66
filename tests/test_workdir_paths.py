"""A run's folder may be a bucket: it is reached through epath alone."""

import ast
import json
import pathlib

import pytest

from i2sb_jax import checkpoint
from i2sb_jax import config as config_lib
from tests import memory_path
from tests.training import tiny

ROOT = pathlib.Path(__file__).parent.parent
# of `os`: what touches no file
HARMLESS = {"_exit", "environ", "fspath", "getpid"} | {
    f"path.{name}" for name in ("abspath", "basename", "expanduser")
}
# of files.py, which also lists local folders of pictures: what a run's folder is written by
WRITERS = ("read_json", "write_atomically", "open_atomically")


LOCAL = ("shutil", "pathlib", "tempfile", "glob", "os.path")
NUMPY = ("np.save", "np.savez", "np.load", "np.savetxt", "np.fromfile")


def local_calls(tree):
    """Uses of what knows local files only."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found = [alias.name for alias in names if alias.name in LOCAL]
                found += [alias.name for alias in names if alias.name == "os" and alias.asname]
            case ast.ImportFrom(module="os" | "os.path" | "shutil" | "pathlib" as module):
                found = [module]
            case ast.Call(func=ast.Name(id="open")):
                found = ["open"]
            case ast.Call(func=ast.Attribute()) if ast.unparse(node.func) in ("io.open", *NUMPY):
                found = [ast.unparse(node.func)]
            case ast.Attribute() if ast.unparse(node).startswith("os."):
                name = ast.unparse(node).removeprefix("os.")
                known = any(name == each or each.startswith(f"{name}.") for each in HARMLESS)
                known = known or name.startswith("environ.")
                found = [] if known else [f"os.{name}"]
            case _:
                found = []
        yield from (f"line {node.lineno}: {name}" for name in found)


def modules():
    """(path, tree) of every module that handles a work directory."""
    for path in sorted((ROOT / "i2sb_jax").rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        names |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        if any("workdir" in name for name in names):
            yield path.relative_to(ROOT).as_posix(), tree
        elif path.name == "files.py":
            functions = [node for node in tree.body if getattr(node, "name", "") in WRITERS]
            assert len(functions) == len(WRITERS)
            yield path.name, ast.Module(functions, [])


MODULES = dict(modules())
# device files; what goes to the hub
ELSEWHERE = {"i2sb_jax/accelerators/processes.py": {"glob"}, "i2sb_jax/cli/export.py": {"tempfile"}}


def test_what_handles_a_workdir_is_known():
    parts = {path.split("/")[1] for path in MODULES if "/" in path}
    assert {"checkpoint.py", "config", "training", "data", "cli", "accelerators"} <= parts


@pytest.mark.parametrize("path", MODULES)
def test_no_local_file_functions(path):
    found = [line.split(": ")[1] for line in local_calls(MODULES[path])]
    assert set(found) <= ELSEWHERE.get(path, set())


@pytest.mark.parametrize(
    "line",
    ["open(workdir)", "os.makedirs(workdir)", "os.path.join(workdir, 'x')", "import shutil",
     "from pathlib import Path", "from os import path", "os.path.exists(workdir)",
     "os.path.expandvars(workdir)", "os.remove(workdir)", "import glob", "import tempfile",
     "io.open(workdir)", "import os.path as p", "import os as o", "np.save(workdir, x)"],
)  # fmt: skip
def test_they_would_be_found(line):
    assert list(local_calls(ast.parse(line)))


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A folder in memory; checkpoints, which Orbax writes itself, lie on disk."""
    memory_path.clear()
    monkeypatch.setattr(checkpoint, "checkpoint_folder", lambda workdir: tmp_path / "checkpoints")
    yield "memory://bucket/run"
    memory_path.clear()


def read(workdir, name):
    return memory_path.FILES[f"{workdir}/{name}"]


def test_config_metrics_and_pictures_are_written_and_resumed_there(bucket):
    config = tiny.make_config(training={"image_every": 6})
    with pytest.raises(tiny.Killed):
        tiny.train(bucket, config, batches=tiny.killed_after(7))
    before = {name: bytes(data) for name, data in memory_path.FILES.items()}
    assert json.loads(read(bucket, "config.json"))["image_size"] == 16
    steps = [json.loads(line)["step"] for line in read(bucket, "metrics.jsonl").splitlines()]
    assert steps == list(range(1, 8)) and f"{bucket}/images/step_00000006.png" in before
    state = tiny.train(bucket, config)
    assert config_lib.load(bucket) == config and int(state.step) == 12
    lines = [json.loads(line) for line in read(bucket, "metrics.jsonl").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert read(bucket, "images/step_00000012.png").startswith(b"\x89PNG")
    assert f"{bucket}/running.json" not in memory_path.FILES


def test_another_run_there_is_refused(bucket):
    config_lib.save(bucket, tiny.make_config())
    with pytest.raises(ValueError, match="seed is 0 there, 1 here"):
        config_lib.check_same_run(bucket, tiny.make_config(seed=1))
