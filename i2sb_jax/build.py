"""From a configuration to a schedule, a network, a corruption and a sampler.

The one place where that happens: training, restoring and evaluation share it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from i2sb_jax import bridge, corruptions, models
from i2sb_jax.config import (
    Config,
    SamplingConfig,
    check_nfe,
    check_sampler,
    check_spacing,
    check_student,
)
from i2sb_jax.data.channels import PairedDegradation
from i2sb_jax.sampling.noise import window_normal
from i2sb_jax.types import Array, Batch, Params, PredictX0Fn, PRNGKey

SampleFn = Callable[..., bridge.Samples]
Gather = Callable[[Params], Params]


def make_schedule(config: Config) -> bridge.Bridge:
    """The bridge: I²SB's schedule, or one by its coefficients."""
    return bridge.make_bridge(
        config.bridge.name, num_steps=config.bridge.num_steps, beta_max=config.bridge.beta_max
    )


def make_corruption(
    config: Config, *, read_masks: bool = True
) -> corruptions.Corruption | PairedDegradation:
    """The corruption that the run repairs; of paired data, what stands in its place.

    Args:
        config: the run.
        read_masks: whether to read its mask file, which may be gone where pictures are restored.

    Raises:
        ValueError: the mask file does not fit.
    """
    if config.has_pairs:
        return PairedDegradation(
            target_channels=config.data.target_channels,
            source_channels=config.data.source_channels,
            has_cond=config.data.cond_x1,
        )
    mask_file = (config.mask_file or None) if read_masks else None
    return corruptions.make_corruption(
        config.corruption, image_size=config.image_size, mask_file=mask_file
    )


def make_network(
    config: Config, *, dtype: str | None = None, gather: Gather | None = None
) -> models.UNet:
    """The U-Net; its input is X_t, then the condition, if any, then a student's noise, if any.

    Args:
        config: the run.
        dtype: compute type in place of the config's, "float32" or "bfloat16".
        gather: what brings parameters together that lie on several devices, as
            `accelerators.sharding.gather_on_use` gives it.
    """
    channels = config.image_channels
    unet = config.model.unet_config(
        in_channels=channels + _side_channels(config), out_channels=channels
    )
    if dtype is not None:
        unet = type(unet)(**{**vars(unet), "dtype": dtype})
    return models.UNet(unet, gather=gather)


def init_params(key: PRNGKey, config: Config) -> Params:
    """Freshly initialised parameters of `make_network`; fit for `jax.eval_shape`."""
    network = make_network(config)
    sides = (1, config.image_size, config.image_size)
    image = jnp.zeros((*sides, config.image_channels))
    side = _side_channels(config)
    cond = jnp.zeros((*sides, side)) if side else None
    return network.init(key, image, jnp.zeros((1,)), cond)["params"]


def _side_channels(config: Config) -> int:
    """Returns the number of channels that the network sees beside X_t."""
    return config.cond_channels + config.noise_channels


def init_student(teacher_params: Params, config: Config) -> Params:
    """A student that does what its teacher does: weights of its noise are zero (IBMD)."""
    kernel = teacher_params["conv_in"]["kernel"]
    taps, width, pixels = kernel.shape[:2], kernel.shape[3], config.model.patch**2
    kernel = kernel.reshape(*taps, pixels, -1, width)  # noise comes last in each pixel of a patch
    silent = jnp.zeros((*taps, pixels, config.noise_channels, width), kernel.dtype)
    kernel = jnp.concatenate([kernel, silent], axis=3).reshape(*taps, -1, width)
    conv_in = teacher_params["conv_in"] | {"kernel": kernel}
    return teacher_params | {"conv_in": conv_in}


