r"""One `lax.scan` over a grid of steps, which every sampler of this package is.

All of them are linear in what they have seen. At X_n, with the network's X̂_0 there and those of the
steps before, they go to

    X_m = w·X_n + Σ_k v_k·X̂_0⁽ᵏ⁾ + u·X_T + ω·z,   z ~ N(0, I),                        (1)

and differ in the weights. `Steps` is a table of these, made on the host in float64, so a sampler is
a few lines that fill it. The network is seen only through `predict_x0_fn(xt, step) -> x0`. Memory
does not grow with the number of evaluations: the scan carries one state and the few X̂_0 that the
weights ask for, and paths are written into a buffer of exactly the grid points to be recorded.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from i2sb_jax.bridge.choices import check_choice
from i2sb_jax.bridge.process import at_least_float32
from i2sb_jax.types import Array, PredictX0Fn, PRNGKey

NormalFn = Callable[..., jax.Array]
"""(key, shape, dtype) -> N(0, 1), as `jax.random.normal`."""

_STATE, _KNOWN = 0, 1  # what a step draws noise for

# where z comes from
NEVER, ONCE, FRESH = "never", "once", "fresh"


class Samples(NamedTuple):
    """The result of a sampler.

    Attributes:
        x0: the state at index 0, [batch, ...]; not the last X̂_0.
        xt_path: states reached at the recorded grid indices, [len(record), batch, ...].
        x0_path: the X̂_0 that led to each of them, same shape.
    """

    x0: jax.Array
    xt_path: jax.Array
    x0_path: jax.Array


class Steps(NamedTuple):
    """The weights of Eq. (1) for each step, in walking order: the first starts at T.

    Attributes:
        xt: w, of the state, [nfe].
        x0: v, of the predictions, the newest first, [nfe, order].
        x1: u, of X_T, [nfe].
        std: ω, [nfe].
        known_std: of the noise that known pixels have after the step, [nfe].
        start_std: of the noise around X_T in which the walk starts; no array.
    """

    xt: Array
    x0: Array
    x1: Array
    std: Array
    known_std: Array
    start_std: float = 0.0


def walk(
    key: PRNGKey | None,
    weights: Steps,
    predict_x0_fn: PredictX0Fn,
    x1: Array,
    *,
    steps: Sequence[int],
    noise: str = FRESH,
    mask: Array | None = None,
    record: tuple[int, ...] = (),
    normal_fn: NormalFn = jax.random.normal,
) -> Samples:
    """Walks a grid down by the weights of Eq. (1).

    With a mask, known pixels are put back after every step: X_m ← (1 - mask)·(X_1 + known_std·z) +
    mask·X_m.

    Args:
        key: random key, or as many as `normal_fn` takes; may be None if no noise is drawn.
        weights: of each step.
        predict_x0_fn: (xt [batch, ...], step int32 scalar) -> X̂_0 [batch, ...].
        x1: X_T, where it starts, [batch, ...].
        steps: ascending indices, as `step_grid` returns; at all but the first of them there is one
            evaluation, so an index may be there twice.
        noise: "never", at the start neither; "once": one z for the start, all steps and known
            pixels; "fresh": new ones at each step, others for its known pixels.
        mask: [batch or 1, h, w, 1], 1 = hole; None where nothing is known.
        record: positions in `steps` (0 = the end) whose states are returned; static. The last
            position, where sampling starts, is refused.
        normal_fn: draws all noise; see `sampling.window_normal` for windows of pictures.

    Returns:
        Samples.

    Raises:
        ValueError: another word for noise.
    """
    check_choice("noise", noise, (NEVER, ONCE, FRESH))
    start = jnp.asarray(x1)
    dtype = at_least_float32(start.dtype)
    *columns, start_std = weights
    rows = Steps(*(jnp.asarray(column, dtype) for column in columns), start_std=None)
    if start_std and noise == FRESH:
        key, start_key = _split(key, 2)
    keys = _split(key, len(steps) - 1) if noise == FRESH else None
    once = normal_fn(key, start.shape, start.dtype) if noise == ONCE else None
    paths = (jnp.zeros((len(record), *start.shape), start.dtype),) * 2
    older = (jnp.zeros(start.shape, dtype),) * (weights.x0.shape[1] - 1)
    first = start
    if start_std and noise != NEVER:
        z = once if noise == ONCE else normal_fn(start_key, start.shape, start.dtype)
        first = (start + jnp.asarray(start_std, dtype) * z).astype(start.dtype)

    def step_fn(carry, scanned):
        xt, older, (xt_path, x0_path) = carry
        now, slot, row, key = scanned

        def draw(use):
            if key is None:
                return once
            return normal_fn(_split(key, 2)[use], start.shape, start.dtype)

        x0 = predict_x0_fn(xt, now).astype(dtype)
        seen = (x0, *older)
        terms = [row.xt * xt, row.x1 * start, *(row.x0[k] * x for k, x in enumerate(seen))]
        if noise != NEVER:
            terms.append(row.std * draw(_STATE))
        xt = sum(terms).astype(start.dtype)
        if mask is not None:
            known = start if noise == NEVER else start + row.known_std * draw(_KNOWN)
            xt = ((1 - mask) * known + mask * xt).astype(start.dtype)
        paths = _keep(xt_path, slot, xt), _keep(x0_path, slot, x0)
        return (xt, seen[:-1], paths), None

    now, slots = _indices(steps, record)
    (x0, _, paths), _ = jax.lax.scan(step_fn, (first, older, paths), (now, slots, rows, keys))
    return Samples(x0, *paths)


def _split(key: PRNGKey, count: int) -> jax.Array:
    """Splits a key, or each of many: [batch] -> [count, batch]."""
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim:
        return jax.vmap(lambda each: jax.random.split(each, count), out_axes=1)(key)
    return jax.random.split(key, count)


def _indices(steps: Sequence[int], record: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Returns each step's index n and the record's slot for what it reaches, in walking order."""
    positions = range(len(steps) - 2, -1, -1)
    slots = [record.index(i) if i in record else len(record) for i in positions]
    return jnp.asarray(steps[:0:-1], jnp.int32), jnp.asarray(slots, jnp.int32)


def _keep(path: jax.Array, slot: jax.Array, state: jax.Array) -> jax.Array:
    """Writes a state into its slot; one beyond the end is a state that nobody asked for."""
    return path.at[slot].set(state.astype(path.dtype), mode="drop") if len(path) else path


def check_grid(num_steps: int, steps: Sequence[int], record: tuple[int, ...]) -> None:
    """Raises ValueError unless `steps` is a grid down from the end, and `record` lies on it."""
    ascending = all(low < high for low, high in itertools.pairwise(steps))
    if len(steps) < 2 or not ascending or steps[0] < 0 or steps[-1] != num_steps - 1:
        raise ValueError(
            f"steps={tuple(steps)} must ascend from 0 or more to num_steps - 1 = "
            f"{num_steps - 1}, as step_grid(num_steps, nfe) returns"
        )
    for position in record:
        if not 0 <= position < len(steps) - 1 or record.count(position) > 1:
            raise ValueError(
                f"record={record} must hold different positions in 0…{len(steps) - 2} of the grid"
            )
