"""The training loop: the one place of this package that jits, feeds devices and saves."""

import functools
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
from etils import epath
from jax.sharding import Mesh

from i2sb_jax import config as config_lib
from i2sb_jax.accelerators import agreement, sharding
from i2sb_jax.accelerators.compiler import compile_options
from i2sb_jax.accelerators.peaks import bf16_peak
from i2sb_jax.accelerators.program import read_program
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.files import require_writable
from i2sb_jax.finite import check_finite
from i2sb_jax.interop import (
    check_weights,
    inherited_provenance,
    load_weights,
    write_provenance,
)
from i2sb_jax.reasons import first_line
from i2sb_jax.run import Run, State
from i2sb_jax.training.claim import Claim
from i2sb_jax.training.diagnosis import explain_metric
from i2sb_jax.training.feed import Feed
from i2sb_jax.training.pace import Clock, Work
from i2sb_jax.training.profile import Profile
from i2sb_jax.training.report import Report, Writer
from i2sb_jax.training.start import check_start_model, load_start, with_kept_start
from i2sb_jax.training.teacher import check_teacher, load_teacher, note_teacher
from i2sb_jax.types import Batch, NonFiniteError, Params

# folders of a run that are written into as it goes; some may be links to other disks
_WRITTEN = ("checkpoints", "images", "index", "tensorboard")
_warn = functools.partial(print, "warning:", file=sys.stderr, flush=True)


class Preempted(Exception):
    """The run was told to stop before its end.

    Attributes:
        step: which is saved; the run goes on from there.
    """

    def __init__(self, step: int):
        super().__init__(f"stopped at step {step}, which is saved; the same command goes on")
        self.step = step


class Start(NamedTuple):
    """A run that may begin or go on in its folder, as `check_start` found.

    Attributes:
        run: what is trained, and on which devices.
        workdir: its folder: config.json, checkpoints/, metrics.jsonl, images/.
    """

    run: Run
    workdir: epath.PathLike


class Program(NamedTuple):
    """The step of a run, compiled.

    Attributes:
        step: (state, batch, root, frozen) -> (state, metrics), of arguments as it was compiled for.
        work: that it does.
    """

    step: jax.stages.Compiled
    work: Work


CompileFn: TypeAlias = Callable[..., Program]
"""(run, state, batch, root, frozen) -> Program, as `compile_step`."""


class _Watch(NamedTuple):
    """All that looks after a run, beside the devices.

    Attributes:
        claim: to the folder.
        checkpoints: in it.
        report: of the run.
        profile: of some steps.
    """

    claim: Claim
    checkpoints: Checkpoints
    report: Report
    profile: Profile


def train(
    start: Start,
    *,
    batches: Callable[[int], Iterator[Batch]],
    eval_batch: Batch,
    writer: Writer,
    must_stop: Callable[[int], bool] = lambda step: False,
    clock: Clock = time.monotonic,
    compile_fn: CompileFn | None = None,
) -> State:
    """Trains to the last step, continuing the run in its folder if there is one.

    Args:
        start: from `check_start`.
        batches: number of updates made -> this process's shares of the batches that follow; asked
            again for one whose loss is not finite.
        eval_batch: held-out pictures, the same on every process, restored as training goes.
        writer: takes scalars and pictures.
        must_stop: asked after every step, which it is given; True, on all processes at the same
            step, saves that step and ends the run there.
        clock: the pace that is logged is measured by it.
        compile_fn: makes the program of the step, `compile_step` if None; for whoever has it from
            another run.

    Returns:
        The last state, saved.

    Raises:
        ValueError: the folder was taken over by another run, or a checkpoint cannot be read or is
            not finite.
        NonFiniteError: a loss or gradient is not finite; names step, metric, and what was the first
            to be so: a picture, the weights, or what was computed of them.
        Preempted: `must_stop` said so; all is saved.
        OSError: something could not be written (a full disk); complete checkpoints stay.
    """
    run, workdir = start
    config, options = run.config, run.config.training
    keep = {
        "keep": options.keep_checkpoints,
        "keep_every": options.keep_every,
        "best_metric": options.best_metric,
    }
    with (
        jax.default_matmul_precision(config.matmul_precision),
        Claim(workdir) as claim,
        Checkpoints(workdir, **keep) as checkpoints,
    ):
        frozen = load_start(run, workdir)
        if config.teacher:
            if jax.process_index() == 0:
                note_teacher(config, workdir)
            agreement.barrier("the teacher's checkpoint is noted")
            frozen = load_teacher(config, workdir, run.abstract_weights)
        state = _start_state(run, checkpoints, frozen if config.teacher else None)
        if jax.process_index() == 0:  # not before: weights that are refused begin no run
            config_lib.save(workdir, config)
        step = int(state.step)
        if not step and jax.process_index() == 0:
            _note_origin(config, workdir)
        if step >= options.num_steps:
            return state
        report = Report(run, workdir, eval_batch, writer=writer, start_step=step, clock=clock)
        profile = Profile(workdir, options.profile_steps, start_step=step, pace=report.pace)
        with report, profile:
            watch = _Watch(claim, checkpoints, report, profile)
            compile_fn = compile_fn or compile_step
            return _run(run, state, frozen, batches, watch, must_stop, compile_fn)


