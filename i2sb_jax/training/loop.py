"""The training loop: the one place of this package that jits, feeds devices and saves."""

import functools
import math
import sys
from collections.abc import Callable, Iterator

import jax
import optax
from etils import epath
from jax.sharding import Mesh

from i2sb_jax import build, sharding
from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import Checkpoints, abstract_like
from i2sb_jax.config import Config
from i2sb_jax.interop import (
    check_weights,
    inherited_provenance,
    load_weights,
    write_provenance,
)
from i2sb_jax.program import compile_options
from i2sb_jax.training.claim import Claim
from i2sb_jax.training.feed import Feed
from i2sb_jax.training.optimizer import make_optimizer
from i2sb_jax.training.report import Report, Writer
from i2sb_jax.training.state import TrainState, create_state
from i2sb_jax.training.step import TrainStep, make_train_step
from i2sb_jax.types import Batch

_warn = functools.partial(print, "warning:", file=sys.stderr, flush=True)


class NonFiniteError(ValueError):
    """A metric became NaN or infinite; nothing after the last checkpoint was saved."""


class Preempted(Exception):
    """The run was told to stop before its end.

    Attributes:
        step: which is saved; the run goes on from there.
    """

    def __init__(self, step: int):
        super().__init__(f"stopped at step {step}, which is saved; the same command goes on")
        self.step = step


def train(
    config: Config,
    workdir: epath.PathLike,
    *,
    batches: Callable[[int], Iterator[Batch]],
    eval_batch: Batch,
    writer: Writer,
    must_stop: Callable[[int], bool] = lambda step: False,
) -> TrainState:
    """Trains until `config.training.num_steps`, continuing the run in `workdir` if there is one.

    Args:
        config: the run.
        workdir: its folder: config.json, checkpoints/, metrics.jsonl, images/.
        batches: number of updates made -> this process's shares of the batches that follow.
        eval_batch: held-out pictures, the same on every process, restored as training goes.
        writer: takes scalars and pictures.
        must_stop: asked after every step, which it is given; True, on all processes at the same
            step, saves that step and ends the run there.

    Returns:
        The last state, saved.

    Raises:
        ValueError: the batch does not fit the devices, `workdir` holds another run or was taken
            over by one, or a checkpoint has other shapes or cannot be read.
        NonFiniteError: a loss or gradient is not finite; names step and metric.
        Preempted: `must_stop` said so; all is saved.
        OSError: something could not be written (a full disk); complete checkpoints stay.
    """
    check_start(config, workdir)
    mesh, options = _mesh(config), config.training
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
        if jax.process_index() == 0:
            config_lib.save(workdir, config)
        state = _start_state(config, checkpoints, mesh)
        start = int(state.step)
        if not start and options.init_from and jax.process_index() == 0:
            write_provenance(workdir, inherited_provenance(options.init_from))
        if start >= options.num_steps:
            return state
        sample = build.make_sample_fn(config, gather=_gather(config, mesh))
        report = Report(
            config, workdir, eval_batch, sample, writer=writer, mesh=mesh, start_step=start
        )
        feed = Feed(batches(start), warn=_warn)
        with report:
            return _run(config, state, feed, mesh, claim, checkpoints, report, must_stop)


def check_start(config: Config, workdir: epath.PathLike) -> None:
    """Finds what would keep `train` from starting; writes nothing and reads no weights.

    Raises:
        ValueError: mesh or batch do not fit the devices, `workdir` holds another run, or the
            checkpoint or initial weights are missing or have other shapes.
    """
    mesh, options = _mesh(config), config.training
    sharding.check_batch_size(
        options.batch_size, mesh, accumulation_steps=options.accumulation_steps
    )
    config_lib.check_same_run(workdir, config)
    abstract = abstract_state(config, mesh)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        if checkpoints.latest_step() is not None:
            checkpoints.check(abstract)
        elif options.init_from:
            check_weights(options.init_from, abstract.params)
            inherited_provenance(options.init_from)


def _run(
    config: Config,
    state: TrainState,
    feed: Feed,
    mesh: Mesh,
    claim: Claim,
    checkpoints: Checkpoints,
    report: Report,
    must_stop: Callable[[int], bool],
) -> TrainState:
    options, train_step = config.training, jitted_step(config, state, mesh)
    # made on the devices: a key cannot be handed over to those of other processes
    root = jax.jit(lambda: jax.random.key(config.seed), out_shardings=sharding.replicated(mesh))()
    pending: list[tuple[int, dict[str, jax.Array]]] = []  # metrics that nobody has looked at yet
    values: list[dict[str, float]] = []  # and those that were looked at, and not logged yet
    for step in range(int(state.step) + 1, options.num_steps + 1):
        batch = sharding.global_batch(next(feed), mesh)
        with jax.transfer_guard("disallow"):  # a stray host array would cost every step
            state, metrics = train_step(state, batch, root)
        if pending:  # one step ahead of the device and no more: queued batches fill its memory
            jax.block_until_ready(pending[-1][1])
        pending.append((step, metrics))
        report.advance()
        last, stop = step == options.num_steps, must_stop(step)
        log = last or step % options.log_every == 0
        save = last or stop or step % options.checkpoint_every == 0
        draw = last or (step % options.image_every == 0 and not stop)  # whoever stops is in a hurry
        if log or save or draw:
            claim.check()
            checkpoints.check_saves()
            values += _finite_metrics(pending)
            pending.clear()
        if log:
            report.scalars(step, values, data_wait=feed.waiting())
            values.clear()
        measured = None
        if draw:
            measured = report.pictures(step, state.ema_params)
            claim.check()  # that took a while
        if save:
            checkpoints.save(step, state, metrics=measured)
        if stop and not last:
            checkpoints.wait()
            raise Preempted(step)
    checkpoints.wait()
    return state


