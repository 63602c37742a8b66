"""Devices that are not there: their names, their descriptions, and what a program has room for."""

import importlib.util
import os

import pytest

from i2sb_jax.accelerators import gpus, topologies

LIBRARIES = gpus.Libraries(cudnn=(9, 28, 0), runtime=(12, 9, 79))


@pytest.fixture(autouse=True)
def same_environment():
    """Undoes what is told to the compilers."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def installed(monkeypatch):
    """Sets which packages can be found, and on what machine."""

    def set_to(*packages, machine=("Linux", "x86_64")):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name in packages or None)
        monkeypatch.setattr(topologies.platform, "system", lambda: machine[0])
        monkeypatch.setattr(topologies.platform, "machine", lambda: machine[1])

    return set_to


@pytest.fixture
def asked(monkeypatch):
    """What JAX is asked to describe, in place of its answer."""
    calls = []

    def describe(*args, **options):
        calls.append((*args, options))
        return type("Description", (), {"devices": ["device"]})

    monkeypatch.setattr(topologies.topologies, "get_topology_desc", describe)
    return calls


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "topology, words",
    [
        ("h100", "must be h100:N or h100:HOSTSxN"),
        ("h100:0", "must be h100:N"),
        ("h100:2x2x8", "must be h100:N"),
        ("h100:8x", "must be h100:N"),
        ("gpu:99999", "at most 9999 GPUs"),
        ("v5e:4", "must have 2 lengths in chips, as v5e:4x4"),
        ("v5e:4x4x4", "must have 2 lengths"),
        ("v4:4x4", "must have 3 lengths in chips, as v4:2x2x4"),
        ("cpu:2x2", "must be cpu:N"),
    ],
)
def test_a_wrong_shape_is_answered_by_a_right_one(topology, words):
    with pytest.raises(ValueError, match="topology") as caught:
        topologies.describe(topology)
    assert topology in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("topology", ["h1000:8", "v99:4x4", "", "8", "H100:8", "tpu7x"])
def test_a_wrong_kind_is_answered_by_all_there_are(topology):
    with pytest.raises(ValueError) as caught:
        topologies.describe(topology)
    if topology == "tpu7x":  # the kind is right
        assert "as tpu7x:2x2x4" in str(caught.value)
        return
    for kind in ("cpu:8", "tpu7x", "v4", "gpu:8 by --target-config", *gpus.GPUS):
        assert kind in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_description_is_of_a_gpu_without_a_name(tmp_path):
    for topology in ("h100:8", "v5e:4x4", "cpu:8"):
        with pytest.raises(ValueError, match=f"gpu:8 or gpu:2x8, not '{topology}'"):
            topologies.describe(topology, target_config=tmp_path / "x")


# --- compilers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "topology, machine, words",
    [
        ("h100:8", ("Linux", "x86_64"), r"NVIDIA's compiler.* pip install 'i2sb_jax\[cuda12\]'"),
        ("h100:8", ("Linux", "aarch64"), "pip install"),
        ("h100:8", ("Darwin", "arm64"), "for Linux on x86_64 and aarch64, and this is Darwin on a"),
        ("v5e:4x4", ("Linux", "x86_64"), r"needs libtpu.* pip install 'i2sb_jax\[tpu\]'"),
        ("v5e:4x4", ("Linux", "aarch64"), "made for Linux on x86_64, and this is Linux on aarch64"),
    ],
    ids=str,
)
def test_a_compiler_that_is_not_there_is_one_line(installed, topology, machine, words):
    installed(machine=machine)
    with pytest.raises(ValueError, match=words) as caught:
        topologies.describe(topology)
    assert "\n" not in str(caught.value)


def test_gpus_are_told_by_the_libraries_that_are_installed(installed, asked, monkeypatch):
    versions = {"nvidia-cudnn-cu13": "9.28.1.4", "nvidia-cuda-runtime": "13.5.37"}

    def version(name):
        if name not in versions:
            raise gpus.importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(gpus.importlib.metadata, "version", version)
    installed("jax_cuda13_plugin")
    found = topologies.describe("h100:2x8")
    ((options,),) = asked
    assert options["platform"] == "cuda" and options["topology"] == "1x2x8"
    assert "dnn_version_info { major: 9 minor: 28 patch: 1 }" in options["target_config"]
    assert "runtime_version { major: 13 minor: 5 patch: 37 }" in options["target_config"]
    assert found.memory == gpus.GPUS["h100"].memory
    installed("jax_cuda12_plugin")  # whose libraries are not there
    with pytest.raises(ValueError, match="nvidia-cudnn-cu12 is not installed"):
        topologies.describe("h100:8")


def test_a_gpu_of_a_file(installed, asked, tmp_path):
    installed("jax_cuda12_plugin")
    file = tmp_path / "gpu.txtpb"
    file.write_text("gpu_device_info { core_count: 7\n device_memory_size : 1234 }")
    assert topologies.describe("gpu:4", target_config=file).memory == 1234
    assert asked[0][0] == {
        "platform": "cuda", "topology": "1x1x4", "target_config": file.read_text()
    }  # fmt: skip
    file.write_text("gpu_device_info { core_count: 7 }")
    assert topologies.describe("gpu:4", target_config=file).memory is None
    file.write_text("{}")
    with pytest.raises(ValueError, match=r"gpu\.txtpb describes no GPU"):
        topologies.describe("gpu:4", target_config=file)
    with pytest.raises(ValueError, match="needs --target-config FILE, or name a GPU"):
        topologies.describe("gpu:4")
    with pytest.raises(OSError, match=r"nothing\.txtpb"):
        topologies.describe("gpu:4", target_config=tmp_path / "nothing.txtpb")


@pytest.mark.parametrize(
    "topology, options",
    [
        ("v5e:4x4", {}),
        ("v5e:1x1", {"chips_per_host_bounds": (1, 1, 1)}),
        ("v6e:1x2", {"chips_per_host_bounds": (1, 2, 1)}),
        ("tpu7x:2x2x4", {}),
        ("tpu7x:1x1x1", {"chips_per_host_bounds": (1, 1, 1)}),
        ("v4:2x2x4", {"chip_config_name": "megacore"}),
        ("v4:1x1x1", {"chip_config_name": "megacore", "chips_per_host_bounds": (1, 1, 1)}),
    ],
    ids=str,
)
def test_tpus_are_those_of_jobs(installed, asked, topology, options):
    installed("libtpu")
    assert topologies.describe(topology) == (["device"], None)
    assert asked == [(topology, {"platform": "tpu"} | options)]
    assert topologies.described_devices(topology) == ["device"]


def test_what_a_compiler_refuses_is_one_line(installed, monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise RuntimeError("INTERNAL: no such thing\nand a trace")

    installed("libtpu", "jax_cuda12_plugin")
    monkeypatch.setattr(topologies.topologies, "get_topology_desc", refuse)
    with pytest.raises(ValueError, match=r"as v5e:4x4 is \(INTERNAL: no such thing\)$"):
        topologies.describe("v5e:3x3")
    file = tmp_path / "gpu.txtpb"
    file.write_text("gpu_device_info { core_count: what }")
    with pytest.raises(ValueError, match=r"^target config .*gpu\.txtpb is none .*such thing\)$"):
        topologies.describe("gpu:8", target_config=file)


# --- GPUs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", gpus.GPUS)
def test_a_description_tells_what_the_table_does(kind):
    gpu = gpus.GPUS[kind]
    text = gpus.target_config(gpu, LIBRARIES)
    assert gpus.memory_of(text) == gpu.memory
    assert f"core_count: {gpu.multiprocessors}\n" in text and gpu.name in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    "variables, share",
    [
        ({}, 0.75),
        ({"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.9"}, 0.9),
        ({"XLA_CLIENT_MEM_FRACTION": "0.5"}, 0.5),
    ],
    ids=str,
)
def test_the_share_is_the_environments(monkeypatch, variables, share):
    for name in ("XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert gpus.share_for_programs() == share


@pytest.mark.parametrize("told", ["much", "0", "1.5", "nan"])
def test_a_share_that_is_none_is_one_line(monkeypatch, told):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", told)
    with pytest.raises(ValueError, match=f"MEM_FRACTION={told} must be a share"):
        gpus.share_for_programs()
