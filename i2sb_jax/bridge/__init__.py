"""Diffusion bridges as pure functions: I²SB (arXiv 2302.05872) and its relatives.

`schedule` holds I²SB's variances, `gaussian` a bridge by its coefficients and `families` those that
are shipped; `process` the Gaussian conditionals, `target` what a network learns; `grid` the indices
that a sampler visits, `walk` the one scan that every sampler is, `sampler`, `implicit` and
`second_order` the ways from X_1 to X_0, `ancestral` a bridge's own. Nothing here knows of pictures,
networks, devices or files.
"""

from i2sb_jax.bridge.ancestral import posterior_steps
from i2sb_jax.bridge.families import (
    BRIDGES,
    brownian_bridge,
    irsde_bridge,
    linear_bridge,
    make_bridge,
    nadb_bridge,
    ou_bridge,
    resshift_bridge,
    unidb_bridge,
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
from i2sb_jax.bridge.sampler import SAMPLERS, WITHOUT_NOISE, make_sampler, sample, sampler_steps
from i2sb_jax.bridge.schedule import BridgeSchedule, i2sb_bridge, make_symmetric_schedule
from i2sb_jax.bridge.second_order import sample_second_order, second_order_steps
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
    "WITHOUT_NOISE",
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
    "irsde_bridge",
    "linear_bridge",
    "loss_weight",
    "make_bridge",
    "make_gaussian_bridge",
    "make_sampler",
    "make_symmetric_schedule",
    "marginal",
    "nadb_bridge",
    "ou_bridge",
    "posterior",
    "posterior_sample",
    "posterior_steps",
    "predict_x0",
    "q_sample",
    "regression_target",
    "resshift_bridge",
    "sample",
    "sample_implicit",
    "sample_second_order",
    "sampler_steps",
    "second_order_steps",
    "signal_to_noise",
    "step_grid",
    "unidb_bridge",
    "vp_bridge",
    "walk",
]
