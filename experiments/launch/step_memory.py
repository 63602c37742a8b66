"""Memory of ADM-256's training step on accelerators, of two checkouts beside each other.

    pip install 'i2sb_jax[cuda12]'
    git worktree add ../before COMMIT
    python -m experiments.launch.step_memory ../before . [--rows blocks none] [--pictures 16]

Compiles the step of configs/imagenet256 in bfloat16 for eight H100s (no GPU and no driver are
needed; 100 s a compile on two cores that do nothing else, 5 GB), and prints GiB of temporaries and
FLOPs of a device, and the second checkout's divided by the first's. With --topology v5e:4x4 it is a
TPU's compiler (the extra `tpu`; 9 to 12 minutes and 16 GB). FLOPs hold what is computed again. What
cuDNN works in beside its arrays is chosen when a program first runs, and comes on top.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

from i2sb_jax.accelerators import gpus
from i2sb_jax.accelerators.program import read_program

# name -> (model.remat, mesh.fsdp)
ROWS = {
    "blocks": ("blocks", 1),
    "none": ("none", 1),
    "blocks-fsdp8": ("blocks", 8),
    "none-fsdp8": ("none", 8),
    "blocks-fsdp16": ("blocks", 16),
}

# Run with one checkout in PYTHONPATH: it knows nothing of what the other has.
COMPILE = """
import json, os, pathlib, sys
import jax
jax.config.update("jax_platforms", "cpu")
from jax.experimental import topologies
from i2sb_jax.accelerators import sharding
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.config import from_config_dict
from i2sb_jax.configs.imagenet256 import sr4x_pool
from i2sb_jax.run import Run
from i2sb_jax.training import loop
from i2sb_jax.types import Batch

given = json.loads(sys.argv[1])
devices = topologies.get_topology_desc(**given["topology"]).devices
config = sr4x_pool.get_config()
config.model.dtype, config.model.remat = "bfloat16", given["remat"]
config.mesh.fsdp = given["fsdp"]
config.training.accumulation_steps = 1
config.training.batch_size = len(devices) * given["pictures"]
run = Run(from_config_dict(config.to_dict()), devices)
size = config.image_size
picture = jax.ShapeDtypeStruct((config.training.batch_size, size, size, 3), "float32")
batch = abstract_like(Batch(picture, picture), sharding.batch_sharding(run.mesh))
root = jax.eval_shape(lambda: jax.random.key(0))
root = abstract_like(root, sharding.replicated(run.mesh))
state = run.abstract_state
compiled = loop.jitted_step(run, state).lower(state, batch, root, None).compile()
folder = pathlib.Path(given["folder"])
(folder / "text").write_text(compiled.as_text())
memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
names = [name + "_size_in_bytes" for name in ("argument", "output", "alias", "temp")]
names.append("generated_code_size_in_bytes")
(folder / "account").write_text(json.dumps({
    "memory": {name: getattr(memory, name) for name in names},
    "flops": cost and cost["flops"],
}))
"""


@dataclasses.dataclass(frozen=True)
class Kept:
    """What `read_program` asks of a compiled program, of one that another process compiled."""

    text: str
    account: dict[str, Any]

    def as_text(self) -> str:
        return self.text

    def memory_analysis(self) -> Any:
        return argparse.Namespace(**self.account["memory"])

    def cost_analysis(self) -> dict[str, float] | None:
        flops = self.account["flops"]
        return None if flops is None else {"flops": flops}


def main() -> None:
    """Prints a line a row and checkout, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("checkouts", nargs=2, type=pathlib.Path, metavar=("BEFORE", "AFTER"))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS)[:4])
    parser.add_argument("--topology", default="h100:8", help="h100:8, b200:8 … or v5e:4x4 …")
    parser.add_argument("--pictures", type=int, default=16, help="a device")
    given = parser.parse_args()
    for row in given.rows:
        found = []
        for checkout in given.checkouts:
            program = compile_step(checkout.resolve(), row, given.topology, given.pictures)
            found.append((program.memory.temporaries, program.flops))
            print(
                f"{row:14} {found[-1][0] / 2**30:7.2f} GiB {found[-1][1] / 1e12:7.1f} TFLOP  "
                f"{checkout}",
                flush=True,
            )
        ratios = [after / before for before, after in zip(*found, strict=True)]
        print(f"{row:14} {ratios[0]:7.3f}     {ratios[1]:7.3f}        AFTER / BEFORE", flush=True)


def compile_step(checkout: pathlib.Path, row: str, topology: str, pictures: int) -> Any:
    """Returns the account of a checkout's step, a `program.Program`."""
    remat, fsdp = ROWS[row]
    options = {"topology": describe(topology), "remat": remat, "fsdp": fsdp, "pictures": pictures}
    environment = os.environ | {
        "PYTHONPATH": str(checkout),
        "JAX_PLATFORMS": "cpu",
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "none",
        "TPU_WORKER_HOSTNAMES": "localhost",
    }
    with tempfile.TemporaryDirectory() as folder:
        options["folder"] = folder
        subprocess.run(
            [sys.executable, "-c", COMPILE, json.dumps(options)],
            env=environment, cwd=folder, check=True,
        )  # fmt: skip
        text, account = ((pathlib.Path(folder) / name).read_text() for name in ("text", "account"))
    return read_program(Kept(text, json.loads(account)))


def describe(topology: str) -> dict[str, str]:
    """Returns what JAX is to be asked for, GPUs by their description."""
    kind, _, shape = topology.partition(":")
    if kind not in gpus.GPUS:
        return {"platform": "tpu", "topology_name": topology}
    libraries = gpus.installed_libraries(12)
    return {
        "platform": "cuda",
        "topology": f"1x1x{shape}",
        "target_config": gpus.target_config(gpus.GPUS[kind], libraries),
    }


if __name__ == "__main__":
    main()
