"""Saving and restoring training states; the only file that knows Orbax.

Each field of the state is an item of its own in the checkpoint, so that the averaged weights, all
that restoring pictures needs, can be read without the optimizer.
"""

import concurrent.futures
import contextlib
import functools
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh, NamedSharding

from i2sb_jax.accelerators.agreement import agreed
from i2sb_jax.files import is_remote
from i2sb_jax.reasons import first_line

State = TypeVar("State", bound=NamedTuple)

LATEST, BEST = "latest", "best"  # names of checkpoints, beside the numbers of their steps

_FOLDER = "checkpoints"
_FIELDS = ("step", "params", "ema_params", "opt_state")  # of training.TrainState
_FIELDS += ("auxiliary_params", "auxiliary_opt_state")  # of training.DistillState
_LONGEST_REASON = 300  # characters
_PATIENCE = 3  # seconds for another run to see that it has to stop
_SCALAR = "value"  # Orbax wants a tree where a field is a single array
_HOST = "pinned_host"  # memory that devices copy to while they work


class Checkpoints(contextlib.AbstractContextManager):
    """The checkpoints of one run; a context manager that waits for pending saves at its end."""

    def __init__(
        self,
        workdir: epath.PathLike,
        *,
        keep: int = 1,
        keep_every: int = 0,
        best_metric: str = "",
        read_only: bool = False,
    ):
        """Opens `workdir`/checkpoints; makes it and removes what interrupted saves left there.

        Args:
            workdir: the run's folder; may be gs://.
            keep: how many of the newest checkpoints stay.
            keep_every: those of steps that it divides stay too; 0: none.
            best_metric: of what `save` is told: the one where it was highest stays too; "": none.
            read_only: for those who only restore; nothing is made or removed.
        """
        self._folder = checkpoint_folder(workdir)
        self._best_metric, self._scores = best_metric, {}
        self._manager, self._pending = None, None
        self._worker = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="save")
        if read_only and not agreed(self._folder.is_dir()):
            return
        if not read_only:
            self._folder.mkdir(parents=True, exist_ok=True)
            if jax.process_index() == 0:
                _remove_remains(self._folder)
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_Kept(keep, keep_every, self._scores),
            # without it Orbax writes no metrics; what is best `_Kept` decides
            best_fn=(lambda metrics: metrics[best_metric]) if best_metric else None,
            lightweight_initialize=True,  # else a broken file of metrics would bar all the others
            create=False,
        )
        handlers = {name: ocp.StandardCheckpointHandler() for name in _FIELDS}
        self._manager = _Manager(self._folder, options=options, item_handlers=handlers)
        if best_metric:
            self._read_scores()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._manager is None:
            return
        try:
            with self._worker:  # the same thread: to each Orbax tells a failure once
                closed = self._worker.submit(self._manager.close)
                self.wait()
                closed.result()
        except OSError:
            if error is None:  # else it is what ends the run already
                raise

    def latest_step(self) -> int | None:
        """The newest complete checkpoint, None if there is none."""
        return max(self._steps(), default=None)

    def best_step(self) -> int | None:
        """The checkpoint with the highest `best_metric`, the older of equals; None without one."""
        return _best(self._steps(), self._scores)

    def find(self, which: str | int) -> int:
        """The step of a checkpoint.

        Args:
            which: "latest", "best", or the number of a step.

        Raises:
            ValueError: there is none such; the line names those that there are.
        """
        which, steps = check_name(which), self._steps()
        if not steps:
            raise ValueError(f"no checkpoint in {self._folder}: train first, or name another run")
        step = {LATEST: steps[-1], BEST: self.best_step()}.get(which, which)
        if step not in steps:
            by = f"that is best by training.best_metric={self._best_metric!r}"
            raise ValueError(
                f"no checkpoint {by if which == BEST else f'of step {which}'} in {self._folder}: "
                f"there are those of steps {', '.join(map(str, steps))}"
            )
        return step

    def save(self, step: int, state: State, *, metrics: Mapping[str, float] | None = None) -> None:
        """Starts saving `state` (a NamedTuple of pytrees of arrays) without waiting for it.

        It waits for the save before this one. `state` may be donated to the step that follows.

        Args:
            step: its number, higher than that of every other checkpoint.
            state: what is saved.
            metrics: what was measured of it, the same on all processes; what is not finite is
                left out, and without `best_metric` all is.

        Raises:
            OSError: the save before, or the start of this one, failed (a full disk); checkpoints
                that were complete stay.
        """
        self.wait()  # a second copy would take as much memory again
        finite = {name: value for name, value in (metrics or {}).items() if math.isfinite(value)}
        if self._best_metric in finite:
            self._scores[step] = finite[self._best_metric]
        alone = jax.process_count() == 1
        fields = (_on_host(state) if alone else state)._asdict()
        items = {name: ocp.args.StandardSave(_as_tree(value)) for name, value in fields.items()}
        save = functools.partial(
            self._manager.save, step, args=ocp.args.Composite(**items), metrics=finite or None
        )
        if not alone:  # its barriers are programs, which all processes must start in one order
            with self._explained_failure():
                save()
        self._pending = self._worker.submit(self._finish, save if alone else None)

    def _finish(self, save: Callable[[], object] | None) -> None:
        """Finishes a save while the loop goes on; Orbax alone would hold it up by each tensor."""
        with self._explained_failure():
            if save is not None:
                save()
            self._manager.wait_until_finished()

    def wait(self) -> None:
        """Returns once every save that was started is on disk; raises OSError as `save` does."""
        pending, self._pending = self._pending, None  # what failed is told once
        if pending is not None:
            pending.result()

    def check_saves(self) -> None:
        """Raises OSError, without waiting, if a save that was started has failed by now."""
        if self._pending is not None and self._pending.done():
            self.wait()

    @contextlib.contextmanager
    def _explained_failure(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, jax.errors.JaxRuntimeError):  # a device's, or a lost process'
            raise
        except Exception as error:  # of Orbax and TensorStore, of many kinds
            newest = max(ocp.utils.checkpoint_steps(self._folder), default=None)
            rest = "there is none yet" if newest is None else f"that of step {newest} is complete"
            raise OSError(
                f"a checkpoint in {self._folder} could not be saved ({_reason(error)}); {rest}"
            ) from error

    def restore(self, abstract: State, *, step: int | None = None) -> State:
        """Reads a whole state.

        Args:
            abstract: `jax.ShapeDtypeStruct`s with shardings, on any mesh.
            step: which checkpoint; the newest if None.

        Returns:
            The state on that mesh.

        Raises:
            ValueError: there is no checkpoint, or its tensors have other names or shapes.
        """
        return type(abstract)(**self._read(self._step(step), abstract._asdict()))

    def restore_field(self, name: str, abstract: Any, *, step: int | None = None) -> Any:
        """Reads one field of the state, e.g. "ema_params"; otherwise as `restore`."""
        return self._read(self._step(step), {name: abstract})[name]

    def check(self, abstract: State) -> None:
        """Raises what `restore` would raise about the newest checkpoint, reading only shapes."""
        self._check_fields(self._step(None), abstract._asdict())

    def check_field(self, name: str, abstract: Any, *, step: int | None = None) -> None:
        """Raises what `restore_field` would raise, as `check` does."""
        self._check_fields(self._step(step), {name: abstract})

    def _step(self, step: int | None) -> int:
        return self.find(LATEST if step is None else step)

    def _steps(self) -> list[int]:
        """Those of all complete checkpoints, ascending."""
        self.wait()
        return [] if self._manager is None else list(self._manager.all_steps())

    def _read_scores(self) -> None:
        """`best_metric` of the checkpoints that were saved with it."""
        for step in self._steps():
            with contextlib.suppress(ValueError):  # damaged: nothing is known of it
                metrics = self._manager.metrics(step) or {}
                if self._best_metric in metrics:
                    self._scores[step] = metrics[self._best_metric]

    def _read(self, step: int, fields: dict[str, Any]) -> dict[str, Any]:
        self._check_fields(step, fields)
        items = {name: ocp.args.StandardRestore(_as_tree(value)) for name, value in fields.items()}
        with self._explained_damage(step):
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        return {
            name: jax.tree.unflatten(jax.tree.structure(tree), jax.tree.leaves(restored[name]))
            for name, tree in fields.items()
        }

    def _check_fields(self, step: int, fields: dict[str, Any]) -> None:
        """One clear line instead of Orbax's, before anything is allocated."""
        with self._explained_damage(step):
            saved = self._manager.item_metadata(step)
            missing = [name for name in fields if saved[name] is None]
            if missing:
                raise FileNotFoundError(f"{missing[0]} is incomplete")
            shapes = {name: _shapes(saved[name].tree, prefix=f"{name}/") for name in fields}
        origin = f"checkpoint {step} in {self._folder}"
        for name, abstract in fields.items():
            check_shapes(origin, shapes[name], _shapes(_as_tree(abstract), prefix=f"{name}/"))

    @contextlib.contextmanager
    def _explained_damage(self, step: int) -> Iterator[None]:
        try:
            yield
        except (MemoryError, jax.errors.JaxRuntimeError):  # no fault of the files
            raise
        except Exception as error:  # by what is truncated or missing, of many kinds
            older = [each for each in self._manager.all_steps() if each < step]
            rest = f"step {max(older)}" if older else "the beginning: there is no older one"
            raise ValueError(
                f"checkpoint {step} in {self._folder} cannot be read ({_reason(error)}); if it is "
                f"damaged, remove {self._folder / str(step)} to go on from {rest}"
            ) from error


