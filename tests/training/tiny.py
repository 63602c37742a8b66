"""A run small enough for tests: 16² windows of the bundled photographs, a few thousand weights."""

import dataclasses
import functools
import itertools

import jax
import numpy as np

from i2sb_jax import config as config_lib
from i2sb_jax import models
from i2sb_jax.accelerators import sharding
from i2sb_jax.bridge import make_symmetric_schedule
from i2sb_jax.config import Config
from i2sb_jax.run import Run
from i2sb_jax.training import loop
from i2sb_jax.types import Batch

OVERRIDES = {
    "corruption": "sr4x-pool",
    "image_size": 16,
    "model": {
        "model_channels": 8,
        "channel_mult": (1.0,),  # one level: half of what there is to trace and compile
        "num_res_blocks": 1,
        "attention_downsamples": (),
        "head_channels": 8,
        "norm_groups": 4,
    },
    "data": {"source": "photos", "crop": "window"},
    "optimizer": {"learning_rate": 1e-3},
    "training": {
        "num_steps": 12,
        "batch_size": 4,
        "log_every": 1,
        "image_every": 100,
        "checkpoint_every": 4,
    },
    "sampling": {"nfe": 2, "batch_size": 2},
}


def make_config(**overrides) -> Config:
    """The tiny run; `section={...}` or `key=value` changes it."""
    from i2sb_jax.configs import base

    config = base.get_config()
    for changes in (OVERRIDES, overrides):
        for key, value in changes.items():
            if isinstance(value, dict):
                config[key].update(value)
            else:
                config[key] = value
    return config_lib.from_config_dict(config.to_dict())


def fresh_params(config):
    """Weights that training begins with, numpy; a network's are made once, and copied."""
    return jax.tree.map(np.copy, _fresh_params(config.unet, config.image_size))


@functools.cache
def _fresh_params(unet, image_size):
    init = jax.jit(models.init_params, static_argnums=1, static_argnames="image_size")
    return jax.device_get(init(jax.random.key(0), unet, image_size=image_size))


def make_batch(count: int, *, size: int = 16, seed: int = 0) -> Batch:
    """Random pictures, the degraded ones a little off the clean ones."""
    rng = np.random.default_rng(seed)
    clean = rng.uniform(-1, 1, (count, size, size, 3)).astype(np.float32)
    noise = rng.standard_normal(clean.shape).astype(np.float32)
    return Batch(clean=clean, degraded=clean + np.float32(0.3) * noise)


def endless(start: int, *, batch_size: int = 4):
    """Batches that are a function of their step, as the pipeline's are."""
    step = start
    while True:
        yield make_batch(batch_size, seed=1000 + step)
        step += 1


class Killed(Exception):
    """What ends a run in a test."""


def killed_after(count):
    """Batches that end in an exception once `count` of them were taken."""

    def batches(start):
        yield from itertools.islice(endless(start), count)
        raise Killed

    return batches


class Recorder:
    """A writer that remembers."""

    def __init__(self):
        self.scalars, self.images, self.flushed = [], [], 0

    def write_scalars(self, step, scalars):
        self.scalars.append((step, dict(scalars)))

    def write_images(self, step, images):
        self.images.append((step, {name: x.shape for name, x in images.items()}))

    def flush(self):
        self.flushed += 1


@functools.cache
def run_of(config):
    """The run of a configuration, one in this process: its step is compiled once.

    Runs share it that differ in their rhythm, seed or origin, which a step knows nothing of.
    """
    run, training = Run(config), config.training
    rhythm = {name: getattr(make_config().training, name) for name in _NOT_OF_A_STEP}
    if config.optimizer.schedule == "step":
        rhythm["num_steps"] = 12
    alike = dataclasses.replace(
        config,
        seed=0,
        teacher=config.teacher and "of the same shapes",
        training=dataclasses.replace(training, **rhythm),
    )
    if alike != config:
        run.__dict__["step"] = run_of(alike).step
    return run


_NOT_OF_A_STEP = (
    *("init_from", "log_every", "image_every", "checkpoint_every"),
    *("keep_checkpoints", "keep_every", "best_metric"),
)


_PROGRAMS = {}


def _compiled_once(run, state, batch, root, frozen):
    """The loop's, but that runs of one step share its program: lowering takes a second."""
    given = state, batch, root, frozen
    leaves = tuple((x.shape, x.dtype, x.sharding) for x in jax.tree.leaves(given))
    key = run.step, run.config.matmul_precision, jax.tree.structure(given), leaves
    if key not in _PROGRAMS:
        _PROGRAMS[key] = loop.compile_step(run, *given)
    return _PROGRAMS[key]


def train(workdir, config=None, *, batches=endless, writer=None):
    """A run of the tiny network, without the pipeline."""
    return loop.train(
        loop.check_start(run_of(config or make_config()), workdir),
        batches=batches,
        eval_batch=make_batch(2, seed=5),
        writer=writer or Recorder(),
        compile_fn=_compiled_once,
    )


SCHEDULE = make_symmetric_schedule(num_steps=100, beta_max=0.3)


def linear_apply(variables, x, noise_level, cond, *, train=False, rngs=None):
    """A network of two numbers: ε = a·x + b·noise_level / 100."""
    del cond, train, rngs
    params = variables["params"]
    level = noise_level.reshape((-1,) + (1,) * (x.ndim - 1))
    return params["a"] * x + params["b"] * level / 100


def linear_params():
    """Initial values of `linear_apply`."""
    return {"a": jax.numpy.float32(0.5), "b": jax.numpy.float32(-0.2)}


def held_by_the_first(tree):
    """The bytes of arrays that the first device holds."""
    return sum(
        part.data.nbytes
        for x in jax.tree.leaves(tree)
        for part in x.addressable_shards
        if part.device == jax.devices()[0]
    )


def three_steps(run, state, frozen):
    """Yields the metrics of each, on the run's mesh."""
    root = jax.device_put(jax.random.key(1), sharding.replicated(run.mesh))
    step = loop.jitted_step(run, state)
    for i in range(3):
        batch = sharding.global_batch(make_batch(8, seed=i), run.mesh)
        state, metrics = step(state, batch, root, frozen)
        yield metrics