def _note_origin(config: config_lib.Config, workdir: epath.PathLike) -> None:
    """Writes down where the weights come from that a run begins with."""
    source = config.teacher or config.training.init_from
    if source:
        write_provenance(workdir, inherited_provenance(source))


def check_start(run: Run, workdir: epath.PathLike) -> Start:
    """Finds what would keep `train` from starting, or from saving; it reads no weights.

    Args:
        run: as in `Start`.
        workdir: likewise.

    Returns:
        What `train` takes.

    Raises:
        ValueError: mesh or batch do not fit the devices, `workdir` holds another run, or the
            checkpoint or initial weights are missing or have other shapes, or the teacher is none
            for this student, or the model that the bridge starts at does not suit it, or a folder
            of the run cannot be written into.
    """
    config, options = run.config, run.config.training
    sharding.check_batch_size(
        options.batch_size, run.mesh, accumulation_steps=options.accumulation_steps
    )
    config_lib.check_same_run(workdir, config)
    run = with_kept_start(run, workdir)
    check_start_model(run)
    for folder in (workdir, *(epath.Path(workdir) / name for name in _WRITTEN)):
        require_writable(folder)  # hours later is too late
    weights = run.abstract_weights
    if config.teacher:
        check_teacher(config, workdir, weights)
        inherited_provenance(config.teacher)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        if checkpoints.latest_step() is not None:
            checkpoints.check(run.abstract_state)
        elif options.init_from:
            check_weights(options.init_from, weights)
            inherited_provenance(options.init_from)
    return Start(run, workdir)


def jitted_step(run: Run, state: State) -> Callable[..., Any]:
    """Returns `run.step` on the devices of its mesh: (state, batch, root, frozen) -> both.

    The state that it is given is written over; what it returns lies where `state` lies, which may
    be of arrays or of `jax.ShapeDtypeStruct`s.
    """
    shardings = jax.tree.map(lambda x: x.sharding, state)
    return jax.jit(
        run.step,
        donate_argnums=0,
        out_shardings=(shardings, sharding.replicated(run.mesh)),
        compiler_options=compile_options(run.mesh),
    )


def compile_step(
    run: Run, state: State, batch: Batch, root: jax.Array, frozen: Params | None
) -> Program:
    """Compiles the step of a run for arguments as these, and reads what it does."""
    step = jitted_step(run, state).lower(state, batch, root, frozen).compile()
    return Program(step, _work(step, run.mesh))


