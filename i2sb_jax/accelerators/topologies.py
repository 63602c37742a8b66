"""The devices of this machine, and those of machines that a compiler knows by name."""

import glob
import importlib.util
import math
import os
import pathlib
import platform
import re
from typing import Any, NamedTuple

import jax
from jax.experimental import topologies

from i2sb_jax.accelerators import gpus
from i2sb_jax.reasons import first_line

# what the drivers put into /dev, and what JAX needs to use it
_ACCELERATORS = {
    "/dev/nvidia[0-9]*": ("an NVIDIA GPU", "pip install 'i2sb_jax[cuda12]' (or [cuda13])"),
    "/dev/accel[0-9]*": ("a TPU", "pip install 'i2sb_jax[tpu]'"),
    "/dev/vfio/[0-9]*": ("a TPU", "pip install 'i2sb_jax[tpu]'"),
}

# what libtpu would else ask the network for, or complain of
_NO_TPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "none",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
# JAX's plugin else looks for a driver, and without one is left out
_NO_GPU = {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}

# kind of chip -> a slice of it; libtpu's own names
_TPUS = {
    "v2": "v2:4x4",
    "v3": "v3:4x4",
    "v4": "v4:2x2x4",
    "v5e": "v5e:4x4",
    "v5p": "v5p:2x2x4",
    "v6e": "v6e:4x4",
    "tpu7x": "tpu7x:2x2x4",
}
_ANY_GPU = "gpu"  # of a description in a file
_HOST = 4  # chips, in a square


class Described(NamedTuple):
    """Devices to compile for.

    Attributes:
        devices: JAX's.
        memory: bytes of one, where a program's compiler does not hold it to them: of a GPU whose
            description tells. None otherwise.
    """

    devices: list[Any]
    memory: int | None = None


def check_accelerator_visible() -> None:
    """Refuses to run slowly on the CPU of a machine that has an accelerator.

    JAX_PLATFORMS=cpu says that the CPU is meant, and passes.

    Raises:
        ValueError: a device file of a GPU or TPU exists and JAX found only the CPU.
    """
    if jax.default_backend() != "cpu" or "cpu" in os.environ.get("JAX_PLATFORMS", "").split(","):
        return
    for pattern, (what, remedy) in _ACCELERATORS.items():
        found = sorted(glob.glob(pattern))
        if found:
            raise ValueError(
                f"this machine has {what} ({found[0]}) but JAX sees only the CPU: {remedy}, "
                "or set JAX_PLATFORMS=cpu to train on the CPU on purpose"
            )


def described_devices(topology: str) -> list[Any]:
    """Returns the devices of `describe(topology)`."""
    return describe(topology).devices


def describe(topology: str, *, target_config: str | os.PathLike | None = None) -> Described:
    """Devices to compile for that this machine need not have; before JAX has touched any.

    Args:
        topology: kind and shape. "cpu:8": that many CPU devices. "h100:8" or "h100:2x8": GPUs of
            one host, or hosts × GPUs, of those in `gpus.GPUS` (the extra `cuda12` or `cuda13`).
            "v5e:4x4": a TPU slice by the names of libtpu (the extra `tpu`).
        target_config: a file that describes another GPU, XLA's `GpuTargetConfigProto` as text; the
            kind is then "gpu".

    Raises:
        ValueError: there is no such topology, or not the compiler for it.
        OSError: the file cannot be read.
    """
    kind, shape = _parse(topology)
    if target_config is not None and kind != _ANY_GPU:
        raise ValueError(
            f"a target config describes a GPU: its topology is {_ANY_GPU}:8 or {_ANY_GPU}:2x8, "
            f"not {topology!r}"
        )
    # no device of this machine is to be taken, and libtpu is not to ask the network where it is
    jax.config.update("jax_platforms", "cpu")
    for name, value in (_NO_TPU | _NO_GPU).items():
        os.environ.setdefault(name, value)
    if kind == "cpu":
        jax.config.update("jax_num_cpu_devices", math.prod(shape))
        return Described(jax.devices())
    if kind in _TPUS:
        return Described(_tpus(topology, kind, shape))
    return _gpus(topology, kind, shape, target_config)


