"""The step as compilers of accelerators make it, on a machine that has none of them."""

import importlib.util
import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fully_optimized")]

SCRIPT = """
import json, sys
from i2sb_jax.accelerators import topologies
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import dry_run
from tests.training.tiny import make_config

found = topologies.describe(sys.argv[1])
for fsdp in (1, 2):
    config = make_config(
        model={"dtype": "bfloat16", "model_channels": 32, "head_channels": 32},
        mesh={"fsdp": fsdp, "fsdp_min_bytes": 4096},
        training={"batch_size": 8},
    )
    program = dry_run(Run(config, found.devices)).program
    told = program._asdict() | {"memory": program.memory._asdict(), "room": found.memory}
    print(json.dumps(told | {"collectives": dict(program.collectives)}))
"""


def accounts(topology):
    """Of the step with its parameters on both devices, and cut over them."""
    out = subprocess.run(
        [sys.executable, "-c", SCRIPT, topology], check=True, capture_output=True, text=True
    ).stdout
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def check_memory(whole, cut, *, most=16 * 2**20):
    # large tensors are halved: of parameters, their average and two moments
    assert cut["memory"]["arguments"] < 0.6 * whole["memory"]["arguments"]
    for each in (whole, cut):
        # a step of so few pictures keeps less than its state, its gradients and their copies
        assert 0 < each["memory"]["temporaries"] < most
        assert each["uncounted"] == 0


@pytest.mark.skipif(
    not any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)),
    reason="needs the extra cuda12 or cuda13",
)
def test_two_gpus():
    whole, cut = accounts("h100:2")
    check_memory(whole, cut)
    assert set(whole["collectives"]) == {"all-reduce"}
    assert {"all-gather", "reduce-scatter"} <= set(cut["collectives"])
    assert "all-to-all" not in cut["collectives"]
    for each in (whole, cut):
        calls = " ".join(each["libraries"])
        for kind in ("Forward", "BackwardInput", "BackwardFilter"):
            assert kind in calls
        assert each["room"] > 2**36
    # the same products, however they lie
    assert cut["flops"] == pytest.approx(whole["flops"], rel=0.02)


@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs the extra tpu")
def test_two_chips_of_a_tpu():
    whole, cut = accounts("v5e:1x2")
    check_memory(whole, cut, most=32 * 2**20)  # its maps lie in rows of 128 channels
    assert set(whole["collectives"]) == {"all-reduce"}
    assert "all-gather" in cut["collectives"] and "all-to-all" not in cut["collectives"]
    assert whole["room"] is None  # this compiler knows