class _Manager(ocp.CheckpointManager):
    def reached_preemption(self, step: int) -> bool:
        """Returns False: the loop alone asks, for JAX loses a notice if asked of a step gone by."""
        return False


class _Kept:
    """The checkpoints that stay, for Orbax: the newest, every k-th, and the best."""

    def __init__(self, keep: int, keep_every: int, scores: Mapping[int, float]):
        self._keep, self._keep_every, self._scores = keep, keep_every, scores

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """One answer a checkpoint, in their order, which ascends by `step`."""
        steps = [checkpoint.step for checkpoint in checkpoints]
        stay = {*steps[-self._keep :], _best(steps, self._scores)}
        if self._keep_every:
            stay |= {step for step in steps if step % self._keep_every == 0}
        return [step in stay for step in steps]


def _best(steps: Sequence[int], scores: Mapping[int, float]) -> int | None:
    """Returns the step with the highest score, the first of equals; steps ascend."""
    return max((step for step in steps if step in scores), key=scores.__getitem__, default=None)


def check_name(which: str | int) -> str | int:
    """The name of a checkpoint: "latest", "best" or the number of a step, as an int.

    Raises:
        ValueError: it is none of these.
    """
    if which in (LATEST, BEST):
        return which
    try:
        return int(which)
    except ValueError:
        raise ValueError(
            f"checkpoint={which!r} is not known: use {LATEST}, {BEST} or the number of a step"
        ) from None


