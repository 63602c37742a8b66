"""The same figures on one device and four, in two processes, and after kills, with real networks.

Minutes: Inception and ResNet-50 are compiled for each kind of mesh.
"""

import os
import signal
import subprocess
import time

import pytest

pytest.importorskip("tensorflow")

from i2sb_jax.accelerators.processes import alone
from tests.cli import evaluations
from tests.cli.evaluations import assert_same_figures, command, figures, on_devices, run_apart

pytestmark = pytest.mark.slow
COUNT = 11


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    root = tmp_path_factory.mktemp("meshes")
    # auto: a process alone joins a group of one, as a person's does
    evaluations.make_model(root / "model")
    evaluations.write_pictures(root / "clean", COUNT)
    names = "".join(f"{number:02d}.png {number * 7}\n" for number in range(COUNT))
    (root / "list.txt").write_text(names)
    weights = [f"--{name}={evaluations.write_weights(root, name)}" for name in ("inception",
               "resnet50")]  # fmt: skip
    return ["--model", root / "model", "--data", root / "clean", "--list", root / "list.txt",
            "--nfe", "1,2,5", "--any-weights", *weights]  # fmt: skip


@pytest.fixture(scope="module")
def on_one(common, tmp_path_factory):
    output = tmp_path_factory.mktemp("one") / "e"
    run_apart(*common, "--output", output)
    found = figures(output)
    assert set(found["nfe 5"]) == {"psnr", "ssim", "fid", "kid", "accuracy"}
    assert found["nfe 5"]["fid"]["value"] > 0 and found["nfe 5"]["accuracy"]["pictures"] == COUNT
    return found


def test_on_four_devices(common, on_one, tmp_path):
    run_apart(*common, "--output", tmp_path / "e", devices=4)
    assert_same_figures(on_one, figures(tmp_path / "e"))


def test_in_two_processes(common, on_one, tmp_path):
    address = alone().arguments["coordinator_address"]
    group = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    model = common[1].parent / "in-a-group"
    evaluations.make_model(model, distributed="on")
    arguments = command("--model", model, *common[2:], "--output", tmp_path / "e")
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        started = [
            subprocess.Popen(
                arguments, env=on_devices(2, JAX_PROCESS_ID=str(number), **group),
                stdout=subprocess.DEVNULL, stderr=file,
            )
            for number in range(2)
        ]  # fmt: skip
        try:
            statuses = [process.wait(timeout=500) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
    assert statuses == [0, 0], errors.read_text()
    assert_same_figures(on_one, figures(tmp_path / "e"))


@pytest.mark.parametrize("when", ["pictures/nfe-2", "scores/degraded"])
def test_after_a_kill_in_the_middle_on_other_devices(common, on_one, tmp_path, when):
    arguments, output = command(*common, "--output", tmp_path / "e"), tmp_path / "e"
    process = subprocess.Popen(arguments, env=on_devices(1), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list(output.glob(f"{when}/*.npz")):  # the first shards of it are there
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "results.json").exists()
    kept = {p: os.stat(p).st_mtime_ns for p in output.glob("pictures/nfe-1/*.npz")}
    assert len(kept) == -(-COUNT // 2)
    run_apart(*common, "--output", output, devices=2)
    assert {path: os.stat(path).st_mtime_ns for path in kept} == kept
    assert_same_figures(on_one, figures(output))
