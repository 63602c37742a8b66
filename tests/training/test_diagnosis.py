"""The first thing that is not finite is named: pictures, then weights, then what is computed."""

import numpy as np
import pytest

from i2sb_jax.training import TrainState
from i2sb_jax.training.diagnosis import explain_metric
from tests.training.tiny import make_batch, make_config

CONFIG = make_config()
PAIRS = make_config(
    corruption="pairs",
    data={"source": "pairs", "path": "a", "target_path": "b", "cond_x1": True},
)


def state(value=1.0):
    weights = {"conv_in": {"kernel": np.ones(3, np.float32), "bias": np.ones(2, np.float32)}}
    after = {"conv_in": {**weights["conv_in"], "kernel": np.full(3, value, np.float32)}}
    return TrainState(np.int32(9), after, weights, {"mu": after})


def explained(batch, *, config=CONFIG, value=1.0, before=None):
    asked = []

    def batches(start):
        asked.append(start)
        yield batch

    told = explain_metric(config, 7, before=before, batches=batches, state=state(value))
    assert asked == [6] and "\n" not in told
    return told


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("clean", np.nan, "the target of b.npy holds NaN (2 of 768 values)"),
        ("degraded", np.inf, "the source of b.npy holds infinity (2 of 768 values)"),
        ("cond", -np.inf, "the source of b.npy holds infinity (2 of 768 values)"),
    ],
)
def test_a_picture_by_name_and_side(field, value, words):
    names = np.array([b"a.npy", b"b.npy", b"c.npy"])
    batch = make_batch(3)._replace(cond=make_batch(3).degraded, name=names)
    getattr(batch, field)[1, 2, 3:5, 0] = value
    assert explained(batch, config=PAIRS, value=np.nan) == words


def test_a_picture_without_a_name():
    batch = make_batch(2)
    batch.degraded[1, 0, 0, 0] = np.nan
    told = "the degraded picture of number 1 of the batch holds NaN (1 of 768 values)"
    assert explained(batch) == told


def test_a_value_far_from_all_others():
    batch = make_batch(2)._replace(name=np.array(["a", "b"]))
    batch.clean[1, 0, 0, 0] = -1e9
    told = explained(batch, value=np.nan)
    words = "finite, but as large as 1e+09 in the clean picture of b, where -1 to 1 is usual"
    assert told.endswith(words)


def test_weights_that_went_and_those_that_stayed():
    told = explained(make_batch(2), value=np.inf, before={"loss": 2.5, "grad_norm": 1.0})
    assert "pictures are finite (the loss was 2.5 at step 6), the weights not any more: " in told
    assert "params/conv_in/kernel holds infinity (3 of 3 values)" in told
    assert "a lower optimizer.learning_rate than 0.001" in told
    told = explained(make_batch(2))
    assert told.startswith("its pictures are finite, and the weights are still; a lower")


def test_a_source_that_is_gone():
    def batches(start):
        raise OSError("no\nsuch disk")

    told = explain_metric(CONFIG, 1, before=None, batches=batches, state=state(np.nan))
    assert told == "its pictures cannot be read again (no such disk)"
