r"""The bridge's Gaussian conditionals (I²SB sections 3.2 and 4.1).

Marginal, Eq. (11):
    q(X_n | X_0, X_1) = N( σ̄²/(σ̄²+σ²)·X_0 + σ²/(σ̄²+σ²)·X_1 ,  σ²σ̄²/(σ̄²+σ²)·I )
Posterior, Eq. (4), for m < n:
    p(X_m | X_0, X_n) = N( (1 - σ_m²/σ_n²)·X_0 + (σ_m²/σ_n²)·X_n ,  σ_m²·(1 - σ_m²/σ_n²)·I )
OT-ODE, Eq. (13), the limit of vanishing β: the same means without noise (`deterministic=True`).

Because σ and σ̄ both count β_n (see `schedule`), marginal and posterior agree with each other only
to a relative variance of about 6e-4 at N = 1000. Published weights depend on this; it is kept.
The marginal takes any bridge by its coefficients (`gaussian`); the posterior is I²SB's own, and
`implicit` has that of any bridge.

Steps are ints or int arrays [batch]; arrays are [batch, ...] of any rank, images or not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from i2sb_jax.bridge.gaussian import Bridge, array_module
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


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """In what a bridge computes with arrays of this type."""
    return jnp.dtype(jnp.float64 if dtype == jnp.float64 else jnp.float32)


def at_step(values: Array, step: Array | int, like: Array) -> jax.Array:
    """values[step] for each picture of `like` [batch, ...], shaped and typed to combine with it."""
    values = jnp.asarray(values, at_least_float32(like.dtype))
    return _expand(values[jnp.asarray(step)], like)


def marginal(schedule: Bridge, step: Array | int, x0: Array, x1: Array) -> Moments:
    """q(X_n | X_0, X_1), Eq. (11), or that of any bridge given by its coefficients.

    Args:
        schedule: the bridge.
        step: n, int or int [batch], 0 … num_steps - 1.
        x0: clean end, [batch, ...].
        x1: degraded end, same shape.

    Returns:
        Mean [batch, ...] and its standard deviation.
    """
    a, b, c = (at_step(x, step, x0) for x in (schedule.a, schedule.b, schedule.c))
    return Moments(b * x0 + a * x1, c)


def q_sample(
    key: PRNGKey | None,
    schedule: Bridge,
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

    Raises:
        ValueError: the bridge is given by its coefficients.
    """
    if not schedule.has_sigma:
        raise ValueError(
            "the posterior of Eq. (4) is of I²SB's BridgeSchedule; of a bridge given by its "
            "coefficients, implicit_steps(bridge, steps, eta=1.0) has it"
        )
    std_prev = at_step(schedule.std_fwd, step_prev, xt)
    std_now = at_step(schedule.std_fwd, step, xt)
    weight_xt, weight_x0, noise = posterior_weights(std_prev, std_now)
    # the last step adds no noise although σ_0 is not zero
    std = jnp.where(_expand(step_prev, xt) == 0, 0.0, noise)
    return Moments(weight_x0 * x0 + weight_xt * xt, std)


def posterior_weights(std_prev: Array, std_now: Array) -> tuple[Array, Array, Array]:
    """Eq. (4) from σ_m and σ_n: the weights of X_n and X_0, and the standard deviation."""
    weight_xt = (std_prev / std_now) ** 2
    # σ_n² - σ_m² as a product: neighbouring steps differ in few digits
    weight_x0 = (std_now - std_prev) * (std_now + std_prev) / std_now**2
    return weight_xt, weight_x0, std_prev * array_module(weight_x0).sqrt(weight_x0)


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