def _finite_metrics(pending: list[tuple[int, dict[str, jax.Array]]]) -> list[dict[str, float]]:
    """Fetches metrics; raises NonFiniteError for the first step whose values are not finite."""
    fetched = jax.device_get([metrics for _, metrics in pending])
    values = [{name: float(value) for name, value in metrics.items()} for metrics in fetched]
    for (step, _), metrics in zip(pending, values, strict=True):
        for name in sorted(metrics, key=lambda name: name != "loss"):  # the loss is the cause
            if not math.isfinite(value := metrics[name]):
                raise NonFiniteError(
                    f"{name} is {value} at step {step}: stopped without saving; the last "
                    "checkpoint is intact, a lower optimizer.learning_rate may help"
                )
    return values


def keyed_step(config: Config, *, gather: build.Gather | None = None) -> TrainStep:
    """The step under the run's root key: what is random is a function of (seed, step) alone."""
    step = make_train_step(
        apply_fn=build.make_network(config, gather=gather).apply,
        tx=_optimizer(config),
        schedule=build.make_schedule(config),
        ema_decay=config.training.ema_decay,
        deterministic=config.bridge.deterministic,
        accumulation_steps=config.training.accumulation_steps,
        skip_norm=config.optimizer.skip_norm,
        prediction=config.bridge.prediction,
        weighting=config.bridge.weighting,
    )

    def keyed(state: TrainState, batch: Batch, root: jax.Array):
        return step(state, batch, jax.random.fold_in(root, state.step))

    return keyed


def jitted_step(
    config: Config, state: TrainState, mesh: Mesh
) -> Callable[..., tuple[TrainState, dict]]:
    """`keyed_step` on the devices of a mesh: (state, batch, root) -> (state, metrics).

    The state that it is given is written over; what it returns lies where `state` lies, which may
    be of arrays or of `jax.ShapeDtypeStruct`s.
    """
    return jax.jit(
        keyed_step(config, gather=_gather(config, mesh)),
        donate_argnums=0,
        out_shardings=(_places(state), sharding.replicated(mesh)),
        compiler_options=compile_options(mesh),
    )


def fresh_state(config: Config, key: jax.Array) -> TrainState:
    """The state at step 0 from new weights; fit for `jax.eval_shape`."""
    return create_state(build.init_params(key, config), _optimizer(config))


def state_shardings(config: Config, mesh: Mesh) -> TrainState:
    """Where each array of the state lies on the mesh."""
    return _places(abstract_state(config, mesh))


def _places(state: TrainState) -> TrainState:
    return jax.tree.map(lambda x: x.sharding, state)


def _mesh(config: Config) -> Mesh:
    return sharding.make_mesh(data=config.mesh.data, fsdp=config.mesh.fsdp)


def _gather(config: Config, mesh: Mesh) -> build.Gather | None:
    return sharding.gather_on_use(mesh, min_bytes=config.mesh.fsdp_min_bytes)


def abstract_state(config: Config, mesh: Mesh) -> TrainState:
    """The state's shapes, laid over the mesh."""
    shapes = jax.eval_shape(functools.partial(fresh_state, config), jax.random.key(0))
    places = sharding.fsdp_shardings(shapes, mesh, min_bytes=config.mesh.fsdp_min_bytes)
    return abstract_like(shapes, places)


def _optimizer(config: Config) -> optax.GradientTransformation:
    return make_optimizer(config.optimizer, num_steps=config.training.num_steps)


def _start_state(config: Config, checkpoints: Checkpoints, mesh: Mesh) -> TrainState:
    """The newest checkpoint, or the given initial weights, or fresh ones; laid over the mesh."""
    abstract = abstract_state(config, mesh)
    places = _places(abstract)
    if checkpoints.latest_step() is not None:
        return checkpoints.restore(abstract)
    if config.training.init_from:
        params = load_weights(config.training.init_from, abstract.params)
        start = functools.partial(create_state, tx=_optimizer(config))
        return jax.jit(start, out_shardings=places)(params)
    # a stream of its own: the steps fold 0, 1, 2, … into the same root
    key = jax.random.fold_in(jax.random.key(config.seed), 2**31)
    fresh = functools.partial(fresh_state, config)
    return jax.jit(fresh, out_shardings=places)(key)
