"""i2sb-train --dry-run: the account of a step, for devices that are not there."""

import importlib.util
import os
import pathlib
import re
import resource
import subprocess
import sys

import jax
import pytest

from i2sb_jax.cli import train
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import dry_run
from tests.training.tiny import make_config

pytestmark = pytest.mark.usefixtures("fully_optimized")

pytest.importorskip("ml_collections")

CONFIGS = pathlib.Path(__file__).parent.parent.parent / "configs"
TINY = {
    "image_size": 16,
    "model.model_channels": 16,
    "model.head_channels": 8,
    "training.batch_size": 16,
    "training.accumulation_steps": 2,
}


def run(config="small_adm.py", *options, timeout=120, **overrides):
    """(exit status, stdout, lines of stderr) of i2sb-train --dry-run."""
    done = subprocess.run(
        [sys.executable, "-m", "i2sb_jax.cli.train", f"--config={CONFIGS / config}", "--dry-run",
         *options, *(f"--config.{key}={value}" for key, value in overrides.items())],
        env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr.splitlines()


def number(pattern, out):
    return float(re.search(pattern, out)[1].replace(",", ""))


@pytest.mark.slow
def test_the_account_of_a_cut_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fsdp = {"mesh.fsdp": 4, "mesh.fsdp_min_bytes": 4096}
    status, out, err = run("small_adm.py", "--topology", "cpu:8", **TINY, **fsdp)
    assert (status, err) == (0, [])
    assert "devices      8 × cpu: data 2 × fsdp 4" in out
    assert "16 = 8 devices × 1 pictures × 2 accumulated, float32, remat none" in out
    cut = re.findall(r"  (\S+) +(\(.*?\)) +[\d.]+ GiB  axis \d by fsdp", out)
    assert len(cut) > 5
    # gathered once a micro-batch: none is kept whole from one to the next
    assert number(r"all-gather +(\d+)", out) == 2 * len(cut)
    assert "all-to-all" not in out
    assert "these bytes are the CPU compiler's" in out
    assert not list(tmp_path.iterdir())  # no run's folder is asked for, and none is made


def test_parameters_and_bytes_are_those_of_the_arrays():
    config = make_config()
    found = dry_run(Run(config))
    params = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    count = sum(x.size for x in jax.tree.leaves(params))
    pictures = 4 * 2 * 16 * 16 * 3  # four clean and degraded ones
    scalars = 3 + 4 + 4  # counters, labels, key
    # parameters, their average, two moments
    assert found.program.memory.arguments == pytest.approx(
        4 * (4 * count + pictures + scalars), rel=1e-3
    )
    assert not found.program.collectives
    assert not any(isinstance(x, jax.Array) for x in jax.tree.leaves(found.state))


@pytest.mark.parametrize(
    "options, overrides, words",
    [
        (("--topology", "cpu:8"), {"mesh.fsdp": 3}, "mesh.fsdp=3"),
        (("--topology", "cpu:8"), {"training.batch_size": 12}, "must be a multiple of 8"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_devices_is_one_line(options, overrides, words):
    status, out, err = run("small_adm.py", *options, **overrides)
    # libtpu, where it is installed, has lines of its own
    (line,) = (line for line in err if line.startswith("error: "))
    assert (status, out) == (2, "") and words in line
    assert importlib.util.find_spec("libtpu") or len(err) == 1


@pytest.fixture
def same_environment():
    """Undoes what is told to libtpu."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize(
    "options, words",
    [
        (("--topology", "cpu:0"), "topology 'cpu:0' must be cpu:N"),
        (("--topology", "cpu:99999"), "topology 'cpu:99999' must be cpu:N"),
        (("--topology=",), "topology ''"),
        (("--topology", "v99:4x4"), "topology 'v99:4x4'"),
        (("--topology",), "expected one argument"),
        (("--workdi=x",), "workdi"),
    ],
    ids=str,
)
def test_mistakes_are_one_line(complaints, same_environment, options, words):
    config = f"--config={CONFIGS / 'small_adm.py'}"
    status, (line,) = complaints(train, config, "--dry-run", *options)
    assert status == 2 and line.startswith("error: ") and words in line


@pytest.mark.slow
def test_the_papers_network_on_eight_devices():
    """552.8 M parameters would take 8.8 GB with their average and moments."""
    status, out, _ = run(
        "imagenet256/sr4x_pool.py", "--topology", "cpu:8", timeout=300, **{"mesh.fsdp": 8}
    )
    assert status == 0 and "parameters   552,807,171" in out
    # 2.21 TFLOP forward, three times that with the way back
    assert number(r"a step +([\d.e+]+) TFLOP", out) == pytest.approx(256 * 6.64, rel=0.02)
    assert number(r"state and batch +([\d.]+) GiB", out) < 0.3 * 8.24
    assert "all-to-all" not in out and "collective-permute" not in out
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 8 * 2**20  # kB


MESHES = """
from i2sb_jax.accelerators import sharding, topologies
for topology in ("v5e:4x8", "v6e:4x8", "v5p:4x4x4"):
    devices = topologies.described_devices(topology)
    for power in range(len(devices).bit_length()):
        assert sharding.make_mesh(fsdp=2**power, devices=devices).shape["fsdp"] == 2**power
"""


@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs the extra tpu")
def test_every_slice_makes_every_mesh():
    subprocess.run([sys.executable, "-c", MESHES], check=True)


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs the extra tpu")
def test_a_tpu_slice():
    status, out, _ = run("small_adm.py", "--topology", "v5e:2x2", **TINY, **{"mesh.fsdp": 4})
    assert status == 0 and "4 × TPU v5 lite" in out and "CPU" not in out
