"""The mesh over devices, and how batches and states lie on it.

The mesh has two axes. A batch is cut over both. Along "fsdp" large parameters are cut too (fully
sharded data parallelism, as in ZeRO-3, arXiv 1910.02054, and GSPMD, arXiv 2105.04663): each device
keeps a part, and a block's parameters are gathered where the block is computed and no longer.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from i2sb_jax.reasons import first_line
from i2sb_jax.types import Batch, Params

DATA_AXIS, FSDP_AXIS = "data", "fsdp"


def make_mesh(
    *, data: int = -1, fsdp: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Devices on the axes ("data", "fsdp").

    Args:
        data: devices along "data"; -1: as many as there are.
        fsdp: devices along "fsdp", next to each other: they exchange the most.
        devices: all devices of all processes, if None.

    Raises:
        ValueError: the devices do not make such a mesh.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if count % fsdp or data not in (-1, count // fsdp):
        fitting = [n for n in range(1, count + 1) if count % n == 0]
        raise ValueError(
            f"mesh.data={data} × mesh.fsdp={fsdp} are not the {count} devices there are: leave "
            f"mesh.data=-1 and choose mesh.fsdp among {', '.join(map(str, fitting))}"
        )
    try:  # neighbours where the network of the chips allows it; some shapes have to split its axes
        grid = mesh_utils.create_device_mesh(
            (count // fsdp, fsdp), devices=devices, allow_split_physical_axes=True
        )
    except (AssertionError, NotImplementedError) as error:  # as of TPU v4 with a core a device
        raise ValueError(
            f"{devices[0].device_kind} makes no mesh with mesh.fsdp={fsdp}: {first_line(error)}"
        ) from error
    # Auto: the compiler propagates shardings; Explicit, the new default, would put them in types
    return Mesh(grid, (DATA_AXIS, FSDP_AXIS), axis_types=(AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """The same values on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The leading axis cut over all devices."""
    return NamedSharding(mesh, PartitionSpec((DATA_AXIS, FSDP_AXIS)))


def fsdp_shardings(tree: Any, mesh: Mesh, *, min_bytes: int) -> Any:
    """Returns each array's sharding: cut along "fsdp" if it is large, else on every device.

    Parameters, their average and the optimizer's moments have the same shapes, and so lie alike.

    Args:
        tree: of arrays or `jax.ShapeDtypeStruct`s.
        mesh: from `make_mesh`.
        min_bytes: smaller arrays are not cut: a message for each would cost more than it saves.

    Returns:
        The tree with a sharding for each array: its largest axis that the devices divide is cut,
        the first of several.
    """

    def lay(x: Any) -> NamedSharding:
        return NamedSharding(mesh, _fsdp_spec(x, mesh.shape[FSDP_AXIS], min_bytes))

    return jax.tree.map(lay, tree)


def gather_on_use(mesh: Mesh, *, min_bytes: int) -> Callable[[Params], Params] | None:
    """For networks: brings a block's parameters together where they are used.

    Left to itself, the compiler may as well bring activations together. What this returns asks for
    an all-gather in the forward pass, and for gradients that are summed into the parts that the
    devices keep (a reduce-scatter) in the backward pass.

    Args:
        mesh: from `make_mesh`.
        min_bytes: as for `fsdp_shardings`.

    Returns:
        Parameters -> the same, on every device; None where nothing is cut.
    """
    if mesh.shape[FSDP_AXIS] == 1:
        return None

    def gather(params: Params) -> Params:
        kept = fsdp_shardings(params, mesh, min_bytes=min_bytes)
        return jax.tree.map(lambda x, part: _gathered(x, part, replicated(mesh)), params, kept)

    return gather


def per_device(mesh: Mesh) -> Callable[[Callable[..., Any]], Callable[..., Any]] | None:
    """For networks: has each CPU device compute a function of the batch for its share alone.

    The compiler does not divide a loop over the batch: each device would gather and compute all.

    Args:
        mesh: from `make_mesh`.

    Returns:
        A function of arrays [batch, ...] -> the same function of a batch that lies as
        `batch_sharding` says; where the devices do not divide the batch, the function itself. None
        on one device, and on accelerators, whose networks have no such loops.
    """
    if mesh.size == 1 or mesh.devices.flat[0].platform != "cpu":
        return None
    share = batch_sharding(mesh).spec

    def divide(function: Callable[..., Any]) -> Callable[..., Any]:
        divided = jax.shard_map(function, mesh=mesh, in_specs=share, out_specs=share)

        def divided_where_it_can_be(*arrays: jax.Array) -> Any:
            return (function if len(arrays[0]) % mesh.size else divided)(*arrays)

        return divided_where_it_can_be

    return divide


def _gathered(x: jax.Array, part: NamedSharding, whole: NamedSharding) -> jax.Array:
    constrain = jax.lax.with_sharding_constraint

    @jax.custom_vjp
    def use(x):
        return constrain(x, whole)

    use.defvjp(lambda x: (use(x), None), lambda _, cotangent: (constrain(cotangent, part),))
    return use(x)


def _fsdp_spec(x: Any, devices: int, min_bytes: int) -> PartitionSpec:
    if devices == 1 or math.prod(x.shape) * x.dtype.itemsize < min_bytes:
        return PartitionSpec()
    divisible = [axis for axis, length in enumerate(x.shape) if length % devices == 0]
    if not divisible:
        return PartitionSpec()
    largest = max(divisible, key=lambda axis: x.shape[axis])
    return PartitionSpec(*[FSDP_AXIS if axis == largest else None for axis in range(len(x.shape))])


def check_batch_size(batch_size: int, mesh: Mesh, *, accumulation_steps: int = 1) -> None:
    """Raises ValueError where a global batch does not fall into equal shares."""
    share = mesh.size * accumulation_steps
    if batch_size % share:
        right = max(share, round(batch_size / share) * share)
        raise ValueError(
            f"training.batch_size={batch_size} must be a multiple of {share} ({mesh.size} devices"
            f" × {accumulation_steps} accumulation steps), e.g. {right}"
        )


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Lays numpy arrays, the same on every process, over all devices of all processes."""
    return lay(tree, replicated(mesh))


def lay(tree: Any, where: NamedSharding) -> Any:
    """Lays this process's rows of each array, or all of a replicated one, over its devices."""
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(where, np.asarray(x)), tree
    )


def local_rows(array: jax.Array | np.ndarray) -> np.ndarray:
    """Returns this process's rows of an array cut along its first axis; all of a numpy array."""
    if isinstance(array, np.ndarray):
        return array
    parts = sorted(array.addressable_shards, key=lambda part: part.index[0].start or 0)
    return np.concatenate([np.asarray(part.data) for part in parts])


def global_batch(batch: Batch, mesh: Mesh) -> Batch:
    """Lays each process's share of a batch over its devices.

    Args:
        batch: this process's share, numpy; names are dropped, they are not for devices.
        mesh: from `make_mesh`.

    Returns:
        The global batch as sharded arrays.
    """
    return lay(batch._replace(name=None), batch_sharding(mesh))
