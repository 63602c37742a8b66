"""Training: a pure step, and the loop that jits, feeds and saves it."""

from i2sb_jax.learning.distillation import (
    DistillState,
    create_distill_state,
    make_distill_step,
    make_regression_step,
)
from i2sb_jax.learning.optimizer import make_optimizer, make_schedule
from i2sb_jax.learning.state import TrainState, create_state
from i2sb_jax.learning.step import make_train_step

__all__ = [
    "DistillState",
    "TrainState",
    "create_distill_state",
    "create_state",
    "make_distill_step",
    "make_optimizer",
    "make_regression_step",
    "make_schedule",
    "make_train_step",
]
