"""The batch script with stand-ins for Slurm's commands: what goes back into the queue."""

import os
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent.parent / "experiments" / "launch" / "slurm.sh"


@pytest.fixture
def submit(tmp_path):
    """(status of srun, checkpoint that it leaves) -> (status, whether it was requeued, stderr)."""
    stubs, log = tmp_path / "bin", tmp_path / "requeued"
    stubs.mkdir()
    srun = '#!/bin/sh\n[ -n "$LEAVES" ] && mkdir -p "$5/checkpoints/$LEAVES"\nexit "$STATUS"\n'
    scontrol = f'#!/bin/sh\necho "$@" >> {log}\n'
    python = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    squeue = '#!/bin/sh\necho "$STATE"\n'
    tools = {"srun": srun, "scontrol": scontrol, "squeue": squeue, "python3": python}
    for name, text in tools.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)

    def run(status, leaves="", state="RUNNING"):
        before = log.read_text() if log.exists() else ""
        done = subprocess.run(
            ["bash", SCRIPT, "config.py", tmp_path / "run", "--config.seed=1"],
            env=os.environ | {
                "PATH": f"{stubs}:{os.environ['PATH']}", "SLURM_JOB_ID": "42",
                "SLURM_SUBMIT_DIR": os.fspath(tmp_path), "STATUS": str(status),
                "LEAVES": str(leaves), "STATE": state,
            },
            capture_output=True, text=True,
        )  # fmt: skip
        after = log.read_text() if log.exists() else ""
        assert after[len(before) :] in ("", "requeue 42\n")
        return done.returncode, after != before, done.stderr

    return run


@pytest.mark.parametrize("status", [75, 137, 143, 139])
def test_what_can_go_on_goes_back_into_the_queue(submit, status):
    code, requeued, err = submit(status, leaves=10)
    assert (code, requeued) == (0, True) and "to go on from step 10" in err


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_what_cannot_ends_with_its_status(submit, status):
    assert submit(status, leaves=10)[:2] == (status, False)


def test_a_cancelled_job_does_not_come_back(submit):
    assert submit(75, leaves=10, state="COMPLETING")[:2] == (75, False)


def test_three_restarts_without_a_newer_checkpoint_are_enough(submit):
    assert [submit(75)[1] for _ in range(4)] == [True, True, True, False]
    status, _, err = submit(75)
    assert status == 75 and "given up: 3 restarts and no checkpoint after step 0" in err


def test_a_newer_checkpoint_gives_new_tries(submit):
    assert [submit(137, leaves=5)[1] for _ in range(4)] == [True, True, True, False]
    assert [submit(137, leaves=9)[1] for _ in range(4)] == [True, True, True, False]
    assert [submit(137, leaves=100)[1] for _ in range(2)] == [True, True]


def test_too_few_words_are_told(tmp_path):
    done = subprocess.run(["bash", SCRIPT, "config.py"], capture_output=True, text=True)
    assert done.returncode == 2 and "CONFIG WORKDIR" in done.stderr
