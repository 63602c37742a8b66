"""The training step compiled and accounted for, without a weight or a picture in memory."""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
from jax.sharding import Mesh

from i2sb_jax.accelerators import gpus, sharding
from i2sb_jax.accelerators.program import Program, read_program
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.config import Config
from i2sb_jax.learning.distillation import DistillState
from i2sb_jax.run import Run, State
from i2sb_jax.training.loop import jitted_step
from i2sb_jax.types import Batch, Params


class DryRun(NamedTuple):
    """The account of a step that was compiled and not run.

    Attributes:
        state: shapes, dtypes and shardings.
        frozen: the same of what the step reads and leaves as it is (`Run.abstract_frozen`), or
            None.
        program: the compiler's account of the step, for one device.
        seconds: that compiling took.
    """

    state: State
    frozen: Params | None
    program: Program
    seconds: float


class Room(NamedTuple):
    """Memory of a GPU for a program, which its compiler does not hold the program to.

    Attributes:
        memory: bytes of the GPU.
        share: of them that JAX's allocator takes.
    """

    memory: int
    share: float

    @property
    def bytes(self) -> int:
        return int(self.memory * self.share)


def room_on_gpu(memory: int) -> Room:
    """Returns what JAX's allocator takes of a GPU's memory, as the environment says.

    Args:
        memory: bytes of the GPU.

    Raises:
        ValueError: the environment says no share.
    """
    return Room(memory, gpus.share_for_programs())


def dry_run(run: Run) -> DryRun:
    """Compiles the step of a run for its devices, which need not exist.

    Args:
        run: on devices, or on those that `jax.experimental.topologies` describes.

    Raises:
        ValueError: the batch does not fit the mesh.
        jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED, where the compiler knows the devices'
            memory and the step does not fit.
    """
    arguments = step_arguments(run)
    start = time.monotonic()
    with jax.default_matmul_precision(run.config.matmul_precision):
        compiled = jitted_step(run, arguments[0]).lower(*arguments).compile()
    seconds = time.monotonic() - start
    return DryRun(arguments[0], arguments[-1], read_program(compiled), seconds)


def step_arguments(run: Run) -> tuple[State, Batch, jax.ShapeDtypeStruct, Params | None]:
    """Returns shapes and shardings of what a step takes: state, batch, root key, frozen weights.

    Raises:
        ValueError: the batch does not fit the mesh.
    """
    config, options, mesh = run.config, run.config.training, run.mesh
    sharding.check_batch_size(
        options.batch_size, mesh, accumulation_steps=options.accumulation_steps
    )
    batch = abstract_like(_batch(config), sharding.batch_sharding(mesh))
    root = abstract_like(jax.eval_shape(lambda: jax.random.key(0)), sharding.replicated(mesh))
    return run.abstract_state, batch, root, run.abstract_frozen


def _batch(config: Config) -> Batch:
    """Shapes of a global batch as the pipeline gives it, without the names."""
    size = config.image_size

    def pictures(channels: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((config.training.batch_size, size, size, channels), jnp.float32)

    return Batch(
        clean=pictures(config.image_channels),
        degraded=pictures(config.image_channels),
        mask=pictures(1) if config.has_mask else None,
        cond=pictures(config.cond_channels) if config.cond_channels else None,
        label=jax.ShapeDtypeStruct((config.training.batch_size,), jnp.int32),
        valid=pictures(1) if config.has_pairs else None,
    )


def report(run: Run, found: DryRun, room: Room | None = None) -> str:
    """The account as a text for people, many lines.

    Args:
        run: that was compiled.
        found: its account.
        room: of a GPU; None where the compiler holds a program to the device's memory.
    """
    return "\n".join(
        [
            *_run_lines(run.config, run.mesh, found),
            *_memory_lines(found),
            *(_room_lines(found.program.memory.total, room) if room else ()),
            *_exchange_lines(found.program),
            *_library_lines(found.program),
            *_tensor_lines(found.state, run.config.mesh.fsdp_min_bytes),
        ]
    )


def _run_lines(config: Config, mesh: Mesh, found: DryRun) -> list[str]:
    options, kind = config.training, mesh.devices.flat[0].device_kind
    share = options.batch_size // mesh.size // options.accumulation_steps
    flops, uncounted = found.program.flops, found.program.uncounted
    more = f" and more: {uncounted} library calls in loops count once" if uncounted else ""
    if mesh.devices.flat[0].platform == "gpu":
        more = ", of products and convolutions" + (f" but {uncounted} calls" if uncounted else "")
    return [
        f"parameters   {_parameters(config, found)}",
        f"devices      {mesh.size} × {kind}: data {mesh.shape['data']} × fsdp {mesh.shape['fsdp']}",
        f"batch        {options.batch_size} = {mesh.size} devices × {share} pictures × "
        f"{options.accumulation_steps} accumulated, {config.model.dtype}, "
        f"remat {config.model.remat}",
        f"a step       {flops * mesh.size / 1e12:.3g} TFLOP, {flops / 1e12:.3g} a device{more}",
        f"compiled     in {found.seconds:.0f} s by jaxlib {jaxlib.__version__}",
    ]


def _parameters(config: Config, found: DryRun) -> str:
    """How many there are of each network."""

    def count(params: Params) -> str:
        return f"{sum(math.prod(x.shape) for x in jax.tree.leaves(params)):,}"

    if found.frozen is None:
        return count(found.state.params)
    if not config.teacher:
        return f"{count(found.state.params)}, and of the start {count(found.frozen)}"
    others = f"teacher {count(found.frozen)}"
    if isinstance(found.state, DistillState):
        others += f", auxiliary bridge {count(found.state.auxiliary_params)}"
    return f"student {count(found.state.params)}, {others}"


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


def _room_lines(needed: int, room: Room) -> list[str]:
    """Whether a program fits, and what is assumed; the first word says it."""
    verdict = "fits" if needed <= room.bytes else "does not fit"
    return [
        f"{verdict}: {_gib(needed).strip()} of {_gib(room.bytes).strip()}, which JAX takes of a "
        f"GPU's {_gib(room.memory).strip()} (XLA_PYTHON_CLIENT_MEM_FRACTION={room.share:g})",
        "  assumed, for this compiler knows no bound; choosing algorithms on the GPU, their "
        "workspaces and fragmentation come on top",
    ]


def _exchange_lines(program: Program) -> list[str]:
    rows = [
        f"  {kind:<20} {each.count:6}  {_gib(each.bytes)} of results a device"
        for kind, each in program.collectives.items()
    ]
    return ["collectives a step", *(rows or ["  none"])]


def _library_lines(program: Program) -> list[str]:
    if not program.libraries:
        return []
    rows = [f"  {target:<34} {count:6}" for target, count in program.libraries.items()]
    return ["calls of libraries a step", *rows]


def _tensor_lines(state: State, min_bytes: int) -> list[str]:
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
