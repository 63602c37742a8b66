"""A pipeline that stalls is told of."""

import time

import pytest

from i2sb_jax.training.feed import Feed


def slow(*seconds):
    for number, pause in enumerate(seconds):
        time.sleep(pause)
        yield number


def test_batches_come_through():
    feed = Feed(slow(0.0, 0.0), warn=pytest.fail)
    assert list(feed) == [0, 1]


def test_a_stalled_pipeline_is_told_once_a_batch():
    lines = []
    feed = Feed(slow(0.0, 0.4, 0.0), warn=lines.append, patience=0.1)
    assert [next(feed) for _ in range(3)] == [0, 1, 2]
    assert lines == ["no batch for 0.1 s: the input pipeline is slow or stalled"]


def test_an_error_of_the_pipeline_comes_through():
    def broken():
        yield 0
        raise OSError("the disk is gone")

    feed = Feed(broken(), warn=pytest.fail)
    next(feed)
    with pytest.raises(OSError, match="the disk is gone"):
        next(feed)
