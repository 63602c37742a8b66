"""From a network and a bridge to a function that samples pictures, pure and un-jitted."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from i2sb_jax import bridge
from i2sb_jax.config import SamplingConfig
from i2sb_jax.models import UNet
from i2sb_jax.sampling.consistency import consistent
from i2sb_jax.sampling.noise import normal_each
from i2sb_jax.types import Array, Batch, Params, PredictX0Fn, PRNGKey

SampleFn: TypeAlias = Callable[..., bridge.Samples]
"""(keys, params, x1, mask, cond, origin=None, measurement=None) -> Samples: `make_sample_fn`."""

_END = 0  # position in a grid


def make_predict_x0(
    network: UNet,
    schedule: bridge.Bridge,
    params: Params,
    *,
    cond: Array | None = None,
    prediction: str = "epsilon",
    clip: bool = False,
    on_evaluation: Callable[[Any], None] | None = None,
) -> PredictX0Fn:
    """Returns (xt [batch, h, w, c], step scalar or [batch]) -> X̂_0, as a sampler sees a network.

    Args:
        network: of the bridge.
        schedule: the bridge.
        params: of the network.
        cond: [batch, h, w, c'], what the network sees beside X_t.
        prediction: what the network gives, as in `bridge.predict_x0`.
        clip: clip X̂_0 to [-1, 1].
        on_evaluation: called on the host with the step, after each evaluation on each device.
    """

    def predict_x0_fn(xt: Array, step: Array) -> jax.Array:
        noise_level = jnp.asarray(schedule.noise_level, jnp.float32)[step]
        noise_level = jnp.broadcast_to(noise_level, xt.shape[:1])
        output = network.apply({"params": params}, xt, noise_level, cond)
        if on_evaluation is not None:
            jax.debug.callback(on_evaluation, step)
        return bridge.predict_x0(schedule, step, xt, output, prediction=prediction, clip=clip)

    return predict_x0_fn


def make_sample_fn(
    network: UNet,
    schedule: bridge.Bridge,
    sampling: SamplingConfig,
    *,
    prediction: str = "epsilon",
    noise_channels: int = 0,
    record: tuple[int, ...] = (),
    on_evaluation: Callable[[Any], None] | None = None,
) -> SampleFn:
    """Returns a pure, un-jitted (keys, params, x1, mask, cond, origin, measurement) -> Samples.

    Every picture has its own key, so that its noise does not depend on the batch around it. With an
    origin it is a window of a picture, and windows of one key agree on the noise they share.

    With `sampling.realism` r below 1 and several evaluations the result is (1 - r)·X̂_0 + r·X_0, X̂_0
    of the first evaluation: from the posterior mean, which has the least squared error, towards a
    sample. The line between that mean and the sample of the right law that is nearest to it is the
    best of all trades of squared error for Wasserstein-2 distance (Freirich et al. 2021, arXiv
    2107.02555). Known pixels stay as they are.

    With `sampling.consistency` every X̂_0 is corrected by a measurement, and the last of them is the
    result: no state is consistent that noise or X_1 has a share of.

    Args:
        network: of the bridge, or of a student of it.
        schedule: the bridge.
        sampling: which sampler takes which steps.
        prediction: what the network gives.
        noise_channels: of N(0, 1) that a student sees last, drawn anew at each step.
        record: grid positions whose states are returned.
        on_evaluation: as for `make_predict_x0`, once for a whole batch; for progress.

    Returns:
        The function: keys [batch], x1 [batch, h, w, c], mask [batch, h, w, 1] or None, cond
        [batch, h, w, cond channels] or None, origin int32 [batch, 2] (multiples of
        `sampling.noise.BLOCK`) or None, a measurement of arrays [batch, ...] where
        `sampling.consistency` is on; the paths are [len(record), batch, h, w, c].
    """
    steps = bridge.step_grid(
        schedule.num_steps, sampling.nfe, spacing=sampling.spacing, schedule=schedule
    )
    first = len(steps) - 2  # position that the first evaluation leads to
    is_mixed = sampling.realism != 1 and first != _END
    wanted = [_END] * bool(sampling.consistency) + [first] * is_mixed
    recorded = (*record, *(position for position in wanted if position not in record))
    sampler_fn = bridge.make_sampler(sampling.sampler, eta=sampling.eta)
    predictor = functools.partial(
        make_predict_x0, network, schedule, prediction=prediction, clip=sampling.clip,
        on_evaluation=on_evaluation,
    )  # fmt: skip

    def sample_fn(keys, params, x1, mask, cond, origin=None, measurement=None):
        normal_fn = functools.partial(normal_each, origin=origin)

        beside = schedule.beside(x1, cond)

        def predict_x0_fn(xt, step):
            side = beside
            if noise_channels:
                noise = normal_fn(_noise_keys(keys, step), xt.shape, xt.dtype)
                side = noise if side is None else jnp.concatenate([side, noise], axis=-1)
            return predictor(params, cond=side)(xt, step)

        if sampling.consistency:
            predict_x0_fn = consistent(predict_x0_fn, measurement)
        samples = sampler_fn(
            keys, schedule, predict_x0_fn, x1, steps=steps, mask=mask, record=recorded,
            normal_fn=normal_fn,
        )  # fmt: skip
        if not wanted:
            return samples
        x0, states, predictions = samples
        if sampling.consistency:
            x0 = predictions[recorded.index(_END)]
        if is_mixed:
            mean = predictions[recorded.index(first)]
            mixed = (1 - sampling.realism) * mean + sampling.realism * x0
            x0 = mixed if mask is None else jnp.where(mask > 0.5, mixed, x0)
        return bridge.Samples(x0, states[: len(record)], predictions[: len(record)])

    return sample_fn


def make_generate_fn(sample_fn: SampleFn) -> Callable[[Params, PRNGKey, Batch], Array]:
    """Returns a sample function as training uses it: (params, keys [batch], batch) -> X_0.

    Known pixels, and those without data, are exactly those of X_1.
    """

    def generate_fn(params: Params, keys: PRNGKey, batch: Batch) -> Array:
        mask = batch.to_restore
        x0 = sample_fn(keys, params, batch.degraded, mask, batch.cond).x0
        return x0 if mask is None else jnp.where(mask > 0.5, x0, batch.degraded)

    return generate_fn


def _noise_keys(keys: PRNGKey, step: Array) -> PRNGKey:
    """Returns keys [batch] of a student's noise; no sampler splits its keys into these."""
    return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, 2**31), step))(keys)
