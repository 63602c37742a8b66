"""What a configuration builds: the network's channels follow from corruption and data."""

import jax
import numpy as np
import pytest

from i2sb_jax import build
from i2sb_jax.data.channels import PairedDegradation
from tests.training.tiny import make_config

pytest.importorskip("ml_collections")


def pairs(source, target, cond):
    data = {"source_channels": source, "target_channels": target, "cond_x1": cond}
    folders = {"source": "pairs", "path": "sources", "target_path": "targets"}
    return {"corruption": "pairs", "data": {**folders, **data}}


@pytest.mark.parametrize(
    "changes, inputs, outputs",
    [
        ({}, 3, 3),
        ({"corruption": "colorize"}, 6, 3),
        (pairs(3, 3, False), 3, 3),
        (pairs(3, 3, True), 6, 3),
        (pairs(2, 1, True), 3, 1),
        (pairs(1, 4, False), 4, 4),
    ],
)
def test_channels(changes, inputs, outputs):
    config = make_config(**changes)
    assert config.image_channels == outputs and config.cond_channels == inputs - outputs
    params = jax.eval_shape(lambda: build.init_params(jax.random.key(0), config))
    assert params["conv_in"]["kernel"].shape[2] == inputs
    assert params["conv_out"]["kernel"].shape[3] == outputs
    corruption = build.make_corruption(config)
    assert corruption.has_cond == bool(config.cond_channels) and not corruption.has_mask
    assert isinstance(corruption, PairedDegradation) == config.has_pairs

    count, size = 2, config.image_size
    shapes = [(count, size, size, c) for c in (outputs, inputs - outputs)]
    x1, cond = (np.zeros(shape, np.float32) if shape[-1] else None for shape in shapes)
    keys = jax.random.split(jax.random.key(0), count)
    sample = build.make_sample_fn(config)
    restored = jax.eval_shape(lambda params: sample(keys, params, x1, None, cond), params)
    assert restored.x0.shape == shapes[0]
