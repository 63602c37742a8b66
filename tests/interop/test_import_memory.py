"""Importing takes the memory of one tensor, not of the file."""

import json
import pathlib
import subprocess
import sys

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.interop.adm import parameter_table
from i2sb_jax.models import adm_256
from tests.interop.latest import make_run
from tests.interop.torch_writer import Zeros, write_torch_file
from tests.models.networks import manifest

ROOT = pathlib.Path(__file__).parent.parent.parent

PEAK = """
import json, pathlib, sys, threading, time
sys.path.insert(0, {root!r})
from i2sb_jax import config as config_lib
from i2sb_jax.interop import import_weights

def anonymous():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024

def watch():
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.002)

config = config_lib.load({config!r})
before = anonymous()
peak = [before]
threading.Thread(target=watch, daemon=True).start()
imported = import_weights({source!r}, {output!r}, config)
print(json.dumps([before, peak[0], imported.parameters]))
"""


def import_elsewhere(tmp_path, source, config):
    """(memory before, at most, parameters) of an import in a process of its own."""
    config_lib.save(tmp_path / "config", config)
    program = PEAK.format(
        root=str(ROOT),
        config=str(tmp_path / "config"),
        source=str(source),
        output=str(tmp_path / "run"),
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


ADM_MODEL = {
    "model_channels": 256,
    "channel_mult": (1.0, 1.0, 2.0, 2.0, 4.0, 4.0),
    "num_res_blocks": 2,
    "attention_downsamples": (8, 16, 32),
    "head_channels": 64,
    "norm_groups": 32,
}


def zeros(shapes):
    return {name: Zeros(shape) for name, shape in shapes.items()}


def full_checkpoint(shapes):
    """Net, averages and Adam's two moments, as training leaves them."""
    net = zeros({f"diffusion_model.{name}": shape for name, shape in shapes.items()})
    moments = {
        i: {"step": 1, "exp_avg": Zeros(shape), "exp_avg_sq": Zeros(shape)}
        for i, shape in enumerate(shapes.values())
    }
    groups = [{"lr": 5e-5, "params": list(range(len(shapes)))}]
    return {
        "net": net,
        "ema": {"decay": 0.99, "num_updates": 1, "shadow_params": list(zeros(shapes).values()),
                "collected_params": []},
        "optimizer": {"state": moments, "param_groups": groups},
        "sched": {"last_epoch": 1},
    }  # fmt: skip


def test_only_what_is_wanted_is_read_and_one_tensor_at_a_time(tmp_path):
    model = {**ADM_MODEL, "model_channels": 64, "channel_mult": (1.0, 2.0, 4.0),
             "attention_downsamples": (4,)}  # fmt: skip
    unet = adm_256(**model)
    shapes = {entry.torch_name: entry.torch_shape for entry in parameter_table(unet)}
    write_torch_file(tmp_path / "latest.pt", full_checkpoint(shapes))
    config = make_run(model=model)
    before, peak, parameters = import_elsewhere(tmp_path, tmp_path / "latest.pt", config)
    assert parameters > 15_000_000
    assert peak - before < 0.5 * 4 * parameters


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adm", "full"])
def test_memory_at_full_size(tmp_path, kind):
    shapes = manifest("adm256")
    contents = zeros(shapes) if kind == "adm" else full_checkpoint(shapes)
    write_torch_file(tmp_path / "weights.pt", contents)
    config = make_run(model=ADM_MODEL)
    before, peak, parameters = import_elsewhere(tmp_path, tmp_path / "weights.pt", config)
    print(f"{kind}: {peak / 2**20:.0f} MiB at most, {before / 2**20:.0f} before")
    assert parameters == 552_807_171
    assert peak <= 1.3 * 4 * parameters
