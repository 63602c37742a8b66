"""Models and pictures that the tests of i2sb-evaluate share."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from i2sb_jax.cli import evaluate
from i2sb_jax.data.scaling import ValueRange, ValueRanges, save_value_ranges
from i2sb_jax.interop import save_model
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.pictures import to_uint8, write_png
from tests.golden.synthetic import hashed_classifier_weight, photo
from tests.training import tiny

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"


def make_model(folder, **overrides):
    """A model folder: a tiny network, weights everywhere, also where training begins with zeros."""
    settings = {"bridge": {"num_steps": 50}, "distributed": "off"} | overrides
    config = tiny.make_config(**settings)
    leaves, structure = jax.tree.flatten(tiny.fresh_params(config))
    rng = np.random.default_rng(0)
    leaves = [x + np.float32(0.02) * rng.standard_normal(x.shape, np.float32) for x in leaves]
    save_model(folder, config, jax.tree.unflatten(structure, leaves))
    if config.has_pairs:
        side = ValueRange(channels=3, dtype="float32", low=(0.0,) * 3, high=(1.0,) * 3,
                          suffix=".npy")  # fmt: skip
        save_value_ranges(folder, ValueRanges(source=side, target=side, scaling="dtype"))
    return os.fspath(folder)


def write_pictures(folder, count, *, size=16):
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(photo(count, size, 5)):
        write_png(folder / f"{number:02d}.png", to_uint8(image))
    return os.fspath(folder)


def write_weights(folder, name):
    """Hashed weights of "inception" or "resnet50"."""
    shapes = json.loads((GOLDEN / f"{name}_manifest.json").read_text())
    tensors = {
        tensor: np.asarray(hashed_classifier_weight(tensor, tuple(shape)), np.float32, order="C")
        for tensor, shape in shapes.items()
    }
    write_safetensors_file(folder / f"{name}.safetensors", tensors)
    return os.fspath(folder / f"{name}.safetensors")


def run_here(monkeypatch, capsys, *arguments):
    """(status, stdout, stderr) of the tool in this process."""
    return call(monkeypatch, capsys, evaluate.main, *arguments)


def call(monkeypatch, capsys, main, *arguments):
    """(status, stdout, stderr) of a command's main(), in this process."""
    monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return (stop.value.code, *capsys.readouterr())


def command(*arguments):
    return [sys.executable, "-m", "i2sb_jax.cli.evaluate", *map(str, arguments)]


def on_devices(count, **more):
    """The environment of a process that has so many CPU devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    return os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags} | more


def run_apart(*arguments, devices=1):
    done = subprocess.run(
        command(*arguments), env=on_devices(devices), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done


def figures(folder):
    return json.loads((pathlib.Path(folder) / "results.json").read_text())["figures"]


def assert_same_figures(one, two, *, rtol=1e-6):
    """Value by value, intervals and counts too."""
    flat = [
        {(m, name, key): value for m, each in both.items() for name, figure in each.items()
         for key, value in figure.items() if key != "interval"}
        for both in (one, two)
    ]  # fmt: skip
    assert flat[0].keys() == flat[1].keys() and flat[0]
    for place, value in flat[0].items():
        assert (value is None) == (flat[1][place] is None), place
        if value is not None:
            np.testing.assert_allclose(flat[1][place], value, rtol=rtol, atol=1e-9, err_msg=place)
