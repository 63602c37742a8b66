r"""A sampler as a table, and the law of its result where the predictor is affine: exactly.

A sampler's step is X_m = w·X_n + Σ_k v_k·X̂_0⁽ᵏ⁾ + u·X_T + ω·z (`bridge.walk`). With X̂_0 = M·X +
K·X_T + v, every state is affine in X_T and in the noise,

    X = μ + A·X_T + B·(z_1, z_2, …),                                                       (1)

so μ, A and B are carried along instead of points, in float64.
"""

from typing import NamedTuple

import numpy as np

from experiments.toy_2d.closed_form import Mixture
from experiments.toy_2d.conditional import Affine
from i2sb_jax.bridge import (
    WITHOUT_NOISE,
    Bridge,
    Steps,
    implicit_steps,
    posterior_steps,
    second_order_steps,
)
from i2sb_jax.bridge.walk import FRESH, NEVER, ONCE

ORDER = {"implicit": 1, "implicit2": 2, "implicit3": 3}
FORMS = ("heun", "exponential")


class Table(NamedTuple):
    """What `make_sampler` walks by.

    Attributes:
        weights: of each step; of samplers without noise as they are, with noise that is not drawn.
        visited: ascending indices; at all but the first there is an evaluation.
        noise: "never", "once" or "fresh", as of `bridge.walk`.
    """

    weights: Steps
    visited: tuple[int, ...]
    noise: str


def sampler_table(name: str, bridge: Bridge, steps: tuple[int, ...]) -> Table:
    """The table that `make_sampler(name)` walks by, on a grid as `step_grid` returns.

    Raises:
        ValueError: no such sampler.
    """
    if name in ORDER:
        return Table(implicit_steps(bridge.pinned(), steps, order=ORDER[name]), steps, ONCE)
    if name in FORMS:
        return Table(*second_order_steps(bridge, steps, form=name), ONCE)
    if name == "ode2":
        return Table(*second_order_steps(bridge, steps, deterministic=True), NEVER)
    if name not in ("ddpm", "ode"):
        raise ValueError(f"sampler={name!r} is not known")
    noise = NEVER if name in WITHOUT_NOISE else FRESH
    return Table(posterior_steps(bridge, steps), steps, noise)


def result(table: Table, answer: Affine, start: Mixture) -> Mixture:
    """The law of (result, X_T), by Eq. (1).

    Args:
        table: of the sampler.
        answer: the predictor.
        start: a Gaussian, the law of X_T.

    Returns:
        A Gaussian over four coordinates.
    """
    weights, visited, noise = table
    # columns: μ, A, B, of which the first pair is of the start, or of all noise
    count = len(visited) if noise == FRESH else 1
    first = np.concatenate([np.zeros((2, 1)), np.eye(2), np.zeros((2, 2 * count))], axis=1)
    state, seen = first.copy(), [0.0 * first] * weights.x0.shape[1]
    if noise != NEVER:
        state[:, 3:5] += weights.start_std * np.eye(2)
    for i, index in enumerate(visited[:0:-1]):
        predicted = answer.state[index] @ state + answer.end[index] @ first
        predicted[:, 0] += answer.offset[index]
        seen = [predicted, *seen[:-1]]
        state = weights.xt[i] * state + weights.x1[i] * first
        state = state + sum(v * x for v, x in zip(weights.x0[i], seen, strict=True))
        column = 3 + 2 * (i + 1 if noise == FRESH else 0)
        if noise != NEVER:
            state[:, column : column + 2] += weights.std[i] * np.eye(2)
    by_start, by_noise = state[:, 1:3], state[:, 3:]
    (mean,), (cov,) = start.means, start.covs
    cross = by_start @ cov
    own = cross @ by_start.T + by_noise @ by_noise.T
    return Mixture(
        weights=np.ones(1),
        means=np.concatenate([state[:, 0] + by_start @ mean, mean])[None],
        covs=np.block([[own, cross], [cross.T, cov]])[None],
    )
