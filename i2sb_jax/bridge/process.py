r"""The bridge's Gaussian conditionals (I²SB sections 3.2 and 4.1).

Marginal, Eq. (11):
    q(X_n | X_0, X_1) = N( σ̄²/(σ̄²+σ²)·X_0 + σ²/(σ̄²+σ²)·X_1 ,  σ²σ̄²/(σ̄²+σ²)·I )
Regression target, Eq. (12):
    ε = (X_n - X_0) / σ_n            so that  X̂_0 = X_n - σ_n·ε_θ(X_n, n)
Posterior, Eq. (4), for m < n:
    p(X_m | X_0, X_n) = N( (1 - σ_m²/σ_n²)·X_0 + (σ_m²/σ_n²)·X_n ,  σ_m²·(1 - σ_m²/σ_n²)·I )
OT-ODE, Eq. (13), the limit of vanishing β: the same means without noise (`deterministic=True`).

Because σ and σ̄ both count β_n (see `schedule`), marginal and posterior agree with each other only
to a relative variance of about 6e-4 at N = 1000. Published weights depend on this; it is kept.

Steps are ints or int arrays [batch]; arrays are [batch, ...] of any rank, images or not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from i2sb_jax.bridge.schedule import BridgeSchedule
from i2sb_jax.types import Array, PRNGKey


class Moments(NamedTuple):
    """An isotropic Gaussian.

    Attributes:
        mean: [batch, ...].
        std: standard deviation, broadcastable to the mean: [batch, 1, ...] or all ones.
    """

    mean: Array
    std: Array


def _expand(values: Array | int, like: Array) -> jax.Array:
    """A scalar or [batch] shaped to combine with `like` [batch, ...], without rank promotion."""
    values = jnp.asarray(values)
    return values.reshape(values.shape + (1,) * (like.ndim - values.ndim))


def _at(values: Array, step: Array | int, like: Array) -> jax.Array:
    """values[step] for each picture of `like` [batch, ...]."""
    return _expand(jnp.asarray(values)[jnp.asarray(step)], like)


def marginal(schedule: BridgeSchedule, step: Array | int, x0: Array, x1: Array) -> Moments:
    """q(X_n | X_0, X_1), Eq. (11).

    Args:
        schedule: the bridge.
        step: n, int or int [batch], 0 … num_steps - 1.
        x0: clean end, [batch, ...].
        x1: degraded end, same shape.

    Returns:
        Mean [batch, ...] and its standard deviation.
    """
    var_fwd = _at(schedule.std_fwd, step, x0) ** 2
    var_bwd = _at(schedule.std_bwd, step, x0) ** 2
    total = var_fwd + var_bwd
    mean = var_bwd / total * x0 + var_fwd / total * x1
    return Moments(mean, jnp.sqrt(var_fwd * var_bwd / total))


def q_sample(
    key: PRNGKey | None,
    schedule: BridgeSchedule,
    step: Array | int,
    x0: Array,
    x1: Array,
    *,
    deterministic: bool = False,
) -> jax.Array:
    """Draws X_n ~ q(X_n | X_0, X_1), Eq. (11); its mean if `deterministic` (OT-ODE, Eq. (13)).

    `key` is not used, and may be None, if `deterministic`.
    """
    mean, std = marginal(schedule, step, x0, x1)
    if deterministic:
        return mean
    return mean + std * jax.random.normal(key, mean.shape, mean.dtype)


def regression_target(
    schedule: BridgeSchedule, step: Array | int, xt: Array, x0: Array
) -> jax.Array:
    """What the network is trained to output: ε = (X_n - X_0) / σ_n, Eq. (12); [batch, ...]."""
    return (xt - x0) / _at(schedule.std_fwd, step, xt)


def predict_x0(
    schedule: BridgeSchedule, step: Array | int, xt: Array, output: Array, *, clip: bool = False
) -> jax.Array:
    """X̂_0 = X_n - σ_n·ε_θ, the inverse of Eq. (12); clipped to [-1, 1] if `clip`."""
    x0 = xt - _at(schedule.std_fwd, step, xt) * output
    return jnp.clip(x0, -1.0, 1.0) if clip else x0


def posterior(
    schedule: BridgeSchedule, step_prev: Array | int, step: Array | int, xt: Array, x0: Array
) -> Moments:
    """p(X_m | X_0, X_n), Eq. (4).

    Args:
        schedule: the bridge.
        step_prev: m < n, int or int [batch], where the bridge goes.
        step: n, int or int [batch], where it is.
        xt: X_n, [batch, ...].
        x0: X_0 or its prediction, same shape.

    Returns:
        Mean [batch, ...] and its standard deviation, which is zero at m = 0.
    """
    var_prev = _at(schedule.std_fwd, step_prev, xt) ** 2
    var = _at(schedule.std_fwd, step, xt) ** 2
    weight_xt = var_prev / var
    weight_x0 = (var - var_prev) / var
    # the last step adds no noise although σ_0 is not zero
    std = jnp.where(_expand(step_prev, xt) == 0, 0.0, jnp.sqrt(var_prev * weight_x0))
    return Moments(weight_x0 * x0 + weight_xt * xt, std)


def posterior_sample(
    key: PRNGKey | None,
    schedule: BridgeSchedule,
    step_prev: Array | int,
    step: Array | int,
    xt: Array,
    x0: Array,
    *,
    deterministic: bool = False,
) -> jax.Array:
    """Draws X_m ~ p(X_m | X_0, X_n), Eq. (4); its mean if `deterministic` (OT-ODE, Eq. (13))."""
    mean, std = posterior(schedule, step_prev, step, xt, x0)
    if deterministic:
        return mean
    return mean + std * jax.random.normal(key, mean.shape, mean.dtype)
