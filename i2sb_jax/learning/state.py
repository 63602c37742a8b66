"""The state that a run carries from step to step; the checkpoint is exactly this."""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from i2sb_jax.types import Params


class TrainState(NamedTuple):
    """A pytree of arrays only: no key and no function, so that it can be saved as it is.

    Attributes:
        step: updates made so far, int32 scalar.
        params: the network's parameters.
        ema_params: their exponential moving average, what is sampled from.
        opt_state: the optimizer's state.
    """

    step: jax.Array
    params: Params
    ema_params: Params
    opt_state: Any


State = TypeVar("State", bound=NamedTuple)


def create_state(params: Params, tx: optax.GradientTransformation) -> TrainState:
    """The state at step 0; the average starts at a copy of `params`, as the paper's did."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        # a copy: two names for one buffer could not both be donated
        ema_params=jax.tree.map(jnp.copy, params),
        opt_state=tx.init(params),
    )


class Update(NamedTuple):
    """The update that a step makes to the network that it trains.

    Attributes:
        tx: the optimizer.
        ema_decay: decay of the parameters' average after its warm-up.
        accumulation_steps: equal micro-batches of a batch whose gradients are averaged.
        skip_norm: with a gradient longer than this, nothing but the step changes; 0: no limit.
    """

    tx: optax.GradientTransformation
    ema_decay: float
    accumulation_steps: int = 1
    skip_norm: float = 0.0


def apply_gradients(
    state: State, grads: Params, update: Update
) -> tuple[State, dict[str, jax.Array]]:
    """One update of the parameters, and of their average.

    Args:
        state: a `TrainState`, or a named tuple that has its fields and others, which stay.
        grads: of the loss by `state.params`.
        update: how.

    Returns:
        The new state, and float32 scalars: grad_norm (before any clipping) and, with skip_norm,
        skipped (1 for an update that was not made, else 0).
    """
    updates, opt_state = update.tx.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    step = state.step + 1
    ema_params = optax.incremental_update(
        params, state.ema_params, 1 - ema_decay_at(step, update.ema_decay)
    )
    metrics = {"grad_norm": optax.tree.norm(grads)}
    new = state._replace(step=step, params=params, ema_params=ema_params, opt_state=opt_state)
    if update.skip_norm:
        skipped = metrics["grad_norm"] > update.skip_norm
        old = state._replace(step=step)
        new = jax.tree.map(lambda a, b: jnp.where(skipped, a, b), old, new)
        metrics["skipped"] = skipped.astype(jnp.float32)
    return new, metrics


def ema_decay_at(step: jax.Array, decay: float) -> jax.Array:
    """The decay of update `step` (the first is 1): min(decay, (1 + k) / (10 + k)).

    The warm-up lets the average forget the initial weights quickly.
    """
    k = step.astype(jnp.float32)
    return jnp.minimum(decay, (1 + k) / (10 + k))