def _parse(topology: str) -> tuple[str, tuple[int, ...]]:
    """Kind and shape of a topology."""
    kind, _, rest = topology.partition(":")
    shape = tuple(map(int, rest.split("x"))) if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", rest) else ()
    if kind == "cpu":
        if len(shape) != 1 or shape[0] > 9999:
            raise ValueError(f"topology {topology!r} must be cpu:N with N from 1 to 9999, as cpu:8")
    elif kind == _ANY_GPU or kind in gpus.GPUS:
        if len(shape) not in (1, 2) or math.prod(shape) > 9999:
            raise ValueError(
                f"topology {topology!r} must be {kind}:N or {kind}:HOSTSxN with at most 9999 GPUs, "
                f"as {kind}:8 or {kind}:2x8"
            )
    elif kind in _TPUS:
        axes = _TPUS[kind].count("x", _TPUS[kind].index(":")) + 1
        if len(shape) != axes:
            raise ValueError(
                f"topology {topology!r} must have {axes} lengths in chips, as {_TPUS[kind]}"
            )
    else:
        raise ValueError(
            f"topology {topology!r} is of no kind that can be described: cpu:8; GPUs as h100:8 or, "
            f"hosts × GPUs, h100:2x8, of {', '.join(gpus.GPUS)}, any other as {_ANY_GPU}:8 by "
            f"--target-config; TPUs as v5e:4x4 or v4:2x2x4, of {', '.join(_TPUS)}"
        )
    return kind, shape


def _tpus(topology: str, kind: str, shape: tuple[int, ...]) -> list[Any]:
    if not importlib.util.find_spec("libtpu"):
        raise ValueError(
            f"topology {topology!r} needs libtpu, and no TPU: "
            + _installing("tpu", machines=("x86_64",))
        )
    options: dict[str, Any] = {}
    if kind == "v4":  # else a device is half a chip, as no job has it
        options["chip_config_name"] = "megacore"
    if math.prod(shape) < _HOST:
        options["chips_per_host_bounds"] = (*shape, 1, 1)[:3]
    try:
        return topologies.get_topology_desc(topology, platform="tpu", **options).devices
    except Exception as error:  # of libtpu, of many kinds
        raise ValueError(
            f"topology {topology!r} is none that libtpu describes, as {_TPUS[kind]} is "
            f"({first_line(error)})"
        ) from error


def _gpus(
    topology: str, kind: str, shape: tuple[int, ...], file: str | os.PathLike | None
) -> Described:
    cuda = [n for n in (12, 13) if importlib.util.find_spec(f"jax_cuda{n}_plugin")]
    if not cuda:
        raise ValueError(
            f"topology {topology!r} needs NVIDIA's compiler, and no GPU or driver: "
            + _installing("cuda12", machines=("x86_64", "aarch64"))
        )
    if kind != _ANY_GPU:
        text = gpus.target_config(gpus.GPUS[kind], gpus.installed_libraries(cuda[0]))
    elif file is None:
        raise ValueError(
            f"topology {topology!r} needs --target-config FILE, or name a GPU that is described: "
            f"{', '.join(gpus.GPUS)}"
        )
    else:
        text = pathlib.Path(file).read_text()
        if "gpu_device_info" not in text:
            raise ValueError(
                f"target config {os.fspath(file)} describes no GPU: it has no gpu_device_info, as "
                "a GpuTargetConfigProto does"
            )
    hosts, each = (1, *shape)[-2:]
    try:
        devices = topologies.get_topology_desc(
            platform="cuda", topology=f"1x{hosts}x{each}", target_config=text
        ).devices
    except Exception as error:  # of the plugin, of many kinds
        what = f"topology {topology!r}" if file is None else f"target config {os.fspath(file)}"
        raise ValueError(
            f"{what} is none that JAX's CUDA plugin describes ({first_line(error)})"
        ) from error
    return Described(devices, gpus.memory_of(text))


def _installing(extra: str, *, machines: tuple[str, ...]) -> str:
    """How to get a compiler, or that it is not to be had on this machine; cpu:8 needs none."""
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in machines:
        return (
            f"it is made for Linux on {' and '.join(machines)}, and this is {system} on {machine}; "
            "cpu:8 needs neither"
        )
    return f"pip install 'i2sb_jax[{extra}]'; cpu:8 needs neither"
