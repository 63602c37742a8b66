"""Predictions held consistent with what was measured: CDDB's correction of X̂_0 at every step.

Chung et al. 2023 (arXiv 2305.19809) correct X̂_0 before each step of the posterior. A sampler sees a
network only as `predict_x0_fn`, so that this is a wrapper of it: every bridge and sampler takes it,
and no training knows of it.
"""

from collections.abc import Callable
from typing import Any

import jax

from i2sb_jax.corruptions.consistency import Measurement
from i2sb_jax.types import Array, PredictX0Fn


def consistent(predict_x0_fn: PredictX0Fn, measurement: Measurement) -> PredictX0Fn:
    """Returns (xt [batch, h, w, 3], step) -> X̂_0, corrected by its measurement.

    Args:
        predict_x0_fn: the network's.
        measurement: of the whole batch, each of its arrays [batch, ...].
    """

    def corrected_fn(xt: Array, step: Array) -> jax.Array:
        x0 = predict_x0_fn(xt, step)
        correct = jax.vmap(lambda each, x0: each.correct(x0))
        return correct(measurement, x0).astype(x0.dtype)

    return corrected_fn


def with_measurement(
    sample_fn: Callable[..., Any], measure_fn: Callable[..., Measurement]
) -> Callable[..., Any]:
    """Returns a sample function that measures X_1 where it is given no measurement.

    Args:
        sample_fn: as `make_sample_fn` gives it.
        measure_fn: (x1, mask, cond) of one picture -> its measurement.
    """

    def measuring_fn(keys, params, x1, mask, cond, origin=None, measurement=None):
        if measurement is None:
            measurement = jax.vmap(measure_fn)(x1, mask, cond)
        return sample_fn(keys, params, x1, mask, cond, origin, measurement)

    return measuring_fn
