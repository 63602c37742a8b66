"""Two updates on photographs degraded by each photographic corruption, margins and all."""

import json

import numpy as np
import pytest

from i2sb_jax.data import open_source
from i2sb_jax.run import Run
from tests.training.tiny import make_config, train

pytest.importorskip("tensorflow")

from i2sb_jax.data.pipeline import Examples, Share, train_batches

NAMES = ("blur-photo", "noise", "noise-float", "sr2x-photo", "sr4x-photo", "real", "jpeg-file")


@pytest.fixture(scope="module")
def photographs():
    return open_source("photos")


@pytest.mark.parametrize("name", NAMES)
def test_two_updates(name, photographs, tmp_path):
    config = make_config(corruption=name, training={"num_steps": 2, "checkpoint_every": 2})
    seen = []

    def batches(start):
        stream = train_batches(
            photographs,
            Examples(Run(config).corruption, config.data, config.image_size),
            Share(config.training.batch_size),
            seed=config.seed,
            start_step=start,
        )
        for batch in stream:
            seen.append(batch)
            yield batch

    train(tmp_path, config, batches=batches)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(0 < line["loss"] < 10 for line in lines)
    assert seen[0].clean.shape == seen[0].degraded.shape == (4, 16, 16, 3)
    assert np.abs(seen[0].clean - seen[0].degraded).max() > 1 / 127.5
    assert np.abs(seen[0].clean - seen[0].degraded).mean() < 1
