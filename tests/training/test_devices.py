"""The same run on one device and on two."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import jax
from i2sb_jax.training import loop
from tests.training.test_loop import Recorder
from tests.training.tiny import endless, make_batch, make_config

config = make_config(training={"num_steps": 6, "accumulation_steps": 2})
loop.train(config, sys.argv[1], batches=endless, eval_batch=make_batch(2), writer=Recorder())
print(json.dumps(jax.device_count()))
"""


def losses(workdir, devices):
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, os.fspath(workdir)],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(done.stdout.splitlines()[-1]) == devices
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_losses_do_not_depend_on_the_number_of_devices(tmp_path):
    one, two = (losses(tmp_path / str(count), count) for count in (1, 2))
    assert len(one) == 6
    assert two == pytest.approx(one, rel=1e-5)
