"""The computations of a training run: losses, optimizer, state and one update.

`losses` are I²SB's (Eq. 12) and the student's; `optimizer` is AdamW under the paper's decay;
`state` is what a checkpoint holds; `step` is one update of a bridge, `distillation` one of a
student. All of it is pure: `training.loop` jits it and feeds it.
"""

from i2sb_jax.learning.distillation import (
    DistillState,
    create_distill_state,
    init_student,
    make_distill_step,
    make_regression_step,
)
from i2sb_jax.learning.losses import bridge_loss, bridge_losses
from i2sb_jax.learning.optimizer import make_optimizer, make_schedule
from i2sb_jax.learning.state import TrainState, Update, create_state
from i2sb_jax.learning.step import make_train_step

__all__ = [
    "DistillState",
    "TrainState",
    "Update",
    "bridge_loss",
    "bridge_losses",
    "create_distill_state",
    "create_state",
    "init_student",
    "make_distill_step",
    "make_optimizer",
    "make_regression_step",
    "make_schedule",
    "make_train_step",
]
