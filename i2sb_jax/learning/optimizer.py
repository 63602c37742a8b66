"""AdamW under the paper's step decay, or under warm-up and cosine; gradients may be clipped."""

import optax

from i2sb_jax.config import OptimizerConfig


def make_schedule(config: OptimizerConfig, *, num_steps: int) -> optax.Schedule:
    """The learning rate by update.

    Args:
        config: "step" multiplies the rate by decay_rate every decay_every updates (I²SB: 0.99
            every 1000), after a linear warm-up if warmup_steps > 0; "cosine" warms up and then
            falls to zero at num_steps.
        num_steps: length of the run.

    Returns:
        update -> learning rate.
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if warmup else peak,
            peak_value=peak,
            warmup_steps=warmup,
            decay_steps=max(num_steps, warmup + 1),
        )
    decay = optax.exponential_decay(peak, config.decay_every, config.decay_rate, staircase=True)
    if not warmup:
        return decay
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), decay], [warmup])


def make_optimizer(config: OptimizerConfig, *, num_steps: int) -> optax.GradientTransformation:
    """AdamW (decoupled weight decay) on `make_schedule`'s learning rate.

    With `clip_norm` a longer gradient is scaled down to that norm first.
    """
    adamw = optax.adamw(
        make_schedule(config, num_steps=num_steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.eps,
        weight_decay=config.weight_decay,
    )
    if not config.clip_norm:
        return adamw
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)