def make_predict_x0(
    network: models.UNet,
    schedule: bridge.Bridge,
    params: Params,
    *,
    cond: Array | None = None,
    prediction: str = "epsilon",
    clip: bool = False,
    on_evaluation: Callable[[Any], None] | None = None,
) -> PredictX0Fn:
    """(xt [batch, h, w, c], step scalar or [batch]) -> X̂_0, what a sampler sees of a network.

    `prediction` is what the network gives, as in `bridge.predict_x0`. `on_evaluation` is called on
    the host with the step, after each evaluation on each device.
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
    config: Config,
    *,
    nfe: int | None = None,
    sampler: str | None = None,
    spacing: str | None = None,
    eta: float | None = None,
    clip: bool | None = None,
    record: tuple[int, ...] = (),
    dtype: str | None = None,
    gather: Gather | None = None,
    on_evaluation: Callable[[Any], None] | None = None,
) -> SampleFn:
    """A pure, un-jitted (keys, params, x1, mask, cond, origin=None) -> Samples.

    Every picture has its own key, so that its noise does not depend on the batch around it. With an
    origin it is a window of a picture, and windows of one key agree on the noise they share.

    Args:
        config: the run; its `sampling` section gives what is None here.
        nfe: network evaluations.
        sampler: one of `bridge.SAMPLERS`.
        spacing: of the grid of steps, one of `bridge.SPACINGS`.
        eta: of sampler "implicit".
        clip: clip X̂_0 to [-1, 1] at each step.
        record: grid positions whose states are returned.
        dtype: compute type in place of the model's.
        gather: as for `make_network`.
        on_evaluation: as for `make_predict_x0`, once for a whole batch; for progress.

    Returns:
        The function: keys [batch], x1 [batch, h, w, c], mask [batch, h, w, 1] or None, cond
        [batch, h, w, cond channels] or None, origin int32 [batch, 2] (multiples of
        `sampling.noise.BLOCK`) or None; the paths are [len(record), batch, h, w, c].

    Raises:
        ValueError: nfe out of range, a sampler that does not suit the run, or of a student other
            steps than it has learnt.
    """
    chosen: SamplingConfig = choose_sampling(
        config, nfe=nfe, sampler=sampler, spacing=spacing, eta=eta, clip=clip
    )
    network, schedule = make_network(config, dtype=dtype, gather=gather), make_schedule(config)
    steps = bridge.step_grid(
        schedule.num_steps, chosen.nfe, spacing=chosen.spacing, schedule=schedule
    )
    sampler_fn = bridge.make_sampler(chosen.sampler, eta=chosen.eta)
    predictor = functools.partial(
        make_predict_x0, network, schedule, prediction=config.bridge.prediction,
        clip=chosen.clip, on_evaluation=on_evaluation,
    )  # fmt: skip

    def sample_fn(keys, params, x1, mask, cond, origin=None):
        normal_fn = functools.partial(normal_each, origin=origin)

        def predict_x0_fn(xt, step):
            side = cond
            if config.noise_channels:
                noise = normal_fn(_noise_keys(keys, step), xt.shape, xt.dtype)
                side = noise if cond is None else jnp.concatenate([cond, noise], axis=-1)
            return predictor(params, cond=side)(xt, step)

        return sampler_fn(
            keys, schedule, predict_x0_fn, x1, steps=steps, mask=mask, record=record,
            normal_fn=normal_fn,
        )  # fmt: skip

    return sample_fn


def make_generate_fn(
    config: Config, *, gather: Gather | None = None, **given: Any
) -> Callable[[Params, PRNGKey, Batch], Array]:
    """`make_sample_fn` as training uses it: (params, keys [batch], batch) -> X_0, [batch, h, w, c].

    Known pixels, and those without data, are exactly those of X_1. `given` is what
    `make_sample_fn` takes.
    """
    sample_fn = make_sample_fn(config, gather=gather, **given)

    def generate_fn(params: Params, keys: PRNGKey, batch: Batch) -> Array:
        mask = batch.to_restore
        x0 = sample_fn(keys, params, batch.degraded, mask, batch.cond).x0
        return x0 if mask is None else jnp.where(mask > 0.5, x0, batch.degraded)

    return generate_fn


def _noise_keys(keys: PRNGKey, step: Array) -> PRNGKey:
    """[batch], of what a student sees at a step; no sampler splits its keys into these."""
    return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, 2**31), step))(keys)


def normal_each(
    keys: PRNGKey, shape: tuple[int, ...], dtype: jnp.dtype, *, origin: Array | None = None
) -> jax.Array:
    """N(0, 1) of a batch, each picture's by its own key; only this is mapped, not the network.

    Args:
        keys: [batch].
        shape: [batch, h, w, c].
        dtype: of the result.
        origin: int32 [batch, 2], where each is a window of a picture, as for `make_sample_fn`.
    """
    if origin is None:
        return jax.vmap(lambda key: jax.random.normal(key, shape[1:], dtype))(keys)
    return jax.vmap(lambda key, origin: window_normal(key, shape[1:], dtype, origin=origin))(
        keys, origin
    )


def choose_sampling(config: Config, **given: Any) -> SamplingConfig:
    """The run's sampling with what is given and not None in its place; all of it checked.

    Raises:
        ValueError: nfe out of range, a sampler that does not suit the run, or of a student other
            steps than it has learnt.
    """
    chosen = config.sampling.replaced(**given)
    check_nfe(chosen.nfe, config.bridge.num_steps)
    check_sampler(chosen.sampler, deterministic_bridge=config.bridge.deterministic)
    check_spacing(chosen.spacing, bridge_name=config.bridge.name)
    if config.teacher:
        check_student(chosen, config.sampling)
    return chosen
