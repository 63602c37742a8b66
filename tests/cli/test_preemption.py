"""Kills, SIGTERM, several processes, exit status: what a scheduler sees of i2sb-train."""

import os
import random
import re
import shlex
import signal
import socket
import subprocess

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

from i2sb_jax.cli import train
from tests.cli.runs import (
    TINY,
    arguments,
    command,
    finish,
    kill,
    last_state,
    losses_of,
    run_here,
    saved_steps,
    start,
    wait_for_steps,
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The folder of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert run_here(workdir) == 0
    return workdir


@pytest.fixture(scope="module")
def whole(whole_run):
    return losses_of(whole_run)


@pytest.mark.slow  # tests/training/test_loop.py kills runs within this process
@pytest.mark.parametrize("kills, steps", [(2, 120), (20, 900)])
def test_a_run_that_is_killed_again_and_again_is_the_same_run(whole_run, tmp_path, kills, steps):
    workdir, draw = tmp_path / "run", random.Random(kills)
    options = {"training.num_steps": steps}
    if steps != TINY["training.num_steps"]:
        whole_run = tmp_path / "whole"
        assert finish(start(whole_run, **options))[0] == 0
    often = options | {"training.checkpoint_every": 4, "training.image_every": 9}
    for number in range(kills):
        kill(start(workdir, **often), workdir, draw, in_a_save=number % 3 == 1)
    assert finish(start(workdir, **options))[0] == 0
    assert losses_of(workdir) == losses_of(whole_run)
    jax.tree.map(np.testing.assert_array_equal, last_state(workdir), last_state(whole_run))
    assert not list(workdir.glob("checkpoints/*tmp*"))


def test_a_sigterm_saves_the_step_and_the_run_goes_on_from_it(whole, tmp_path):
    workdir = tmp_path / "run"
    process = start(workdir)
    wait_for_steps(workdir, 3, process)
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process)
    assert status == 75
    step = int(re.search(r"stopped at step (\d+), which is saved", err)[1])
    assert saved_steps(workdir) == [step] and 3 <= step < 120
    assert run_here(workdir) == 0
    assert losses_of(workdir) == whole


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_also_while_they_evaluate(whole, tmp_path):
    workdir, port = tmp_path / "run", free_port()
    evaluates = {"training.image_every": 3, "sampling.nfe": 50}
    pair = [start(workdir, number, port, **evaluates) for number in range(2)]
    wait_for_steps(workdir, 3, pair[0])  # what follows step 3 takes seconds
    assert not (workdir / "images").exists()
    pair[1].send_signal(signal.SIGTERM)
    ends = [finish(process) for process in pair]
    assert [status for status, *_ in ends] == [75, 75]
    steps = {re.search(r"stopped at step (\d+)", err)[1] for *_, err in ends}
    assert [str(step) for step in saved_steps(workdir)] == list(steps)
    assert steps <= {"4", "5"} and (workdir / "images" / "step_00000003.png").exists()
    assert "in 2 processes" in ends[0][1] and ends[1][1] == ""
    # half of each batch a process: the run of one process, but for the order of sums
    assert finish(start(workdir))[0] == 0  # alone
    losses = [float.fromhex(loss) for loss in losses_of(workdir)]
    assert losses == pytest.approx([float.fromhex(loss) for loss in whole], rel=1e-4)
    assert losses[:20] == pytest.approx([float.fromhex(loss) for loss in whole[:20]], rel=1e-5)


def test_a_workdir_that_not_all_processes_see(tmp_path):
    port = free_port()
    pair = [start(tmp_path / str(number), number, port) for number in range(2)]
    for status, out, err in map(finish, pair):
        assert (status, out) == (2, "")
        (line,) = (line for line in err.splitlines() if line.startswith("error"))
        assert "is not the same folder for all" in line and "processes 1 do not see it" in line
    assert not (tmp_path / "1").exists() and not list((tmp_path / "0").iterdir())


@pytest.mark.slow  # as tests/cli/test_not_finite.py has it, but for the process
def test_a_loss_that_is_not_finite_has_a_status_of_its_own(tmp_path):
    status, _, err = finish(start(tmp_path / "run", **{"optimizer.learning_rate": 1e30}))
    assert status == 3
    (line,) = (line for line in err.splitlines() if line.startswith("error"))
    assert re.search(r"(loss|grad_norm) is (nan|inf) at step \d+: ", line)


def test_who_insists_on_a_launcher_gets_one_line(complaints, tmp_path):
    status, (line,) = complaints(train, *arguments(tmp_path / "run", distributed="on"))
    assert status == 2 and line.startswith("error: distributed='on' and no launcher")
    assert not (tmp_path / "run").exists()


FULL_DISK = """
mount -t tmpfs -o size=3m tmpfs {run} || exit 99
{first} >{out}/1.out 2>{out}/1.err; echo $? >{out}/1.status
ls {run}/checkpoints >{out}/1.checkpoints
mount -o remount,size=300m {run}
{then} >{out}/2.out 2>{out}/2.err; echo $? >{out}/2.status
cp {run}/metrics.jsonl {out}
"""


@pytest.mark.slow
def test_a_full_disk_fails_the_save_and_keeps_the_last_one(whole, tmp_path):
    """A disk of 3 MB, made larger afterwards: the run goes on from what was saved."""
    run, often = tmp_path / "run", {"training.checkpoint_every": 2, "training.keep_checkpoints": 99}
    run.mkdir()
    first, then = shlex.join(command(run, **often)), shlex.join(command(run))
    script = FULL_DISK.format(run=run, out=tmp_path, first=first, then=then)
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    # a mount of this process alone, for those who are not root too
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], env=environment)
    if done.returncode == 99 or not (tmp_path / "1.status").exists():
        pytest.skip("no small disk can be mounted here")
    assert [(tmp_path / f"{i}.status").read_text() for i in (1, 2)] == ["2\n", "0\n"]
    err = (tmp_path / "1.err").read_text()
    assert "Traceback" not in err and "Event loop" not in err
    (line,) = (line for line in err.splitlines() if line.startswith("error"))
    assert line.startswith(f"error: a checkpoint in {run}/checkpoints could not be saved (")
    assert "No space left on device" in line
    kept = [int(x) for x in (tmp_path / "1.checkpoints").read_text().split() if x.isdecimal()]
    assert kept and f"that of step {max(kept)} is complete" in line
    assert losses_of(tmp_path) == whole


@pytest.mark.slow  # as tests/training/test_claim.py has it, but for the processes
def test_of_two_runs_in_one_workdir_the_later_goes_on(whole, tmp_path):
    workdir = tmp_path / "run"
    first = start(workdir, **{"training.checkpoint_every": 1})  # slow
    wait_for_steps(workdir, 3, first)
    second = start(workdir)
    status, _, err = finish(first)
    assert status == 2
    (line,) = (x for x in err.splitlines() if x.startswith("error"))
    assert f"has taken over {workdir}: this one stops" in line
    assert f"process {second.pid}, since 20" in line
    status, _, err = finish(second)
    assert status == 0, err
    assert losses_of(workdir) == whole and not (workdir / "running.json").exists()
