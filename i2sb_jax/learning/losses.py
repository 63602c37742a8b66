"""The training loss (I²SB Algorithm 1), for any Gaussian bridge, prediction and weighting."""

import jax
import jax.numpy as jnp

from i2sb_jax.bridge import Bridge, loss_weight, q_sample, regression_target
from i2sb_jax.types import Array, Batch, PredictFn, PRNGKey


def bridge_loss(
    key: PRNGKey,
    schedule: Bridge,
    predict_fn: PredictFn,
    batch: Batch,
    *,
    deterministic: bool = False,
    prediction: str = "epsilon",
    weighting: str = "epsilon",
    end_share: float = 0.0,
    log_floor: float = 0.0,
) -> jax.Array:
    """E ‖ε_θ(X_n, n) - (X_n - X_0)/σ_n‖² with n uniform and X_n ~ q(X_n | X_0, X_1), Eq. (12).

    With a mask, prediction and target are multiplied by it and the mean still runs over all
    pixels, as in the published inpainting models. Where a pair has no data there is no loss: the
    mean of a picture runs over its valid pixels.

    Args:
        key: random key, split into one a picture.
        schedule: the bridge.
        predict_fn: (xt, step int32 [batch], cond) -> ε, [batch, ...].
        batch: clean, degraded, and where the task has them mask, cond and valid.
        deterministic: OT-ODE: X_n is the mean of Eq. (11).
        prediction: what predict_fn gives, "epsilon" (the paper's), "x0" or "v".
        weighting: of X̂_0's squared error: "epsilon" (the paper's), "x0", "v", "snr", "min_snr" or
            "truncated_snr"; `bridge.target` has their formulas. With one weighting, networks that
            predict differently have the same loss.
        end_share: of the pictures, in [0, 1], whose n is N - 1, where X_n is X_1: all that a single
            evaluation ever sees. 0 is the paper's.
        log_floor: c > 0 makes of each picture's loss L log(L + c): as PSNR does, it counts relative
            errors, so that what is nearly right already matters as much as what is far off, down to
            L = c. 0: L itself, the paper's.

    Returns:
        Scalar.

    Raises:
        ValueError: an unknown prediction or weighting.
    """
    keys = jax.random.split(key, batch.clean.shape[0])
    losses = bridge_losses(
        keys, schedule, predict_fn, batch, deterministic=deterministic, prediction=prediction,
        weighting=weighting, end_share=end_share, log_floor=log_floor,
    )  # fmt: skip
    return jnp.mean(losses)


def bridge_losses(
    keys: PRNGKey,
    schedule: Bridge,
    predict_fn: PredictFn,
    batch: Batch,
    *,
    deterministic: bool = False,
    prediction: str = "epsilon",
    weighting: str = "epsilon",
    end_share: float = 0.0,
    log_floor: float = 0.0,
) -> jax.Array:
    """The loss of each picture, [batch]; as `bridge_loss`, with a key a picture [batch].

    A picture's step and noise come from its own key, so that they do not depend on how a batch is
    cut into micro-batches or laid over devices.
    """

    def draw(key, x0, x1):
        key_step, key_noise = jax.random.split(key)
        step = jax.random.randint(key_step, (), 0, schedule.num_steps)
        if end_share:
            at_end = jax.random.bernoulli(jax.random.fold_in(key_step, 1), end_share)
            step = jnp.where(at_end, schedule.num_steps - 1, step)
        return step, q_sample(key_noise, schedule, step, x0, x1, deterministic=deterministic)

    step, xt = jax.vmap(draw)(keys, batch.clean, batch.degraded)
    target = regression_target(schedule, step, xt, batch.clean, prediction=prediction)
    error = predict_fn(xt, step, schedule.beside(batch.degraded, batch.cond)) - target
    if batch.mask is not None:
        error = error * batch.mask
    losses = valid_mean(jnp.square(error), batch.valid)
    weights = loss_weight(schedule, prediction=prediction, weighting=weighting)
    losses = losses if weights is None else losses * jnp.asarray(weights, losses.dtype)[step]
    if log_floor:
        losses = jnp.log(losses + log_floor)
        if batch.valid is not None:  # a window without data has no error, and is not a perfect one
            losses = jnp.where(jnp.any(batch.valid > 0.5, axis=(1, 2, 3)), losses, 0.0)
    return losses


def valid_mean(values: Array, valid: Array | None) -> jax.Array:
    """The mean of each picture's values over its valid pixels, [batch]; 0 where it has none.

    Args:
        values: [batch, ...].
        valid: [batch, h, w, 1], 1 = valid; what stands elsewhere does not matter. None: all is.
    """
    axes = tuple(range(1, values.ndim))
    if valid is None:
        return jnp.mean(values, axis=axes)
    share = jnp.mean(valid, axis=axes)
    # of a whole picture, share = 1, to the bits of the plain mean
    return jnp.mean(jnp.where(valid > 0.5, values, 0.0), axis=axes) / jnp.where(share > 0, share, 1)


def inverse_bridge_losses(
    keys: PRNGKey,
    schedule: Bridge,
    teacher_fn: PredictFn,
    auxiliary_fn: PredictFn,
    batch: Batch,
    *,
    prediction: str = "epsilon",
    weighting: str = "epsilon",
) -> jax.Array:
    """Computes a student's loss, inverse bridge matching (arXiv 2502.01362, Prop. 3.3), [batch].

    For X_0 that the student made of X_1, the teacher's loss less that of an auxiliary bridge which
    was trained on what the student makes:

        E λ_n ‖X̂*(X_n, n) - X_0‖² - E λ_n ‖X̂_φ(X_n, n) - X_0‖²,    X_n ~ q(X_n | X_0, X_1)

    With the best φ, X̂_φ = E[X_0 | X_n], and this is E λ_n ‖X̂* - X̂_φ‖²: zero only where the
    student's own bridge is the teacher's. The second term is the variance that is left, which keeps
    the student from answering with a mean. Both terms see the same n and X_n.

    Args:
        keys: a key a picture, [batch].
        schedule: the bridge.
        teacher_fn: as `bridge_loss`'s predict_fn.
        auxiliary_fn: likewise; it may have any parameters, and is best when just trained.
        batch: `clean` is the student's, [batch, ...]; gradients reach it through X_n as well.
        prediction: what both functions give, as in `bridge_loss`.
        weighting: λ, as there.

    Returns:
        Each picture's difference, of either sign.

    Raises:
        ValueError: an unknown prediction or weighting.
    """
    teacher, auxiliary = (
        bridge_losses(keys, schedule, fn, batch, prediction=prediction, weighting=weighting)
        for fn in (teacher_fn, auxiliary_fn)
    )
    return teacher - auxiliary
