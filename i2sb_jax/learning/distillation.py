"""One to four steps instead of hundreds: a student of a trained bridge (IBMD, arXiv 2502.01362).

Student and auxiliary bridge are trained in turns, from degraded pictures alone: the auxiliary one
on what the student makes (I²SB Algorithm 1), the student on `losses.inverse_bridge_losses`. Left as
the teacher, which it starts as, the auxiliary bridge would make that loss zero for any student.
Regression on what the teacher's OT-ODE makes is the baseline: its student answers with a mean.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from i2sb_jax.bridge import Bridge
from i2sb_jax.learning.losses import bridge_losses, inverse_bridge_losses, valid_mean
from i2sb_jax.learning.state import TrainState, Update, apply_gradients, create_state
from i2sb_jax.learning.step import accumulate
from i2sb_jax.types import Array, Batch, Params, PRNGKey

GenerateFn: TypeAlias = Callable[[Params, PRNGKey, Batch], Array]
"""(parameters, keys [batch], batch) -> X_0, [batch, ...]; it reads no `batch.clean`."""

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
RegressionStep: TypeAlias = Callable[
    [TrainState, Params, Batch, PRNGKey], tuple[TrainState, dict[str, jax.Array]]
]


def init_student(teacher_params: Params, *, noise_channels: int, patch: int = 1) -> Params:
    """Returns a student that does what its teacher does: weights of its noise are zero (IBMD).

    Args:
        teacher_params: of a `models.UNet`.
        noise_channels: that the student sees after all that its teacher does.
        patch: of both networks, as in `UNetConfig`.
    """
    kernel = teacher_params["conv_in"]["kernel"]
    taps, width = kernel.shape[:2], kernel.shape[3]
    kernel = kernel.reshape(*taps, patch**2, -1, width)  # noise comes last in each pixel of a patch
    silent = jnp.zeros((*taps, patch**2, noise_channels, width), kernel.dtype)
    kernel = jnp.concatenate([kernel, silent], axis=3).reshape(*taps, -1, width)
    conv_in = teacher_params["conv_in"] | {"kernel": kernel}
    return teacher_params | {"conv_in": conv_in}


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
    schedule: Bridge,
    update: Update,
    auxiliary_tx: optax.GradientTransformation,
    auxiliary_updates: int = 5,
    **loss_options: Any,
) -> DistillStep:
    """Builds (state, teacher's parameters, batch, key) -> (state, metrics).

    A step is `auxiliary_updates` of the auxiliary bridge and then one of the student, all on the
    same degraded pictures, each with noise of its own. The bridge must have noise: of an OT-ODE the
    student would have to be a function of X_1 alone, whose interpolation is the teacher's path only
    where paths do not cross.

    Args:
        generate_fn: the student, from X_1 to X_0 by however many steps it takes.
        network_fn: teacher and auxiliary bridge, which differ in their parameters.
        schedule: the bridge of the teacher.
        update: the student's; the auxiliary bridge's updates average over as many micro-batches.
        auxiliary_tx: the auxiliary bridge's optimizer.
        auxiliary_updates: the paper's are 5; 0 leaves the auxiliary bridge as it is.
        **loss_options: prediction and weighting of both losses, as in `losses.bridge_loss`.

    Returns:
        The step. Metrics are float32 scalars: loss (mean over the batch, of either sign),
        grad_norm, auxiliary_loss (mean over its updates; only with any) and, with skip_norm,
        skipped.
    """

    def generate(params: Params, batch: Batch, keys: PRNGKey) -> tuple[Batch, PRNGKey]:
        keys = jax.vmap(jax.random.split)(keys)
        return batch._replace(clean=generate_fn(params, keys[:, 0], batch)), keys[:, 1]

    def auxiliary_loss(auxiliary: Params, student: Params, batch: Batch, keys, key) -> jax.Array:
        del key
        made, keys = generate(student, batch, keys)
        predict_fn = functools.partial(network_fn, auxiliary)
        return jnp.mean(bridge_losses(keys, schedule, predict_fn, made, **loss_options))

    def student_loss(student, teacher, auxiliary, batch, keys, key) -> jax.Array:
        del key
        made, keys = generate(student, batch, keys)
        both = (functools.partial(network_fn, each) for each in (teacher, auxiliary))
        return jnp.mean(inverse_bridge_losses(keys, schedule, *both, made, **loss_options))

    gradient = functools.partial(_gradient, count=update.accumulation_steps)

    def distill_step(state: DistillState, teacher: Params, batch: Batch, key: PRNGKey):
        batch = batch._replace(name=None, label=None)
        key_auxiliary, key_student = jax.random.split(key)

        def follow(carry, key):
            auxiliary, opt_state = carry
            loss, grads = gradient(auxiliary_loss, auxiliary, state.params, batch=batch, key=key)
            updates, opt_state = auxiliary_tx.update(grads, opt_state, auxiliary)
            return (optax.apply_updates(auxiliary, updates), opt_state), loss

        (auxiliary, auxiliary_opt_state), losses = jax.lax.scan(
            follow, (state.auxiliary_params, state.auxiliary_opt_state),
            jax.random.split(key_auxiliary, auxiliary_updates),
        )  # fmt: skip
        loss, grads = gradient(
            student_loss, state.params, teacher, auxiliary, batch=batch, key=key_student
        )
        state = state._replace(auxiliary_params=auxiliary, auxiliary_opt_state=auxiliary_opt_state)
        new, more = apply_gradients(state, grads, update)
        metrics = {"loss": loss} | more
        if auxiliary_updates:
            metrics["auxiliary_loss"] = jnp.mean(losses)
        return new, metrics

    return distill_step


def make_regression_step(
    *,
    generate_fn: GenerateFn,
    target_fn: GenerateFn,
    update: Update,
) -> RegressionStep:
    """Builds (state, teacher's parameters, batch, key) -> (state, metrics); the baseline.

    The loss is E ‖G(X_1) - X̂_0‖², with X̂_0 what the teacher makes of X_1 (knowledge distillation of
    its OT-ODE, whose end is a function of X_1). A student without noise could match it; what it
    cannot follow it answers with a mean.

    Args:
        generate_fn: the student.
        target_fn: the teacher's whole way from X_1 to X_0.
        update: the student's.

    Returns:
        The step. Metrics: loss, grad_norm and, with skip_norm, skipped.
    """

    def loss_fn(student, teacher, batch, keys, key) -> jax.Array:
        del key
        target = jax.lax.stop_gradient(target_fn(teacher, keys, batch))
        squares = jnp.square(generate_fn(student, keys, batch) - target)
        return jnp.mean(valid_mean(squares, batch.valid))

    def regression_step(state: TrainState, teacher: Params, batch: Batch, key: PRNGKey):
        batch = batch._replace(name=None, label=None)
        loss, grads = _gradient(
            loss_fn, state.params, teacher, batch=batch, key=key, count=update.accumulation_steps
        )
        new, more = apply_gradients(state, grads, update)
        return new, {"loss": loss} | more

    return regression_step


def _gradient(
    loss_fn: Callable[..., jax.Array],
    params: Params,
    *frozen: Params,
    batch: Batch,
    key: PRNGKey,
    count: int,
) -> tuple[jax.Array, Params]:
    """Mean loss (params, *frozen, batch, keys, key) and its gradient, `count` parts in turn."""
    keys = jax.random.split(key, batch.degraded.shape[0])
    return accumulate(jax.value_and_grad(loss_fn), params, batch, keys, key, count, frozen=frozen)