def silence_orbax() -> None:
    """Keeps what `Checkpoints` tells in one line from being told by others, with tracebacks."""
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    # tasks of Orbax that failed beside the one that is told
    logging.getLogger("asyncio").addFilter(lambda record: "orbax" not in record.getMessage())
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # TensorStore's threads, which come back to a save that was given up
        if str(unraisable.exc_value) != "Event loop is closed":
            usual(unraisable)

    sys.unraisablehook = hook


def check_shapes(origin: str, have: dict[str, tuple], want: dict[str, tuple]) -> None:
    """Raises ValueError, in one line, for the first tensor whose shape is not the wanted one.

    Args:
        origin: what holds the tensors, as the line names it.
        have: name -> shape there.
        want: name -> shape that the configuration asks for.
    """
    for name in sorted(set(have) | set(want)):
        there, here = (shapes.get(name, "absent") for shapes in (have, want))
        if there != here:
            raise ValueError(
                f"{origin} does not fit this config: {name} is {there} there, {here} here"
            )


def checkpoint_folder(workdir: epath.PathLike) -> epath.Path:
    """`workdir`/checkpoints, absolute where it is local: Orbax insists on that."""
    folder = epath.Path(workdir) / _FOLDER
    return folder if is_remote(folder) else folder.absolute()


def abstract_like(tree: Any, sharding: Any) -> Any:
    """Shapes, dtypes and shardings in place of a tree's arrays, as `restore` wants them.

    Args:
        tree: of arrays or `jax.ShapeDtypeStruct`s.
        sharding: one for all of them, or a tree of one each.
    """
    if isinstance(sharding, jax.sharding.Sharding):
        sharding = jax.tree.map(lambda _: sharding, tree)
    return jax.tree.map(
        lambda x, where: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree, sharding
    )


def _remove_remains(folder: epath.Path) -> None:
    """Removes what interrupted saves left; Orbax would fail where another run still writes it."""
    for path in filter(ocp.utils.is_tmp_checkpoint, list(folder.iterdir())):
        for _ in range(_PATIENCE):
            try:
                path.rmtree(missing_ok=True)
                break
            except OSError:  # it grows as it is removed
                time.sleep(1)


def _reason(error: Exception) -> str:
    text = first_line(error)
    if len(text) <= _LONGEST_REASON:
        return text
    half = _LONGEST_REASON // 2  # TensorStore begins with what it did and ends with the cause
    return f"{text[:half]} … {text[-half:]}"


def _on_host(tree: Any) -> Any:
    """Copies of arrays, on their way to the host's memory when this returns."""
    tree = jax.tree.map(_first_copies, tree)
    return jax.device_put(tree, jax.tree.map(lambda x: x.sharding.with_memory_kind(_HOST), tree))


def _first_copies(x: jax.Array) -> jax.Array:
    """`x` on those devices alone that hold the first copy of each of its parts; nothing moves."""
    if x.is_fully_replicated:
        return x.addressable_data(0)
    mesh, spec = x.sharding.mesh, x.sharding.spec
    cut = jax.tree.leaves(tuple(spec))  # names of axes
    first = tuple(slice(None if name in cut else 1) for name in mesh.axis_names)
    where = NamedSharding(Mesh(mesh.devices[first], mesh.axis_names), spec)
    parts = [shard.data for shard in x.addressable_shards if shard.replica_id == 0]
    return jax.make_array_from_single_device_arrays(x.shape, where, parts)


def _as_tree(value: Any) -> Any:
    return {_SCALAR: value} if jax.tree_util.treedef_is_leaf(jax.tree.structure(value)) else value


def _shapes(tree: Any, *, prefix: str) -> dict[str, tuple[int, ...]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    keystr = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {prefix + keystr(path): tuple(leaf.shape) for path, leaf in leaves}
