"""What a run carries from step to step; the checkpoint is exactly this."""

from typing import Any, NamedTuple

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


def create_state(params: Params, tx: optax.GradientTransformation) -> TrainState:
    """The state at step 0; the average starts at a copy of `params`, as the paper's did."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        # a copy: two names for one buffer could not both be donated
        ema_params=jax.tree.map(jnp.copy, params),
        opt_state=tx.init(params),
    )


def ema_decay_at(step: jax.Array, decay: float) -> jax.Array:
    """The decay of update `step` (the first is 1): min(decay, (1 + k) / (10 + k)).

    The warm-up lets the average forget the initial weights quickly.
    """
    k = step.astype(jnp.float32)
    return jnp.minimum(decay, (1 + k) / (10 + k))
