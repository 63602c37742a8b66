"""The Schrödinger bridge of I²SB as pure functions (arXiv 2302.05872).

`schedule` holds the variances, `process` the Gaussian conditionals, `sampler` the way from X_1 to
X_0, `noise` what it draws where it sees only a window of a picture. Nothing here knows of networks,
devices or files.
"""

from i2sb_jax.bridge.noise import window_normal
from i2sb_jax.bridge.process import (
    Moments,
    marginal,
    posterior,
    posterior_sample,
    predict_x0,
    q_sample,
    regression_target,
)
from i2sb_jax.bridge.sampler import Samples, sample
from i2sb_jax.bridge.schedule import BridgeSchedule, make_symmetric_schedule, step_grid

__all__ = [
    "BridgeSchedule",
    "Moments",
    "Samples",
    "make_symmetric_schedule",
    "marginal",
    "posterior",
    "posterior_sample",
    "predict_x0",
    "q_sample",
    "regression_target",
    "sample",
    "step_grid",
    "window_normal",
]
