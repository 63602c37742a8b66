"""i2sb-train in processes of its own, for tests that stop and kill it."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.cli import train
from i2sb_jax.run import Run

ROOT = pathlib.Path(__file__).parent.parent.parent
TINY = {
    "image_size": 16,
    "model.model_channels": 8,
    "model.channel_mult": "(1.0,)",
    "model.head_channels": 8,
    "training.num_steps": 120,  # long enough for a signal to arrive in time
    "training.batch_size": 4,
    "training.log_every": 1,
    "training.checkpoint_every": 1000,
    "training.image_every": 1000,
    "sampling.batch_size": 2,
}

STARTED = []


def start(workdir, number=None, port=None, config="small_adm.py", **overrides):
    """i2sb-train; with a number it is that one of two processes."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    if number is not None:
        environment |= {
            "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(number),
        }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    STARTED.append(
        subprocess.Popen(command(workdir, config, **overrides), env=environment, **pipes)
    )
    return STARTED[-1]


def command(workdir, config="small_adm.py", **overrides):
    return [sys.executable, "-m", "i2sb_jax.cli.train", *arguments(workdir, config, **overrides)]


def arguments(workdir, config="small_adm.py", **overrides):
    """Of i2sb-train: a config file, made tiny."""
    return [
        *(f"--config={ROOT}/configs/{config}", f"--workdir={workdir}"),
        *(f"--config.{key}={value}" for key, value in (TINY | overrides).items()),
    ]


def run_here(workdir, **overrides):
    """i2sb-train in this process, which starts in a second and joins no group -> its status."""
    with pytest.MonkeyPatch.context() as patch:
        given = arguments(workdir, distributed="off", **overrides)
        patch.setattr(sys, "argv", ["i2sb-train", *given])
        patch.setattr(sys, "path", list(sys.path))
        with pytest.raises(SystemExit) as stop:
            train.main()
    return stop.value.code


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


def last_state(workdir):
    abstract = Run(config_lib.load(workdir)).abstract_state
    with Checkpoints(workdir, read_only=True) as checkpoints:
        return checkpoints.restore(abstract)


def losses_of(workdir):
    """The logged losses to their last bit; every step once, in order."""
    lines = logged(workdir)
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["loss_hex"] for line in lines]


def kill(process, workdir, draw, *, in_a_save):
    """SIGKILL at a random moment after the run went on, or as soon as a save has begun."""
    before, deadline = len(logged(workdir)), time.monotonic() + 240
    while True:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        if any(workdir.glob("checkpoints/*tmp*")) if in_a_save else len(logged(workdir)) != before:
            break
        time.sleep(0.002)
    time.sleep(0 if in_a_save else draw.uniform(0, 0.4))
    assert process.poll() is None  # there is something to kill
    process.kill()
    process.communicate()
