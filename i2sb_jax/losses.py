"""The training loss (I²SB Algorithm 1)."""

import jax
import jax.numpy as jnp

from i2sb_jax.bridge import BridgeSchedule, q_sample, regression_target
from i2sb_jax.types import Batch, PredictFn, PRNGKey


def bridge_loss(
    key: PRNGKey,
    schedule: BridgeSchedule,
    predict_fn: PredictFn,
    batch: Batch,
    *,
    deterministic: bool = False,
) -> jax.Array:
    """E ‖ε_θ(X_n, n) - (X_n - X_0)/σ_n‖² with n uniform and X_n ~ q(X_n | X_0, X_1), Eq. (12).

    With a mask, prediction and target are multiplied by it and the mean still runs over all
    pixels, as in the published inpainting models.

    Args:
        key: random key, split into one a picture.
        schedule: the bridge.
        predict_fn: (xt, step int32 [batch], cond) -> ε, [batch, ...].
        batch: clean, degraded, and where the task has them mask and cond.
        deterministic: OT-ODE: X_n is the mean of Eq. (11).

    Returns:
        Scalar.
    """
    keys = jax.random.split(key, batch.clean.shape[0])
    return jnp.mean(bridge_losses(keys, schedule, predict_fn, batch, deterministic=deterministic))


def bridge_losses(
    keys: PRNGKey,
    schedule: BridgeSchedule,
    predict_fn: PredictFn,
    batch: Batch,
    *,
    deterministic: bool = False,
) -> jax.Array:
    """The loss of each picture, [batch]; as `bridge_loss`, with a key a picture [batch].

    A picture's step and noise come from its own key, so that they do not depend on how a batch is
    cut into micro-batches or laid over devices.
    """

    def draw(key, x0, x1):
        key_step, key_noise = jax.random.split(key)
        step = jax.random.randint(key_step, (), 0, schedule.num_steps)
        return step, q_sample(key_noise, schedule, step, x0, x1, deterministic=deterministic)

    step, xt = jax.vmap(draw)(keys, batch.clean, batch.degraded)
    error = predict_fn(xt, step, batch.cond) - regression_target(schedule, step, xt, batch.clean)
    if batch.mask is not None:
        error = error * batch.mask
    return jnp.mean(jnp.square(error), axis=tuple(range(1, error.ndim)))
