"""The devices of this machine, and those of machines that a compiler knows by name."""

import glob
import importlib.util
import os
import re
from typing import Any

import jax
from jax.experimental import topologies

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
    """Devices to compile for that this machine need not have; before JAX has touched any.

    Args:
        topology: "cpu:8", that many CPU devices, or a TPU slice such as "v5e:4x4", which libtpu
            (the extra `tpu`) knows by name.

    Raises:
        ValueError: there is no such topology, or no libtpu.
    """
    # no TPU of this machine is to be taken, and libtpu is not to ask the network where it is
    jax.config.update("jax_platforms", "cpu")
    for name, value in _NO_TPU.items():
        os.environ.setdefault(name, value)
    if topology.startswith("cpu"):
        match = re.fullmatch(r"cpu:([1-9]\d{0,3})", topology)
        if not match:
            raise ValueError(f"topology {topology!r} must be cpu:N with N from 1 to 9999, as cpu:8")
        jax.config.update("jax_num_cpu_devices", int(match[1]))
        return jax.devices()
    if not importlib.util.find_spec("libtpu"):
        raise ValueError(
            f"topology {topology!r} needs libtpu, and no TPU: pip install 'i2sb_jax[tpu]'; cpu:8 "
            "needs neither"
        )
    try:
        return topologies.get_topology_desc(topology, platform="tpu").devices
    except Exception as error:  # of libtpu, of many kinds
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"topology {topology!r} is none that libtpu describes, as v5e:4x4 is ({reason})"
        ) from error
