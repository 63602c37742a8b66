r"""The law of a sampler's result where the predictor is linear: exactly, without a sample.

A sampler's step is X_m = w·X_n + Σ_k v_k·X̂_0⁽ᵏ⁾ + u·X_T + ω·z (`bridge.walk`). With X̂_0 = M·X + v,
every state is affine in X_T and in the noise,

    X = μ + A·X_T + B·(z_1, z_2, …),                                                       (1)

so μ, A and B are carried along instead of points, in float64.
"""

import numpy as np

from experiments.toy_2d.closed_form import Mixture
from i2sb_jax.bridge import BridgeSchedule, Steps, i2sb_bridge, implicit_steps, posterior_steps

ORDER = {"implicit": 1, "implicit2": 2, "implicit3": 3}


def sampler_steps(name: str, schedule: BridgeSchedule, steps: tuple[int, ...]) -> Steps:
    """The weights that `make_sampler(name)` walks by; those of "ode" without noise.

    Raises:
        ValueError: no such sampler.
    """
    if name in ORDER:
        return implicit_steps(i2sb_bridge(schedule), steps, order=ORDER[name])
    if name not in ("ddpm", "ode"):
        raise ValueError(f"sampler={name!r} is not known")
    weights = posterior_steps(schedule, steps)
    return weights if name == "ddpm" else weights._replace(std=0.0 * weights.std)


def result(
    weights: Steps,
    steps: tuple[int, ...],
    linear: tuple[np.ndarray, np.ndarray],
    start: Mixture,
    *,
    fresh_noise: bool,
) -> Mixture:
    """The law of (result, X_T), by Eq. (1).

    Args:
        weights: of the sampler's steps.
        steps: ascending indices, as `step_grid` returns.
        linear: M [num_steps, 2, 2] and v [num_steps, 2] of the predictor.
        start: a Gaussian, the law of X_T.
        fresh_noise: whether each step has noise of its own ("ddpm"), or all the same one.

    Returns:
        A Gaussian over four coordinates.
    """
    matrix, offset = linear
    count = len(steps) - 1 if fresh_noise else 1
    # columns: μ, A, B
    first = np.concatenate([np.zeros((2, 1)), np.eye(2), np.zeros((2, 2 * count))], axis=1)
    state, seen = first, [0.0 * first] * weights.x0.shape[1]
    for i, index in enumerate(steps[:0:-1]):
        predicted = matrix[index] @ state
        predicted[:, 0] += offset[index]
        seen = [predicted, *seen[:-1]]
        state = weights.xt[i] * state + weights.x1[i] * first
        state = state + sum(v * x for v, x in zip(weights.x0[i], seen, strict=True))
        column = 3 + 2 * (i if fresh_noise else 0)
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
