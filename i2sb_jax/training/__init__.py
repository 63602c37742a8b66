"""Training: a pure step, and the loop that jits, feeds and saves it."""

from i2sb_jax.training.optimizer import make_optimizer, make_schedule
from i2sb_jax.training.state import TrainState, create_state
from i2sb_jax.training.step import make_train_step

__all__ = ["TrainState", "create_state", "make_optimizer", "make_schedule", "make_train_step"]
