"""Attention on several CPU devices: each computes its own pictures, and none is exchanged."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("fully_optimized")

SCRIPT = """
import json
import jax
import jax.numpy as jnp
import numpy as np
from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.program import read_program
from i2sb_jax.models import UNet
from i2sb_jax.models.attention import attention
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import dry_run
from tests.training.tiny import make_config

rng = np.random.default_rng(0)
arrays = [rng.standard_normal((8, 64, 2, 8)).astype(np.float32) for _ in range(3)]


def measure(devices, divides):
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    per_device = sharding.per_device(mesh) if divides else None

    def loss(*arrays):
        return jnp.sin(attention(*arrays, per_device=per_device)).sum()

    given = jax.device_put(arrays, sharding.batch_sharding(mesh))
    gradients = jax.jit(jax.grad(loss, (0, 1, 2)))
    compiled = gradients.lower(*given).compile()
    program = read_program(compiled)
    values = np.concatenate([np.asarray(x).ravel() for x in compiled(*given)])
    found = {"flops": program.flops, "exchanged": sorted(program.collectives)}
    # seven pictures cannot be divided, and are not refused
    odd = gradients(*(x[:7] for x in arrays))[0]
    return found, values, np.asarray(odd)


one, expected, expected_odd = measure(1, True)
four, values, odd = measure(4, True)
control, _, _ = measure(4, False)
np.testing.assert_allclose(values, expected, atol=1e-5)
np.testing.assert_allclose(odd, expected_odd, atol=1e-5)

config = make_config(training={"batch_size": 8}, model={"attention_downsamples": (2,)})
step, undivided = Run(config), Run(config)
undivided.__dict__["network"] = UNet(config.unet)
step, step_control = (sorted(dry_run(run).program.collectives) for run in (step, undivided))
print(json.dumps({
    "one": one, "four": four, "control": control, "step": step, "step control": step_control,
}))
"""


@pytest.mark.slow
def test_each_cpu_device_has_its_share_of_attention():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | flags, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["four"]["exchanged"] == []
    assert found["four"]["flops"] == pytest.approx(found["one"]["flops"] / 4, rel=0.01)
    assert found["step"] == ["all-reduce"]  # of gradients
    # the compiler left to itself: each device gathers the batch and computes all of it
    assert "all-gather" in found["control"]["exchanged"]
    assert found["control"]["flops"] > 3.5 * found["four"]["flops"]
    assert "all-gather" in found["step control"]
