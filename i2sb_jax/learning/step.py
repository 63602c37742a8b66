"""One update as a pure function; `loop` is what jits it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from i2sb_jax.bridge import Bridge
from i2sb_jax.learning.losses import bridge_losses
from i2sb_jax.learning.state import TrainState, Update, apply_gradients
from i2sb_jax.types import Array, Batch, Params, PRNGKey

TrainStep = Callable[..., tuple[TrainState, dict[str, jax.Array]]]
"""(state, batch, key, start=None) -> (state, metrics), see `make_train_step`."""


def make_train_step(
    *,
    apply_fn: Callable[..., jax.Array],
    tx: optax.GradientTransformation,
    schedule: Bridge,
    ema_decay: float,
    accumulation_steps: int = 1,
    skip_norm: float = 0.0,
    start_fn: Callable[[Params, PRNGKey, Batch], Array] | None = None,
    **loss_options: Any,
) -> TrainStep:
    """Builds (state, batch, key, start=None) -> (state, metrics).

    Args:
        apply_fn: as `UNet.apply`: (variables, x, noise_level, cond, train=, rngs=) -> ε.
        tx: the optimizer.
        schedule: the bridge.
        ema_decay: decay of the parameters' average after its warm-up.
        accumulation_steps: the batch is cut into so many micro-batches whose gradients are
            averaged before the one update; their sizes are equal.
        skip_norm: with a gradient longer than this, nothing but the step changes; 0: no limit.
        start_fn: (parameters of a frozen model, keys [batch], batch) -> X_T, where the bridge does
            not start at X_1 itself; the step is given those parameters as `start`.
        **loss_options: of `losses.bridge_loss`: deterministic, prediction, weighting, end_share,
            log_floor.

    Returns:
        The step. It folds nothing into `key`: the caller passes a fresh one a step. Metrics are
        float32 scalars: loss (mean over the batch), grad_norm (before any clipping) and, with
        skip_norm, skipped (1 for an update that was not made, else 0).
    """
    losses_fn = functools.partial(bridge_losses, **loss_options)
    update = Update(tx, ema_decay, accumulation_steps, skip_norm)

    def loss_fn(params: Params, start: Params, batch: Batch, keys: PRNGKey, dropout_key: PRNGKey):
        def predict_fn(xt, step, cond):
            noise_level = jnp.asarray(schedule.noise_level, jnp.float32)[step]
            rngs = {"dropout": dropout_key}
            return apply_fn({"params": params}, xt, noise_level, cond, train=True, rngs=rngs)

        if start_fn is not None:
            batch = batch._replace(degraded=start_fn(start, keys, batch))
        return jnp.mean(losses_fn(keys, schedule, predict_fn, batch))

    def train_step(state: TrainState, batch: Batch, key: PRNGKey, start: Params | None = None):
        batch = batch._replace(name=None, label=None)  # the loss needs neither
        key_batch, key_dropout = jax.random.split(key)
        keys = jax.random.split(key_batch, batch.clean.shape[0])
        loss, grads = accumulate(
            jax.value_and_grad(loss_fn), state.params, batch, keys, key_dropout,
            accumulation_steps, frozen=(start,),
        )  # fmt: skip
        new, metrics = apply_gradients(state, grads, update)
        return new, {"loss": loss} | metrics

    return train_step


def accumulate(
    value_and_grad: Callable[..., Any],
    params: Params,
    batch: Batch,
    keys: PRNGKey,
    key: PRNGKey,
    count: int,
    *,
    frozen: tuple[Params, ...] = (),
) -> tuple[jax.Array, Params]:
    """Mean loss and gradient over `count` micro-batches, one in memory at a time.

    Args:
        value_and_grad: (params, *frozen, batch, keys, key) -> (loss, gradient by params).
        params: what the gradient is by.
        batch: cut into micro-batches.
        keys: a key a picture, cut likewise.
        key: of what is drawn for a micro-batch as a whole; folded with its number.
        count: of micro-batches.
        frozen: parameters of other networks.
    """
    if count == 1:
        return value_and_grad(params, *frozen, batch, keys, key)

    def cut(x):
        # picture i goes to micro-batch i mod count: a batch sharded over devices stays so
        return x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1)

    def micro_step(total, scanned):
        index, batch, keys = scanned
        # tied to the micro-batch: what is gathered for its blocks is not to be kept for all of them
        here, batch = jax.lax.optimization_barrier(((params, *frozen), batch))
        found = value_and_grad(*here, batch, keys, jax.random.fold_in(key, index))
        return jax.tree.map(jnp.add, total, found), None

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    scanned = (jnp.arange(count), jax.tree.map(cut, batch), cut(keys))
    total, _ = jax.lax.scan(micro_step, zero, scanned)
    return jax.tree.map(lambda x: x / count, total)
