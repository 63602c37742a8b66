"""The training step compiled and accounted for, without a weight or a picture in memory."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from i2sb_jax import build, sharding
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.config import Config
from i2sb_jax.program import Program, read_program
from i2sb_jax.training.loop import abstract_state, jitted_step
from i2sb_jax.training.state import TrainState
from i2sb_jax.types import Batch


class DryRun(NamedTuple):
    """What a step would be.

    Attributes:
        state: shapes, dtypes and shardings.
        program: the compiler's account of the step, for one device.
    """

    state: TrainState
    program: Program


def dry_run(config: Config, mesh: Mesh) -> DryRun:
    """Compiles the step of a run for the devices of a mesh; they need not exist.

    Args:
        config: the run.
        mesh: of devices, or of those that `jax.experimental.topologies` describes.

    Raises:
        ValueError: the batch does not fit the mesh.
        jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED, where the compiler knows the devices'
            memory and the step does not fit.
    """
    options, everywhere = config.training, sharding.replicated(mesh)
    sharding.check_batch_size(
        options.batch_size, mesh, accumulation_steps=options.accumulation_steps
    )
    state = abstract_state(config, mesh)
    batch = abstract_like(_batch(config), sharding.batch_sharding(mesh))
    root = abstract_like(jax.eval_shape(lambda: jax.random.key(0)), everywhere)
    with jax.default_matmul_precision(config.matmul_precision):
        compiled = jitted_step(config, state, mesh).lower(state, batch, root).compile()
    return DryRun(state, read_program(compiled))


def _batch(config: Config) -> Batch:
    """Shapes of a global batch as the pipeline gives it, without the names."""
    corruption, size = build.make_corruption(config, read_masks=False), config.image_size

    def pictures(channels: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((config.training.batch_size, size, size, channels), jnp.float32)

    return Batch(
        clean=pictures(config.image_channels),
        degraded=pictures(config.image_channels),
        mask=pictures(1) if corruption.has_mask else None,
        cond=pictures(config.cond_channels) if config.cond_channels else None,
        label=jax.ShapeDtypeStruct((config.training.batch_size,), jnp.int32),
    )


def report(config: Config, mesh: Mesh, found: DryRun) -> str:
    """The account as a text for people, many lines."""
    return "\n".join(
        [*_run_lines(config, mesh, found), *_memory_lines(found), *_exchange_lines(found.program),
         *_tensor_lines(found.state, config.mesh.fsdp_min_bytes)]
    )  # fmt: skip


def _run_lines(config: Config, mesh: Mesh, found: DryRun) -> list[str]:
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(found.state.params))
    options, kind = config.training, mesh.devices.flat[0].device_kind
    share = options.batch_size // mesh.size // options.accumulation_steps
    flops, uncounted = found.program.flops, found.program.uncounted
    more = f" and more: {uncounted} library calls in loops count once" if uncounted else ""
    return [
        f"parameters   {count:,}",
        f"devices      {mesh.size} × {kind}: data {mesh.shape['data']} × fsdp {mesh.shape['fsdp']}",
        f"batch        {options.batch_size} = {mesh.size} devices × {share} pictures × "
        f"{options.accumulation_steps} accumulated, {config.model.dtype}, "
        f"remat {config.model.remat}",
        f"a step       {flops * mesh.size / 1e12:.3g} TFLOP, {flops / 1e12:.3g} a device{more}",
    ]


def _memory_lines(found: DryRun) -> list[str]:
    memory = found.program.memory
    rows = {
        "state and batch": memory.arguments,
        "results": memory.outputs,
        "temporaries": memory.temporaries,
        "program": memory.code,
        "together": memory.total,
    }
    return ["bytes a device", *(f"  {name:<16} {_gib(size)}" for name, size in rows.items())]


def _exchange_lines(program: Program) -> list[str]:
    rows = [
        f"  {kind:<20} {each.count:6}  {_gib(each.bytes)} of results a device"
        for kind, each in program.collectives.items()
    ]
    return ["collectives a step", *(rows or ["  none"])]


def _tensor_lines(state: TrainState, min_bytes: int) -> list[str]:
    rows = []
    for path, x in jax.tree_util.tree_leaves_with_path(state.params):
        size = math.prod(x.shape) * x.dtype.itemsize
        if size >= min_bytes:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            cut = [f"axis {i} by {axis}" for i, axis in enumerate(x.sharding.spec) if axis]
            rows.append(f"  {name:<40} {x.shape!s:<24} {_gib(size)}  {', '.join(cut) or 'whole'}")
    head = f"tensors of {min_bytes / 2**20:.4g} MiB or more; their average and moments lie alike"
    return [head, *(rows or ["  none"])]


def _gib(size: int) -> str:
    return f"{size / 2**30:8.3f} GiB"
