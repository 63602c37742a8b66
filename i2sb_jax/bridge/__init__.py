"""Diffusion bridges as pure functions: I²SB (arXiv 2302.05872) and its relatives.

`schedule` holds I²SB's variances, `gaussian` a bridge by its coefficients and `families` those that
are shipped; `process` the Gaussian conditionals, `target` what a network learns; `grid` the indices
that a sampler visits, `walk` the one scan that every sampler is, `sampler` and `implicit` the ways
from X_1 to X_0. Nothing here knows of pictures, networks, devices or files.
"""

from i2sb_jax.bridge.families import (
    BRIDGES,
    brownian_bridge,
    make_bridge,
    ou_bridge,
    vp_bridge,
)
from i2sb_jax.bridge.gaussian import (
    Bridge,
    GaussianBridge,
    diffusion_bridge,
    make_gaussian_bridge,
    signal_to_noise,
)
from i2sb_jax.bridge.grid import SPACINGS, step_grid
from i2sb_jax.bridge.implicit import implicit_steps, sample_implicit
from i2sb_jax.bridge.process import Moments, marginal, posterior, posterior_sample, q_sample
from i2sb_jax.bridge.sampler import SAMPLERS, make_sampler, posterior_steps, sample
from i2sb_jax.bridge.schedule import BridgeSchedule, i2sb_bridge, make_symmetric_schedule
from i2sb_jax.bridge.target import (
    PREDICTIONS,
    WEIGHTINGS,
    loss_weight,
    predict_x0,
    regression_target,
)
from i2sb_jax.bridge.walk import Samples, Steps, walk

__all__ = [
    "BRIDGES",
    "PREDICTIONS",
    "SAMPLERS",
    "SPACINGS",
    "WEIGHTINGS",
    "Bridge",
    "BridgeSchedule",
    "GaussianBridge",
    "Moments",
    "Samples",
    "Steps",
    "brownian_bridge",
    "diffusion_bridge",
    "i2sb_bridge",
    "implicit_steps",
    "loss_weight",
    "make_bridge",
    "make_gaussian_bridge",
    "make_sampler",
    "make_symmetric_schedule",
    "marginal",
    "ou_bridge",
    "posterior",
    "posterior_sample",
    "posterior_steps",
    "predict_x0",
    "q_sample",
    "regression_target",
    "sample",
    "sample_implicit",
    "signal_to_noise",
    "step_grid",
    "vp_bridge",
    "walk",
]
