"""A run that goes on with other devices than it began on."""

import json
import os
import shutil
import subprocess
import sys

import pytest

SCRIPT = """
import functools, hashlib, sys
import jax, numpy as np
from i2sb_jax.run import Run
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.training import loop
from tests.training.test_loop import Recorder
from tests.training.tiny import endless, make_batch, make_config

workdir, fsdp, num_steps = sys.argv[1], *map(int, sys.argv[2:])
config = make_config(
    mesh={"fsdp": fsdp, "fsdp_min_bytes": 128},
    training={"num_steps": num_steps, "batch_size": 16, "accumulation_steps": 2},
)


def digest(state):
    made = hashlib.sha256()
    for leaf in jax.tree.leaves(jax.device_get(state)):
        made.update(np.ascontiguousarray(leaf))
    return made.hexdigest()


began = "fresh"
with Checkpoints(workdir, read_only=True) as checkpoints:
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(Run(config).abstract_state)
        cut = any(not x.is_fully_replicated for x in jax.tree.leaves(state.params))
        assert cut == (fsdp > 1)
        began = digest(state)
state = loop.train(
    loop.check_start(Run(config), workdir), batches=functools.partial(endless, batch_size=16),
    eval_batch=make_batch(2), writer=Recorder(),
)
print(began, digest(state))
"""


def go_on(workdir, *, devices, fsdp, num_steps):
    """(Digest of the state that was restored, that of the last one, all losses so far)."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, os.fspath(workdir), str(fsdp), str(num_steps)],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    began, ended = done.stdout.split()[-2:]
    return began, ended, [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
def test_from_eight_devices_to_two_to_one(tmp_path):
    stays, moves = tmp_path / "stays", tmp_path / "moves"
    _, saved, _ = go_on(stays, devices=8, fsdp=4, num_steps=4)
    shutil.copytree(stays, moves)
    on_eight, _, expected = go_on(stays, devices=8, fsdp=4, num_steps=24)
    assert on_eight == saved and len(expected) == 24
    on_two, saved_by_two, losses = go_on(moves, devices=2, fsdp=2, num_steps=14)
    assert on_two == saved
    assert losses == pytest.approx(expected[:14], rel=1e-5)
    on_one, _, losses = go_on(moves, devices=1, fsdp=1, num_steps=24)
    assert on_one == saved_by_two
    assert losses == pytest.approx(expected, rel=1e-5)
