"""From published files to model folders: what is written, said and refused."""

import hashlib
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.interop import (
    export_model,
    import_weights,
    load_i2sb,
    load_model_folder,
    read_provenance,
    read_torch_file,
    save_model,
)
from i2sb_jax.interop.adm import parameter_table
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.models import adm_256
from i2sb_jax.restoration import Restorer
from tests.interop.latest import PATH, UNET, make_run
from tests.interop.torch_writer import Zeros, write_torch_file
from tests.models.networks import hashed_params, manifest

ROOT = pathlib.Path(__file__).parent.parent.parent


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("weights", ["net", "ema"])
def test_a_checkpoint_becomes_a_model_folder(tmp_path, weights):
    config, folder = make_run(), tmp_path / "run"
    imported = import_weights(PATH, folder, config, weights=weights)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("config.json", "model.safetensors", "provenance.json"),
    ]
    loaded, params = load_model_folder(folder)
    assert loaded == config
    assert_same(params, load_i2sb(PATH, UNET, weights=weights))
    assert imported.tensors == len(list(parameter_table(UNET)))
    assert imported.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    origin = read_provenance(folder)
    assert origin == imported.provenance
    assert origin.source == "latest.pt" and origin.weights == weights
    assert origin.sha256 == hashlib.sha256(PATH.read_bytes()).hexdigest()
    assert "non-commercial" in origin.licence and "publisher" in origin.licence
    restored = Restorer.from_workdir(folder)(np.zeros((1, 32, 32, 3), np.float32), nfe=1)
    assert restored.shape == (1, 32, 32, 3) and np.isfinite(restored).all()


def released(path, *, write=write_torch_file, **options):
    """A file with ADM's names, as OpenAI published it."""
    entries = parameter_table(UNET)
    write(path, {entry.torch_name: np.ones(entry.torch_shape, np.float32) for entry in entries},
          **options)  # fmt: skip
    return path


def test_licences(tmp_path):
    source = released(tmp_path / "adm.pt")
    origin = import_weights(source, tmp_path / "a", make_run()).provenance
    assert origin.licence == "MIT (OpenAI, guided-diffusion)" and origin.weights == "initial"
    given = import_weights(source, tmp_path / "b", make_run(), licence="ours").provenance
    assert given.licence == read_provenance(tmp_path / "b").licence == "ours"
    # what a file says of itself is believed, not what others in its form are under
    metadata = {"licence": "non-commercial", "weights": "ema"}
    source = released(tmp_path / "own", write=write_safetensors_file, metadata=metadata)
    origin = import_weights(source, tmp_path / "c", make_run()).provenance
    assert origin.licence == "non-commercial" and origin.weights == "ema"


def test_exported_to_pytorch_and_imported_again_the_bits_are_the_same(tmp_path):
    params = hashed_params(UNET)
    save_model(tmp_path / "run", make_run(), params)
    export_model(tmp_path / "run", tmp_path / "adm", layout="adm")
    origin = import_weights(tmp_path / "adm/adm.safetensors", tmp_path / "back", make_run())
    assert origin.provenance.licence == "not stated"
    name = "model.safetensors"
    assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()
    assert_same(load_model_folder(tmp_path / "back")[1], params)


def refusal(source, folder, config=None, **options):
    with pytest.raises(ValueError) as error:
        import_weights(source, folder, config or make_run(), **options)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_refusals_write_nothing(tmp_path):
    folder = tmp_path / "run"
    adm = released(tmp_path / "adm.pt")
    assert "leave --weights net out" in refusal(adm, folder, weights="net")
    assert "no file of weights" in refusal(tmp_path / "none.pt", folder)
    message = refusal(PATH, folder, make_run(corruption="colorize"))
    assert str(PATH) in message and "takes 3 input channels, the task's takes 6" in message
    write_torch_file(tmp_path / "net.pt", read_torch_file(PATH)["net"])
    message = refusal(tmp_path / "net.pt", folder)
    assert (
        "neither ADM's state dict" in message and "it holds diffusion_model.time_embed" in message
    )
    write_torch_file(tmp_path / "list.pt", [1, 2])
    assert "it holds a list" in refusal(tmp_path / "list.pt", folder)
    assert not folder.exists()


def test_nothing_is_overwritten(tmp_path):
    import_weights(PATH, tmp_path / "run", make_run())
    before = (tmp_path / "run/model.safetensors").stat().st_mtime_ns
    assert "is not empty" in refusal(PATH, tmp_path / "run")
    assert "this library's own names" in refusal(tmp_path / "run/model.safetensors", tmp_path / "b")
    assert (tmp_path / "run/model.safetensors").stat().st_mtime_ns == before


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
