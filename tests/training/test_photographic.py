"""Two updates on photographs degraded by each photographic corruption, margins and all."""

import jax
import numpy as np
import pytest

from i2sb_jax.accelerators import sharding
from i2sb_jax.data import open_source
from i2sb_jax.run import Run
from tests.training.tiny import make_config, run_of

pytest.importorskip("tensorflow")

from i2sb_jax.data.pipeline import Examples, Share, train_batches

NAMES = ("blur-photo", "noise", "noise-float", "sr2x-photo", "sr4x-photo", "real", "jpeg-file")


@pytest.fixture(scope="module")
def photographs():
    return open_source("photos")


@pytest.fixture(scope="module")
def step():
    """The step of them all, compiled once, and its first state."""
    run = run_of(make_config())
    return jax.jit(run.step), jax.jit(run.init_state)(jax.random.key(0))


def batches_of(config, photographs):
    examples = Examples(Run(config).corruption, config.data, config.image_size)

    def batches(start):
        share = Share(config.training.batch_size)
        return train_batches(photographs, examples, share, seed=config.seed, start_step=start)

    return batches


@pytest.mark.parametrize("name", NAMES)
def test_two_updates(name, photographs, step):
    config, (step, state) = make_config(corruption=name), step
    run, root = run_of(make_config()), jax.random.key(config.seed)
    # what is learnt differs in the pictures alone
    assert (config.unet, config.bridge) == (run.config.unet, run.config.bridge)
    stream, seen = batches_of(config, photographs)(0), []
    for _ in range(2):
        seen.append(next(stream))
        state, metrics = step(state, sharding.global_batch(seen[-1], run.mesh), root)
        assert 0 < float(metrics["loss"]) < 10
    assert int(state.step) == 2
    assert seen[0].clean.shape == seen[0].degraded.shape == (4, 16, 16, 3)
    assert seen[0].mask is seen[0].cond is None
    assert np.abs(seen[0].clean - seen[0].degraded).max() > 1 / 127.5
    assert np.abs(seen[0].clean - seen[0].degraded).mean() < 1
