"""Parameters cut over devices: what a device holds, what devices exchange, and the same losses."""

import json
import subprocess
import sys

import pytest

from tests.cli.evaluations import on_devices

# name -> devices along fsdp (of four), whether blocks are gathered, what is recomputed
VARIANTS = {
    "replicated": (1, True, "none"),
    "cut": (4, True, "none"),
    "both": (2, True, "blocks"),
    "plain": (4, False, "none"),  # cut, and the compiler left to itself
}
SCRIPT = """
import functools, json, re, sys
import jax
from i2sb_jax.run import Run
from i2sb_jax.accelerators import sharding
from i2sb_jax.models import UNet
from tests.training.tiny import make_batch, make_config

NETWORK = {
    "model_channels": 16, "channel_mult": (1.0, 2.0), "attention_downsamples": (2,),
    "head_channels": 16,
}
COLLECTIVES = "all-gather|all-to-all|collective-permute|reduce-scatter"


def run(fsdp, gathers, remat):
    config = make_config(
        mesh={"fsdp": fsdp, "fsdp_min_bytes": 128}, model=NETWORK | {"remat": remat},
    )
    mesh = sharding.make_mesh(fsdp=fsdp)
    places, everywhere = Run(config).state_shardings, sharding.replicated(mesh)
    state = jax.device_put(first, places)
    made = Run(config)
    if not gathers:
        # gathers nothing
        made.__dict__["network"] = UNet(config.unet, per_device=sharding.per_device(mesh))
    step = jax.jit(made.step, out_shardings=(places, everywhere))
    batches = [sharding.global_batch(make_batch(8, seed=i), mesh) for i in range(4)]
    key = jax.device_put(jax.random.key(1), everywhere)
    program = step.lower(state, batches[0], key).compile()
    losses = []
    for batch in batches:
        state, metrics = program(state, batch, key)
        losses.append(float(metrics["loss"]))
    leaves = jax.tree.leaves(state)
    one = jax.devices()[0]
    held = [s.data.nbytes for x in leaves for s in x.addressable_shards if s.device == one]
    found = re.findall(rf"= (\\S+) ({COLLECTIVES})(?:-start)?[(]", program.as_text())
    shapes = [re.search(r"[[]([0-9,]*)[]]", kind)[1] for kind, op in found if op == "all-gather"]
    return {
        "losses": losses,
        "held": sum(held),
        "whole": sum(x.nbytes for x in leaves),
        "gathered": [[int(n) for n in shape.split(",") if n] for shape in shapes],
        "parameters": [list(x.shape) for x in jax.tree.leaves(state.params)],
        "others": sorted({op for _, op in found} - {"all-gather"}),
    }


# made once: what differs is where it lies
first = jax.jit(Run(make_config(model=NETWORK)).init_state)(jax.random.key(0))
variants = json.loads(sys.argv[1])
print(json.dumps({name: run(*variant) for name, variant in variants.items()}))
"""


def run_variants(*names):
    """Name -> what the script tells of a variant; four devices are fixed when JAX starts."""
    variants = json.dumps({name: VARIANTS[name] for name in names})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, variants],
        env=on_devices(4), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def runs():
    return run_variants("replicated", "cut")


@pytest.fixture(scope="module")
def more_runs():
    return run_variants("both", "plain")


def share(run):
    """Of all arrays, in bytes, that one device holds."""
    return run["held"] / run["whole"]


def activations(run):
    """Shapes that are gathered and are no parameter's, in any order of axes."""
    parameters = [sorted(shape) for shape in run["parameters"]]
    return [shape for shape in run["gathered"] if sorted(shape) not in parameters]


def check_gathering(run):
    """Parameters are gathered where they are used, activations are not."""
    kernels = [shape for shape in run["parameters"] if len(shape) == 4]
    assert len(run["gathered"]) >= len(kernels)
    assert not activations(run)
    assert not run["others"]  # no all-to-all above all


def test_a_device_holds_its_part_only(runs):
    assert share(runs["replicated"]) == 1 and share(runs["cut"]) <= 0.3


def test_the_losses_are_those_of_replicated_parameters(runs):
    assert runs["cut"]["losses"] == pytest.approx(runs["replicated"]["losses"], rel=1e-5)


def test_parameters_are_gathered_and_activations_are_not(runs):
    check_gathering(runs["cut"])


def test_replicated_parameters_need_no_gathering(runs):
    assert not runs["replicated"]["gathered"] and not runs["replicated"]["others"]


@pytest.mark.slow
def test_both_axes_and_recomputed_blocks(runs, more_runs):
    both = more_runs["both"]
    assert share(both) <= 0.6
    assert both["losses"] == pytest.approx(runs["replicated"]["losses"], rel=1e-5)
    check_gathering(both)


@pytest.mark.slow
def test_the_compiler_left_to_itself_moves_activations(more_runs):
    """What gathering block by block is for: without it this program would not be FSDP."""
    assert activations(more_runs["plain"]) or more_runs["plain"]["others"]
