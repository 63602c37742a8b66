"""Sampling of pictures: each meets the same noise in any window and in any company.

`noise` draws what a picture meets, by its name and the pixel's place; `sample_fn` makes a pure
function of a network, a bridge and a `SamplingConfig`; `consistency` holds its predictions to what
was measured; `engine` compiles it for a mesh and streams
windows through it.

`start` begins at another model's answer.
"""

from i2sb_jax.sampling.consistency import consistent, with_measurement
from i2sb_jax.sampling.engine import DeviceSampler, Engine, OutOfMemory, Window
from i2sb_jax.sampling.noise import normal_each, picture_key, picture_keys, window_normal
from i2sb_jax.sampling.sample_fn import (
    SampleFn,
    make_generate_fn,
    make_predict_x0,
    make_sample_fn,
)
from i2sb_jax.sampling.start import StartFn, make_start_fn, start_at

__all__ = [
    "DeviceSampler",
    "Engine",
    "OutOfMemory",
    "SampleFn",
    "StartFn",
    "Window",
    "consistent",
    "make_generate_fn",
    "make_predict_x0",
    "make_sample_fn",
    "make_start_fn",
    "normal_each",
    "picture_key",
    "picture_keys",
    "start_at",
    "window_normal",
    "with_measurement",
]
