"""One to four steps instead of hundreds: a student of a trained bridge (IBMD, arXiv 2502.01362).

Student and auxiliary bridge are trained in turns, from degraded pictures alone: the auxiliary one
on what the student makes (I²SB Algorithm 1), the student on `losses.inverse_bridge_losses`. Left as
the teacher, which it starts as, the auxiliary bridge would make that loss zero for any student.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from i2sb_jax.bridge import Bridge
from i2sb_jax.losses import bridge_losses, inverse_bridge_losses
from i2sb_jax.training.state import create_state, ema_decay_at
from i2sb_jax.types import Array, Batch, Params, PRNGKey

GenerateFn: TypeAlias = Callable[[Params, PRNGKey, Batch], Array]
"""(student's parameters, keys [batch], batch) -> X_0, [batch, ...]; it reads no `batch.clean`."""

NetworkFn: TypeAlias = Callable[[Params, Array, Array, Array | None], Array]
"""(parameters, xt, step int32 [batch], cond) -> ε, or what else is predicted."""


class DistillState(NamedTuple):
    """A `TrainState` of the student, and the auxiliary bridge beside it; arrays only.

    Attributes:
        step: the student's updates so far, int32 scalar.
        params: the student's.
        ema_params: their exponential moving average, what is sampled from.
        opt_state: the student's optimizer's.
        auxiliary_params: of the bridge that follows the student.
        auxiliary_opt_state: its optimizer's.
    """

    step: jax.Array
    params: Params
    ema_params: Params
    opt_state: Any
    auxiliary_params: Params
    auxiliary_opt_state: Any


DistillStep: TypeAlias = Callable[
    [DistillState, Params, Batch, PRNGKey], tuple[DistillState, dict[str, jax.Array]]
]


def create_distill_state(
    params: Params,
    teacher_params: Params,
    *,
    tx: optax.GradientTransformation,
    auxiliary_tx: optax.GradientTransformation,
) -> DistillState:
    """The state at step 0; the auxiliary bridge starts as the teacher."""
    return DistillState(
        **create_state(params, tx)._asdict(),
        # a copy: the state is donated, the teacher stays
        auxiliary_params=jax.tree.map(jnp.copy, teacher_params),
        auxiliary_opt_state=auxiliary_tx.init(teacher_params),
    )


def make_distill_step(
    *,
    generate_fn: GenerateFn,
    network_fn: NetworkFn,
    tx: optax.GradientTransformation,
    auxiliary_tx: optax.GradientTransformation,
    schedule: Bridge,
    ema_decay: float,
    auxiliary_updates: int = 5,
    prediction: str = "epsilon",
    weighting: str = "epsilon",
) -> DistillStep:
    """Builds (state, teacher's parameters, batch, key) -> (state, metrics).

    A step is `auxiliary_updates` of the auxiliary bridge and then one of the student, all on the
    same degraded pictures, each with noise of its own. The bridge must have noise: of an OT-ODE the
    student would have to be a function of X_1 alone, whose interpolation is the teacher's path only
    where paths do not cross.

    Args:
        generate_fn: the student, from X_1 to X_0 by however many steps it takes.
        network_fn: teacher and auxiliary bridge, which differ in their parameters.
        tx: the student's optimizer.
        auxiliary_tx: the auxiliary bridge's.
        schedule: the bridge of the teacher.
        ema_decay: decay of the student's average after its warm-up.
        auxiliary_updates: the paper's are 5; 0 leaves the auxiliary bridge as it is.
        prediction: what network_fn gives, as in `losses.bridge_loss`.
        weighting: of both losses, as there.

    Returns:
        The step. Metrics are float32 scalars: loss (mean over the batch, of either sign),
        grad_norm, and auxiliary_loss (mean over its updates; without any, NaN).
    """
    options = {"prediction": prediction, "weighting": weighting}

    def generate(params: Params, batch: Batch, key: PRNGKey) -> tuple[Batch, PRNGKey]:
        key_student, key_loss = jax.random.split(key)
        count = batch.degraded.shape[0]
        made = generate_fn(params, jax.random.split(key_student, count), batch)
        return batch._replace(clean=made), jax.random.split(key_loss, count)

    def auxiliary_loss(auxiliary: Params, made: Batch, keys: PRNGKey) -> jax.Array:
        predict_fn = functools.partial(network_fn, auxiliary)
        return jnp.mean(bridge_losses(keys, schedule, predict_fn, made, **options))

    def student_loss(params, teacher, auxiliary, batch, key) -> jax.Array:
        made, keys = generate(params, batch, key)
        both = (functools.partial(network_fn, each) for each in (teacher, auxiliary))
        return jnp.mean(inverse_bridge_losses(keys, schedule, *both, made, **options))

    def distill_step(state: DistillState, teacher: Params, batch: Batch, key: PRNGKey):
        batch = batch._replace(name=None, label=None)
        key_auxiliary, key_student = jax.random.split(key)

        def follow(carry, key):
            auxiliary, opt_state = carry
            made, keys = generate(state.params, batch, key)
            loss, grads = jax.value_and_grad(auxiliary_loss)(auxiliary, made, keys)
            updates, opt_state = auxiliary_tx.update(grads, opt_state, auxiliary)
            return (optax.apply_updates(auxiliary, updates), opt_state), loss

        (auxiliary, auxiliary_opt_state), losses = jax.lax.scan(
            follow, (state.auxiliary_params, state.auxiliary_opt_state),
            jax.random.split(key_auxiliary, auxiliary_updates),
        )  # fmt: skip
        loss, grads = jax.value_and_grad(student_loss)(
            state.params, teacher, auxiliary, batch, key_student
        )
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params, step = optax.apply_updates(state.params, updates), state.step + 1
        decay = ema_decay_at(step, ema_decay)
        ema_params = optax.incremental_update(params, state.ema_params, 1 - decay)
        metrics = {
            "loss": loss, "grad_norm": optax.tree.norm(grads), "auxiliary_loss": jnp.mean(losses)
        }  # fmt: skip
        new = DistillState(step, params, ema_params, opt_state, auxiliary, auxiliary_opt_state)
        return new, metrics

    return distill_step
