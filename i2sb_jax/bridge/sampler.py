"""From X_1 to X_0: one `lax.scan` over a grid of steps, for the SDE and the OT-ODE.

A sampler sees the network only through `predict_x0_fn(xt, step) -> x0`. Its memory does not grow
with the number of evaluations: the scan carries one state, and paths are written into a buffer of
exactly the grid points that the caller asks to record.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from i2sb_jax.bridge.process import marginal, posterior
from i2sb_jax.bridge.schedule import BridgeSchedule
from i2sb_jax.types import Array, PredictX0Fn, PRNGKey

NormalFn = Callable[..., jax.Array]
"""(key, shape, dtype) -> N(0, 1), as `jax.random.normal`."""

_POSTERIOR, _KNOWN = 0, 1  # what a step draws noise for


class Samples(NamedTuple):
    """What a sampler returns.

    Attributes:
        x0: the state at index 0, [batch, ...]; not the last X̂_0.
        xt_path: states reached at the recorded grid indices, [len(record), batch, ...].
        x0_path: the X̂_0 that led to each of them, same shape.
    """

    x0: jax.Array
    xt_path: jax.Array
    x0_path: jax.Array


def sample(
    key: PRNGKey | None,
    schedule: BridgeSchedule,
    predict_x0_fn: PredictX0Fn,
    x1: Array,
    *,
    steps: Sequence[int],
    mask: Array | None = None,
    deterministic: bool = False,
    record: tuple[int, ...] = (),
    normal_fn: NormalFn = jax.random.normal,
) -> Samples:
    """Samples X_0 given X_1 by the bridge's posterior (I²SB Algorithm 2).

    Starts at exactly X_1 at the last index. With a mask, known pixels are put back after every
    step to what the bridge between X_1 and itself holds there,
    X_m ← (1 - mask)·(X_1 + std_m·z) + mask·X_m, with std_m of Eq. (11) and z = 0 for the OT-ODE.

    Args:
        key: random key; not used, and may be None, if `deterministic`.
        schedule: the bridge.
        predict_x0_fn: (xt [batch, ...], step int32 scalar) -> X̂_0 [batch, ...].
        x1: degraded end, [batch, ...].
        steps: ascending indices, as `step_grid` returns; len(steps) - 1 evaluations are made.
        mask: [batch or 1, h, w, 1], 1 = hole; None where nothing is known.
        deterministic: OT-ODE: no noise anywhere, Eq. (13).
        record: positions in `steps` (0 = the end of the bridge, X_0) whose states are returned;
            static. The last position, where sampling starts, is X_1 itself and is refused.
        normal_fn: draws all noise; see `window_normal` for pictures that are sampled in windows.

    Returns:
        Samples.

    Raises:
        ValueError: `steps` is not an ascending grid ending at num_steps - 1, or `record` holds
            something that is not a position in it.
    """
    _check_grid(schedule, steps, record)
    keys = None if deterministic else jax.random.split(key, len(steps) - 1)
    start = jnp.asarray(x1)
    paths = (jnp.zeros((len(record), *start.shape), start.dtype),) * 2

    def step_fn(carry, scanned):
        xt, (xt_path, x0_path) = carry
        now, prev, slot, key = scanned
        x0 = predict_x0_fn(xt, now)
        draw = None if deterministic else functools.partial(_draw, key, normal_fn)
        xt = _bridge_step(draw, schedule, prev, now, xt, x0, start, mask)
        return (xt, (_keep(xt_path, slot, xt), _keep(x0_path, slot, x0))), None

    (x0, paths), _ = jax.lax.scan(step_fn, (start, paths), (*_walk(steps, record), keys))
    return Samples(x0, *paths)


def _walk(steps: Sequence[int], record: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Where each step is (n), where it goes (m), and its slot in the record; in walking order."""
    positions = range(len(steps) - 2, -1, -1)
    slots = [record.index(i) if i in record else len(record) for i in positions]
    columns = (steps[:0:-1], steps[-2::-1], slots)
    return tuple(jnp.asarray(column, jnp.int32) for column in columns)


def _keep(path: jax.Array, slot: jax.Array, state: jax.Array) -> jax.Array:
    """Writes a state into its slot; one beyond the end is a state that nobody asked for."""
    return path.at[slot].set(state, mode="drop") if len(path) else path


def _draw(key: PRNGKey, normal_fn: NormalFn, use: int, like: jax.Array) -> jax.Array:
    """Noise for one of a step's two uses."""
    return normal_fn(jax.random.split(key)[use], like.shape, like.dtype)


def _bridge_step(draw, schedule, prev, now, xt, x0, x1, mask) -> jax.Array:
    """X_n → X_m by the posterior, then known pixels back to the bridge's marginal.

    `draw` is (use, like) -> N(0, 1), None for the OT-ODE.
    """
    mean, std = posterior(schedule, prev, now, xt, x0)
    xt = (mean if draw is None else mean + std * draw(_POSTERIOR, mean)).astype(x1.dtype)
    if mask is None:
        return xt
    known = x1
    if draw is not None:
        known = x1 + marginal(schedule, prev, x1, x1).std.astype(x1.dtype) * draw(_KNOWN, x1)
    return (1 - mask) * known + mask * xt


def _check_grid(schedule: BridgeSchedule, steps: Sequence[int], record: tuple[int, ...]) -> None:
    ascending = all(low < high for low, high in itertools.pairwise(steps))
    if len(steps) < 2 or not ascending or steps[0] < 0 or steps[-1] != schedule.num_steps - 1:
        raise ValueError(
            f"steps={tuple(steps)} must ascend from 0 or more to num_steps - 1 = "
            f"{schedule.num_steps - 1}, as step_grid(num_steps, nfe) returns"
        )
    for position in record:
        if not 0 <= position < len(steps) - 1 or record.count(position) > 1:
            raise ValueError(
                f"record={record} must hold different positions in 0…{len(steps) - 2} of the grid"
            )
