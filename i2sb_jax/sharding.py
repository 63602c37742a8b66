"""Devices, the mesh over them, and how batches and states lie on it."""

import glob
import os

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from i2sb_jax.types import Batch

DATA_AXIS = "data"

# what the drivers put into /dev, and what JAX needs to use it
_ACCELERATORS = {
    "/dev/nvidia[0-9]*": ("an NVIDIA GPU", "pip install 'i2sb_jax[cuda12]' (or [cuda13])"),
    "/dev/accel[0-9]*": ("a TPU", "pip install 'i2sb_jax[tpu]'"),
    "/dev/vfio/[0-9]*": ("a TPU", "pip install 'i2sb_jax[tpu]'"),
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


def make_mesh() -> Mesh:
    """All devices of all processes along one axis, "data"."""
    # Auto: the compiler propagates shardings; Explicit, the new default, would put them in types
    return jax.make_mesh((jax.device_count(),), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis cut over the data axis."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_batch_size(batch_size: int, mesh: Mesh, *, accumulation_steps: int = 1) -> None:
    """Raises ValueError where a global batch does not fall into equal shares."""
    share = mesh.size * accumulation_steps
    if batch_size % share:
        right = max(share, round(batch_size / share) * share)
        raise ValueError(
            f"training.batch_size={batch_size} must be a multiple of {share} ({mesh.size} devices"
            f" × {accumulation_steps} accumulation steps), e.g. {right}"
        )


def global_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Lays each process's share of a batch over its devices.

    Args:
        batch: this process's share, numpy; names are dropped, they are not for devices.
        mesh: from `make_mesh`.

    Returns:
        The global batch as sharded arrays.
    """
    sharding = batch_sharding(mesh)

    def lay(x: np.ndarray) -> jax.Array:
        return jax.make_array_from_process_local_data(sharding, x)

    return jax.tree.map(lay, batch._replace(name=None))