def _run(
    run: Run,
    state: State,
    frozen: Params | None,
    batches: Callable[[int], Iterator[Batch]],
    watch: _Watch,
    must_stop: Callable[[int], bool],
    compile_fn: CompileFn,
) -> State:
    config, options, mesh = run.config, run.config.training, run.mesh
    claim, checkpoints, report, profile = watch
    # made on the devices: a key cannot be handed over to those of other processes
    root = jax.jit(lambda: jax.random.key(config.seed), out_shardings=sharding.replicated(mesh))()
    pending: list[tuple[int, dict[str, jax.Array]]] = []  # metrics that nobody has looked at yet
    values: list[dict[str, float]] = []  # and those that were looked at, and not logged yet
    seen: dict[str, float] | None = None  # the last of them
    start = int(state.step)
    feed = Feed(batches(start), warn=_warn, waiting=report.pace.waiting)
    first = next(feed)
    program = compile_fn(run, state, sharding.global_batch(first, mesh), root, frozen)
    train_step = program.step
    report.pace.start(program.work)
    feed = itertools.chain([first], feed)
    del first
    profile.reached(start, state)
    for step in range(start + 1, options.num_steps + 1):
        batch = sharding.global_batch(next(feed), mesh)
        # a stray host array would cost every step
        with jax.transfer_guard("disallow"), profile.step(step):
            state, metrics = train_step(state, batch, root, frozen)
        if pending:  # one step ahead of the device and no more: queued batches fill its memory
            jax.block_until_ready(pending[-1][1])
        pending.append((step, metrics))
        report.advance()
        profile.reached(step, metrics)
        last, stop = step == options.num_steps, must_stop(step)
        log = last or step % options.log_every == 0
        save = last or stop or step % options.checkpoint_every == 0
        draw = last or (step % options.image_every == 0 and not stop)  # whoever stops is in a hurry
        if log or save or draw:
            claim.check()
            checkpoints.check_saves()
            found = _fetched(pending)
            if (bad := _first_non_finite(found)) is not None:
                before = found[bad - 1] if bad else seen
                raise NonFiniteError(
                    _message(
                        config, pending[bad][0], found[bad], before, batches, state, checkpoints
                    )
                )
            values, seen = values + found, found[-1]
            pending.clear()
        if log:
            report.scalars(step, values)
            values.clear()
        with report.pace.aside():
            measured = None
            if draw:
                measured = report.pictures(step, run.sampled(state.ema_params, frozen))
                claim.check()  # that took a while
            if save:
                checkpoints.save(step, state, metrics=measured)
        if stop and not last:
            checkpoints.wait()
            raise Preempted(step)
    checkpoints.wait()
    return state


def _work(step: jax.stages.Compiled, mesh: Mesh) -> Work:
    """The work of a step, for the process that reports; a line where nothing tells of it."""
    if jax.process_index() != 0:
        return Work(None, None)
    peak = bf16_peak(mesh.devices.flat[0].device_kind)
    flops = None
    try:
        flops = read_program(step).flops
    except Exception as error:  # of a text unlike those that were met: no reason to end a training
        reason = first_line(error)
        _warn(f"TFLOP/s are not logged, for the program's account is not understood: {reason}")
    return Work(flops, None if peak is None else peak.flops)


def _fetched(pending: list[tuple[int, dict[str, jax.Array]]]) -> list[dict[str, float]]:
    """The metrics of some steps as numbers."""
    fetched = jax.device_get([metrics for _, metrics in pending])
    return [{name: float(value) for name, value in metrics.items()} for metrics in fetched]


def _first_non_finite(values: list[dict[str, float]]) -> int | None:
    """The first step of those in `values` with a metric that is not finite, None without one."""
    finite = [all(map(math.isfinite, metrics.values())) for metrics in values]
    return None if all(finite) else finite.index(False)


def _message(
    config: config_lib.Config,
    step: int,
    metrics: dict[str, float],
    before: dict[str, float] | None,
    batches: Callable[[int], Iterator[Batch]],
    state: State,
    checkpoints: Checkpoints,
) -> str:
    """One line on metrics that are not finite, what made them so, and what there is to go back."""
    names = sorted(metrics, key=lambda name: name != "loss")  # the loss is the cause of the others
    name = next(name for name in names if not math.isfinite(metrics[name]))
    cause = explain_metric(config, step, before=before, batches=batches, state=state)
    saved = checkpoints.latest_step()
    kept = "no step is saved yet" if saved is None else f"the last saved step is {saved}"
    return f"{name} is {metrics[name]} at step {step}: {cause}; stopped, {kept}"


def _start_state(run: Run, checkpoints: Checkpoints, teacher: Params | None) -> State:
    """The newest checkpoint, or one from the given weights, or from fresh ones; on the mesh."""
    config, options = run.config, run.config.training
    if (newest := checkpoints.latest_step()) is not None:
        state = checkpoints.restore(run.abstract_state)
        check_finite(f"checkpoint {newest}, from which the run would go on", state._asdict())
        return state
    weights = teacher
    if options.init_from:
        weights = load_weights(options.init_from, run.abstract_weights)
    if weights is not None:
        return jax.jit(run.state_from, out_shardings=run.state_shardings)(weights)
    # a stream of its own: the steps fold 0, 1, 2, … into the same root
    key = jax.random.fold_in(jax.random.key(config.seed), 2**31)
    return jax.jit(run.init_state, out_shardings=run.state_shardings)(key)
