"""The frozen model that a bridge starts at, cut over devices as the bridge's own network is."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import jax
from i2sb_jax import interop
from i2sb_jax.run import Run
from tests.restoration.test_restorer import random_params
from tests.training.tiny import held_by_the_first, make_config, three_steps

folder = sys.argv[1]
theirs = make_config()
interop.save_model(folder, theirs, random_params(theirs))


def run(fsdp):
    run = Run(make_config(
        bridge={"start": folder}, mesh={"fsdp": fsdp, "fsdp_min_bytes": 1024},
        training={"batch_size": 8, "accumulation_steps": 2},
    ))
    state = jax.device_put(jax.jit(run.init_state)(jax.random.key(0)), run.state_shardings)
    frozen = interop.load_weights(folder, run.abstract_frozen)
    held = held_by_the_first(frozen)
    losses = [float(metrics["loss"]) for metrics in three_steps(run, state, frozen)]
    return {"losses": losses, "held": held}


print(json.dumps([run(1), run(2)]))
"""


@pytest.mark.slow
def test_on_cut_parameters_the_start_is_the_same(tmp_path):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, os.fspath(tmp_path)],
        env=os.environ | flags, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    whole, cut = json.loads(done.stdout.splitlines()[-1])
    assert cut["losses"] == pytest.approx(whole["losses"], rel=2e-3)
    assert cut["held"] <= whole["held"] * 0.65
