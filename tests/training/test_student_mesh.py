"""A student's three networks cut over devices: the same losses, and each device holds a part."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import functools, json
import jax
from i2sb_jax.run import Run
from tests.training.tiny import held_by_the_first, make_config, three_steps


def run(fsdp):
    config = make_config(
        teacher="T", mesh={"fsdp": fsdp, "fsdp_min_bytes": 1024}, sampling={"nfe": 1},
        distill={"auxiliary_updates": 2}, training={"batch_size": 8, "accumulation_steps": 2},
    )
    run = Run(config)
    first = jax.jit(run.init_state)(jax.random.key(0))
    shardings = jax.tree.map(lambda x: x.sharding, run.abstract_weights)
    copy = jax.jit(lambda x: jax.tree.map(jax.numpy.copy, x), out_shardings=shardings)
    teacher = copy(first.auxiliary_params)  # which is donated with the state
    state = jax.device_put(first, run.state_shardings)
    held = held_by_the_first((state, teacher))
    losses = [
        [float(metrics[name]) for name in ("loss", "auxiliary_loss")]
        for metrics in three_steps(run, state, teacher)
    ]
    return {"losses": losses, "held": held}


print(json.dumps([run(1), run(2), run(4)]))
"""


@pytest.mark.slow
def test_a_student_on_cut_parameters_is_the_same_student():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ | flags, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    whole, *cut = json.loads(done.stdout.splitlines()[-1])
    for number, run in zip((2, 4), cut, strict=True):
        for found, expected in zip(run["losses"], whole["losses"], strict=True):
            assert found == pytest.approx(expected, rel=2e-3, abs=1e-6)
        assert run["held"] <= whole["held"] * (1 / number + 0.15)
