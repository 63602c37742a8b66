"""Pictures made of their number: the same everywhere, and none on both sides."""

import dataclasses

import numpy as np
import pytest

from i2sb_jax.cli import config_file
from i2sb_jax.cli.tasks import base_file
from i2sb_jax.corruptions import make_corruption
from i2sb_jax.data import make_source, make_sources, open_source
from tests.data.pictures import data_config

CONFIG = data_config(source="synthetic")


def histogram(picture):
    """What shifting a picture leaves as it is."""
    return np.stack([np.bincount(channel, minlength=256) for channel in picture.reshape(-1, 3).T])


def test_number_alone_makes_the_picture():
    one, two = (open_source("synthetic", split="train") for _ in range(2))
    for number in (0, 7, 8, 4321, len(one) - 1):
        first, again = one.read(number), two.read(number)
        assert first.image.shape == (256, 256, 3) and first.image.dtype == np.uint8
        np.testing.assert_array_equal(first.image, again.image)
        assert first.name == again.name == one.names[number]
        assert first.image.std() > 30
    held_out = open_source("synthetic", split="eval")
    pictures = {held_out.read(number).image.tobytes() for number in range(len(held_out))}
    assert len(pictures) == len(held_out) == len(set(held_out.names))


def test_no_held_out_picture_is_a_shifted_one_of_training(tmp_path):
    sides = make_sources(CONFIG, tmp_path, report=print)
    train, held_out = (
        {histogram(side.read(number).image).tobytes() for number in range(64)} for side in sides
    )
    assert len(train) == 8 and len(held_out) == 2 and train.isdisjoint(held_out)


def test_batches():
    pytest.importorskip("tensorflow")
    from i2sb_jax.data.pipeline import Examples, Share, eval_batches, train_batches

    corruption = make_corruption("sr4x-pool", image_size=32)
    train, held_out = (make_source(CONFIG, split=split) for split in ("train", "eval"))
    examples = Examples(corruption, CONFIG, 32)
    first = next(train_batches(train, examples, Share(18), seed=1))
    second = next(eval_batches(held_out, examples, Share(18)))
    assert second.name[:2].tolist() == [b"eval-00000", b"eval-00001"]
    for batch in (first, second):
        assert len({picture.tobytes() for picture in batch.clean}) == 18
        assert 0 < np.abs(batch.degraded - batch.clean).mean() < batch.clean.std()


def test_a_run_needs_no_path():
    arguments = [f"--config={base_file()}", "--config.data.source=synthetic"]
    config, _ = config_file.parse(arguments, program="test", needs_workdir=False)
    assert config.data.path == "" and len(make_source(config.data, split="train")) == 8192


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match=r"eval_list='some\.txt'.*'synthetic' has no list"):
        dataclasses.replace(CONFIG, eval_list="some.txt")
    with pytest.raises(ValueError, match="split='test' of synthetic must be"):
        open_source("synthetic", split="test")
