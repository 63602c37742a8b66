"""SIGTERM, several processes, exit status: what a scheduler sees of i2sb-train."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

ROOT = pathlib.Path(__file__).parent.parent.parent
TINY = {
    "image_size": 16,
    "model.model_channels": 8,
    "model.head_channels": 8,
    "training.num_steps": 120,  # long enough for a signal to arrive in time
    "training.batch_size": 4,
    "training.log_every": 1,
    "training.checkpoint_every": 1000,
    "training.image_every": 1000,
    "sampling.batch_size": 2,
}


def start(workdir, number=None, port=None, **overrides):
    """i2sb-train; with a number it is that one of two processes."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    if number is not None:
        environment |= {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(number),
        }
    return subprocess.Popen(
        [sys.executable, "-m", "i2sb_jax.cli.train", f"--config={ROOT}/configs/quickstart.py",
         f"--workdir={workdir}", *(f"--config.{k}={v}" for k, v in (TINY | overrides).items())],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process, timeout=240):
    out, err = process.communicate(timeout=timeout)
    assert "Traceback" not in err, err
    # Gloo, which joins processes on CPUs, says so on stdout
    lines = [line for line in out.splitlines() if not line.startswith("[Gloo]")]
    return process.returncode, "\n".join(lines), err


def logged(workdir):
    log = workdir / "metrics.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def wait_for_steps(workdir, count, process):
    deadline = time.monotonic() + 240
    while len(logged(workdir)) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def saved_steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The losses of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    status, *_ = finish(start(workdir))
    assert status == 0
    return [line["loss_hex"] for line in logged(workdir)]


def test_a_sigterm_saves_the_step_and_the_run_goes_on_from_it(whole, tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir)
    wait_for_steps(workdir, 3, process)
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process)
    assert status == 75
    step = int(re.search(r"stopped at step (\d+), which is saved", err)[1])
    assert saved_steps(workdir) == [step] and 3 <= step < 120
    assert finish(start(workdir))[0] == 0
    assert [line["loss_hex"] for line in logged(workdir)] == whole
    assert finish(start(workdir))[0] == 0  # a finished run has nothing to do


def test_two_processes_stop_at_the_same_step(whole, tmp_path):
    workdir, port = tmp_path / "run", free_port()
    pair = [start(workdir, number, port) for number in range(2)]
    wait_for_steps(workdir, 3, pair[0])
    pair[1].send_signal(signal.SIGTERM)
    ends = [finish(process) for process in pair]
    assert [status for status, *_ in ends] == [75, 75]
    steps = {re.search(r"stopped at step (\d+)", err)[1] for *_, err in ends}
    assert [str(step) for step in saved_steps(workdir)] == list(steps)
    assert "in 2 processes" in ends[0][1] and ends[1][1] == ""
    # half of each batch a process: the run of one process, but for the order of sums
    losses = [line["loss"] for line in logged(workdir)]
    assert losses == pytest.approx([float.fromhex(x) for x in whole[: len(losses)]], rel=1e-5)


def test_a_workdir_that_not_all_processes_see(tmp_path):
    port = free_port()
    pair = [start(tmp_path / str(number), number, port) for number in range(2)]
    for status, out, err in map(finish, pair):
        assert (status, out) == (2, "")
        (line,) = (line for line in err.splitlines() if line.startswith("error"))
        assert "is not the same folder for all" in line and "processes 1 do not see it" in line
    assert not (tmp_path / "1").exists() and not list((tmp_path / "0").iterdir())


def test_a_loss_that_is_not_finite_has_a_status_of_its_own(tmp_path):
    status, _, err = finish(start(tmp_path / "run", **{"optimizer.learning_rate": 1e30}))
    assert status == 3
    (line,) = (line for line in err.splitlines() if line.startswith("error"))
    assert re.search(r"(loss|grad_norm) is (nan|inf) at step \d+: stopped without saving", line)


def test_who_insists_on_a_launcher_gets_one_line(tmp_path):
    status, _, err = finish(start(tmp_path / "run", distributed="on"))
    assert status == 2 and err.startswith("error: distributed='on' and no launcher")
    assert not (tmp_path / "run").exists()
