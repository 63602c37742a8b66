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

from i2sb_jax.accelerators import topologies
from i2sb_jax.accelerators.program import Collective
from i2sb_jax.cli import dry_run as dry_run_tool
from i2sb_jax.cli import train
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import dry_run, report
from tests.training.tiny import make_config

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
@pytest.mark.usefixtures("fully_optimized")
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


@pytest.fixture(scope="module")
def tiny():
    """A run, and the account of its step."""
    run = Run(make_config())
    return run, dry_run(run)


def test_parameters_and_bytes_are_those_of_the_arrays(tiny):
    run, found = tiny
    params = jax.eval_shape(run.init_params, jax.random.key(0))
    count = sum(x.size for x in jax.tree.leaves(params))
    pictures = 4 * 2 * 16 * 16 * 3  # four clean and degraded ones
    scalars = 3 + 4 + 4  # counters, labels, key
    # parameters, their average, two moments
    assert found.program.memory.arguments == pytest.approx(
        4 * (4 * count + pictures + scalars), rel=1e-3
    )
    assert not found.program.collectives
    assert not any(isinstance(x, jax.Array) for x in jax.tree.leaves(found.state))


@pytest.fixture
def train_dry(call, monkeypatch, tiny):
    """i2sb-train --dry-run, which has this answer from the compiler -> (status, output)."""

    def run(*options, found=tiny[1]):
        def compiled(run):
            assert run.config.image_size == 16
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(dry_run_tool, "dry_run", compiled)
        status, out, err = call(train, f"--config={CONFIGS / 'small_adm.py'}", "--dry-run",
                                "--config.image_size=16", *options)  # fmt: skip
        assert err == ""
        return status, out

    return run


def test_the_account_is_told(train_dry, tiny, tmp_path):
    _, found = tiny
    status, out = train_dry("--config.training.batch_size=6")
    memory, params = found.program.memory, jax.tree.leaves(found.state.params)
    assert status == 0 and f"parameters   {sum(x.size for x in params):,}\n" in out
    assert "devices      1 × cpu: data 1 × fsdp 1\n" in out
    assert "6 = 1 devices × 6 pictures × 1 accumulated, float32, remat none" in out
    assert number(r"together +([\d.]+) GiB", out) == pytest.approx(memory.total / 2**30, abs=1e-3)
    assert number(r"a step +([\d.e+-]+) TFLOP", out) == pytest.approx(
        found.program.flops / 1e12, rel=1e-2
    )
    assert "collectives a step\n  none\n" in out
    assert "these bytes are the CPU compiler's" in out
    assert "\n  none\n" in out.partition("tensors of 4 MiB or more")[2]  # of so small a network
    assert not list(tmp_path.iterdir())


def test_what_devices_exchange_and_libraries_do_is_told(tiny):
    run, found = tiny
    collectives = {"all-gather": Collective(count=7, bytes=2**30)}
    program = found.program._replace(
        collectives=collectives, libraries={"__cudnn$conv": 3}, uncounted=2
    )
    out = report(run, found._replace(program=program))
    assert re.search(r"all-gather +7 +1\.000 GiB of results a device", out)
    assert re.search(r"calls of libraries a step\n +__cudnn\$conv +3\n", out)
    assert "and more: 2 library calls in loops count once" in out


def test_tensors_above_the_bound_are_listed(tiny):
    config = make_config(mesh={"fsdp_min_bytes": 2048})
    out = report(Run(config), tiny[1])
    rows = re.findall(r"  (\S+/kernel) +\(3, 3, 8, 8\) +0\.000 GiB  whole", out)
    assert "tensors of 0.001953 MiB or more" in out and "down_0_0/conv_in/kernel" in rows


@pytest.mark.parametrize("share, status, word", [("0.5", 0, "fits"), ("1e-9", 1, "does not fit")])
def test_whether_it_fits_a_gpu_is_told_and_returned(
    train_dry, monkeypatch, tiny, share, status, word
):
    def describe(topology, **options):
        assert topology == "h100:1"
        return topologies.Described(jax.devices(), 2**36)

    monkeypatch.setattr(topologies, "describe", describe)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", share)
    found = train_dry("--topology", "h100:1", "--config.training.batch_size=4")
    needed = f"{tiny[1].program.memory.total / 2**30:.3f} GiB"
    room = f"{2**36 * float(share) / 2**30:.3f} GiB"
    assert found[0] == status and f"\n{word}: {needed} of {room}, which JAX takes" in found[1]
    assert f"GPU's 64.000 GiB (XLA_PYTHON_CLIENT_MEM_FRACTION={float(share):g})" in found[1]


def test_what_a_compiler_says_does_not_fit_is_its_own_line(train_dry):
    said = "RESOURCE_EXHAUSTED: XLA\n  Used 17.65G of 15.75G hbm.\n  and more"
    assert train_dry(found=jax.errors.JaxRuntimeError(said)) == (
        1, "does not fit: Used 17.65G of 15.75G hbm.\n"
    )  # fmt: skip
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        train_dry(found=jax.errors.JaxRuntimeError("INTERNAL: a fault"))


def test_a_program_is_kept_where_there_is_none(train_dry, complaints, monkeypatch, tmp_path):
    monkeypatch.setattr(dry_run_tool, "save_program", lambda run, file: f"kept in {file}")
    assert "kept in step.bin\n" in train_dry("--save-program", "step.bin")[1]
    (tmp_path / "step.bin").write_text("another's")
    arguments = f"--config={CONFIGS / 'small_adm.py'}", "--dry-run", "--save-program", "step.bin"
    status, (line,) = complaints(train, *arguments)
    assert status == 2 and "step.bin" in line


def test_a_mesh_that_the_devices_do_not_make_is_one_line():
    status, out, err = run("small_adm.py", "--topology", "cpu:8", **{"mesh.fsdp": 3})
    # libtpu, where it is installed, has lines of its own
    (line,) = (line for line in err if line.startswith("error: "))
    assert (status, out) == (2, "") and "mesh.fsdp=3 are not the 8 devices" in line
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
        (("--target-config", "x"), "describes a GPU of --topology gpu:8, which is missing"),
        (("--workdi=x",), "workdi"),
    ],
    ids=str,
)
def test_mistakes_are_one_line(complaints, same_environment, options, words):
    config = f"--config={CONFIGS / 'small_adm.py'}"
    status, (line,) = complaints(train, config, "--dry-run", *options)
    assert status == 2 and line.startswith("error: ") and words in line


@pytest.mark.slow
@pytest.mark.usefixtures("fully_optimized")
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
@pytest.mark.usefixtures("fully_optimized")
@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs the extra tpu")
def test_a_tpu_slice():
    status, out, _ = run("small_adm.py", "--topology", "v5e:2x2", **TINY, **{"mesh.fsdp": 4})
    assert status == 0 and "4 × TPU v5 lite" in out and "CPU" not in out
