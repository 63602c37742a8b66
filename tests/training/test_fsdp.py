"""Parameters cut over devices: what a device holds, what devices exchange, and the same losses."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import collections, functools, json, re, sys
import jax
from i2sb_jax import sharding
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.training import loop
from tests.training.test_loop import Recorder
from tests.training.tiny import endless, make_batch, make_config

workdir, data, fsdp, remat, num_steps = sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:6]
config = make_config(
    mesh={"data": data, "fsdp": fsdp, "fsdp_min_bytes": 128},
    model={
        "model_channels": 16, "channel_mult": (1.0, 2.0), "attention_downsamples": (2,),
        "head_channels": 16, "remat": remat,
    },
    training={"num_steps": int(num_steps), "batch_size": 8, "accumulation_steps": 1},
    data={"crop": "window"},
)
batches = functools.partial(endless, batch_size=8)
state = loop.train(
    config, workdir, batches=batches, eval_batch=make_batch(2), writer=Recorder()
)
trees = state.params, state.ema_params, state.opt_state
leaves = jax.tree.leaves(trees)
one = jax.devices()[0]
held = sum(s.data.nbytes for x in leaves for s in x.addressable_shards if s.device == one)

mesh = sharding.make_mesh(data=data, fsdp=fsdp)
gather = sharding.gather_on_use(mesh, min_bytes=config.mesh.fsdp_min_bytes)
everywhere, on_batch = sharding.replicated(mesh), sharding.batch_sharding(mesh)
step = jax.jit(
    loop.keyed_step(config, gather=gather if sys.argv[6] == "gather" else None),
    out_shardings=(loop.state_shardings(config, mesh), everywhere),
)
abstract = abstract_like(state, loop.state_shardings(config, mesh))
batch = make_batch(8)
key = jax.random.key(0)
program = step.lower(
    abstract,
    abstract_like(batch._replace(name=None), on_batch),
    abstract_like(key, everywhere),
).compile().as_text()
found = re.findall(
    r"= (\\S+) (all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\\(", program
)
shapes = [re.search(r"\\[([\\d,]*)\\]", kind)[1] for kind, op in found if op == "all-gather"]
print(json.dumps({
    "devices": jax.device_count(),
    "held": held,
    "whole": sum(x.nbytes for x in leaves),
    "gathered": [[int(n) for n in shape.split(",") if n] for shape in shapes],
    "parameters": [list(x.shape) for x in jax.tree.leaves(state.params)],
    "others": sorted({op for _, op in found} - {"all-gather"}),
}))
"""


def run(workdir, *, devices, fsdp=1, remat="none", num_steps=4, gather=True):
    """(What the script prints, the losses that were logged)."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, os.fspath(workdir), "-1", str(fsdp), remat,
         str(num_steps), "gather" if gather else "plain"],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return json.loads(done.stdout.splitlines()[-1]), [json.loads(line)["loss"] for line in lines]


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    return run(tmp_path_factory.mktemp("replicated"), devices=4)


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    return run(tmp_path_factory.mktemp("cut"), devices=4, fsdp=4)


def test_a_device_holds_its_part_only(replicated, cut):
    assert replicated[0]["held"] == replicated[0]["whole"]
    assert cut[0]["held"] <= 0.3 * cut[0]["whole"]


def test_the_losses_are_those_of_replicated_parameters(replicated, cut, tmp_path):
    assert cut[1] == pytest.approx(replicated[1], rel=1e-5)
    both = run(tmp_path, devices=4, fsdp=2, remat="blocks")  # 2 × 2, recomputed
    assert both[1] == pytest.approx(replicated[1], rel=1e-5)
    assert both[0]["held"] <= 0.6 * both[0]["whole"]


def is_of_parameters(shape, parameters):
    """Whether these numbers are a parameter's, in any order of axes, folded or not."""
    return sorted(shape) in [sorted(p) for p in parameters]


def test_parameters_are_gathered_and_activations_are_not(replicated, cut):
    assert not replicated[0]["gathered"] and not replicated[0]["others"]
    gathered, parameters = cut[0]["gathered"], cut[0]["parameters"]
    assert len(gathered) >= len([p for p in parameters if len(p) == 4])
    assert all(is_of_parameters(shape, parameters) for shape in gathered)
    assert not cut[0]["others"]  # no all-to-all above all


def test_the_compiler_left_to_itself_moves_activations(tmp_path):
    """What gathering block by block is for: without it this program would not be FSDP."""
    plain, _ = run(tmp_path, devices=4, fsdp=4, num_steps=1, gather=False)
    activations = [x for x in plain["gathered"] if not is_of_parameters(x, plain["parameters"])]
    assert activations or plain["others"]
