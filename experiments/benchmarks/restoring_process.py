"""Restores pictures on request, told part by part; `restoring` runs it in a process of its own.

    python experiments/benchmarks/restoring_process.py MODEL [KEY=VALUE ...]

The package that it measures is the one on PYTHONPATH, of this checkout or of an older one: nothing
but what both have is used. MODEL is made if it is not there: the quickstart's network, its model's
keys changed by KEY=VALUE in JSON, with random weights that are nowhere zero. Each line of standard
input is a request in JSON, {"source": …, "output": …, "options": {…}}, each line of standard output
its answer.
"""

import json
import pathlib
import re
import resource
import sys
import time

import jax
import jax.numpy as jnp

from i2sb_jax import config, interop, models
from i2sb_jax.configs import quickstart
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options


def make_model(folder: pathlib.Path, changes: dict) -> None:
    """Writes the quickstart's network with random weights."""
    chosen = quickstart.get_config()
    for key, value in changes.items():
        chosen.model[key] = value
    run = config.from_config_dict(chosen.to_dict())
    network = models.UNet(run.model.unet_config(in_channels=3))
    pictures = jnp.zeros((1, run.image_size, run.image_size, 3)), jnp.zeros((1,))
    params = jax.jit(network.init)(jax.random.key(0), *pictures)["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [x + 0.02 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    interop.save_model(folder, run, jax.device_get(jax.tree.unflatten(tree, leaves)))


def restore(model: str, request: dict) -> dict[str, float]:
    """Seconds from the compiled program on, and bytes of memory."""
    marks = []
    prepare = Restorer.prepare

    def marked(self, *args, **kwargs):
        prepare(self, *args, **kwargs)
        marks[:] = [time.perf_counter(), _cpu_seconds()]

    Restorer.prepare = marked
    try:
        restore_folder(
            model, request["source"], request["output"], Options(**request["options"]), quiet=True
        )
    finally:
        Restorer.prepare = prepare
    return {
        "seconds": time.perf_counter() - marks[0],
        "processor seconds": _cpu_seconds() - marks[1],
        "resident bytes": _status("VmRSS"),
        "peak resident bytes": _status("VmHWM"),
    }


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _status(name: str) -> int:
    text = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", text)[1])


def main() -> None:
    """Answers until standard input ends."""
    model, *changes = sys.argv[1:]
    pairs = (change.split("=", 1) for change in changes)
    if not pathlib.Path(model).exists():
        make_model(pathlib.Path(model), {key: json.loads(value) for key, value in pairs})
    for line in sys.stdin:
        print(json.dumps(restore(model, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
