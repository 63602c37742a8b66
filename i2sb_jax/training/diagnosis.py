"""Why a metric is not finite: the first that was so, of pictures, weights and what is computed."""

from collections.abc import Callable, Iterator

import jax
import numpy as np

from i2sb_jax.config import Config
from i2sb_jax.finite import in_words, is_finite, non_finite
from i2sb_jax.run import State
from i2sb_jax.types import Array, Batch

# values are in [-1, 1], but for noise and hot pixels
_LARGE = 1e4

_SIDES = {
    "clean": "the clean picture",
    "degraded": "the degraded picture",
    "mask": "the mask",
    "cond": "the condition",
}
_SIDES_OF_PAIRS = {"clean": "the target", "degraded": "the source", "cond": "the source"}


def explain_metric(
    config: Config,
    step: int,
    *,
    before: dict[str, float] | None,
    batches: Callable[[int], Iterator[Batch]],
    state: State,
) -> str:
    """Explains why the loss or gradient of a step is NaN or infinite, as far as it can be known.

    The batch is read anew: it is a function of the step. The weights before the step are gone, but
    a run begins with finite ones, and finite losses and gradients left them so; those after it tell
    where the update went.

    Args:
        config: the run.
        step: the first whose metrics are not finite; 1 is the first of all.
        before: metrics of the step before, if it is known.
        batches: number of updates made -> this process's shares of the batches that follow.
        state: after that step or a later one.

    Returns:
        A few words without a full stop.
    """
    sides = _SIDES_OF_PAIRS if config.has_pairs else _SIDES
    try:
        batch = next(batches(step - 1))
        if found := _in_batch(batch, sides):
            return found
    except Exception as error:  # whatever the source raises: it is not what is to be told
        return f"its pictures cannot be read again ({' '.join(str(error).split())})"
    message = "its pictures are finite"
    if jax.process_count() > 1:
        message = f"the pictures of process {jax.process_index()} are finite"
    if large := _largest(batch, sides):
        return f"{message}, but as large as {large}, where -1 to 1 is usual"
    if before is not None:
        message += f" (the loss was {before['loss']:.4g} at step {step - 1})"
    weights = _in_weights(state)
    message += (
        f", the weights not any more: {weights}" if weights else ", and the weights are still"
    )
    return (
        f"{message}; a lower optimizer.learning_rate than {config.optimizer.learning_rate:g}, more "
        "optimizer.warmup_steps or optimizer.clip_norm may help"
    )


def _in_weights(state: State) -> str:
    """The first tensor that is not finite, "" if there is none; the average comes after its own."""
    fields = {name: value for name, value in state._asdict().items() if name.endswith("params")}
    return next((f"{name}/{found}" for name in fields if (found := non_finite(fields[name]))), "")


def _in_batch(batch: Batch, sides: dict[str, str]) -> str:
    """The first picture that is not finite, its name and the side; "" if there is none."""
    for field, side in sides.items():
        values = getattr(batch, field)
        if values is None or is_finite(np.asarray(values)):
            continue
        for number, picture in enumerate(np.asarray(values)):
            if not is_finite(picture):
                return f"{side} of {_name(batch, number)} holds {in_words(picture)}"
    return ""


def _largest(batch: Batch, sides: dict[str, str]) -> str:
    """The value furthest from 0, with its picture; "" where none is unusual."""
    present = [(getattr(batch, field), side) for field, side in sides.items()]
    reach = [(_reach(values), side) for values, side in present if values is not None]
    most, side = max(reach, key=lambda each: each[0].max())
    number = int(most.argmax())
    if most[number] < _LARGE:
        return ""
    return f"{most[number]:.4g} in {side} of {_name(batch, number)}"


def _reach(values: Array) -> np.ndarray:
    """The largest absolute value of each picture."""
    values = np.asarray(values)
    return np.abs(values).max(axis=tuple(range(1, values.ndim)))


def _name(batch: Batch, number: int) -> str:
    """A picture's name, or its place where it has none."""
    if batch.name is None:
        return f"number {number} of the batch"
    name = batch.name[number]
    return name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else str(name)
