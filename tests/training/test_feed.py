"""Waiting for data is measured, and a pipeline that stalls is told of."""

import time

import pytest

from i2sb_jax.training.feed import Feed


def slow(*seconds):
    for number, pause in enumerate(seconds):
        time.sleep(pause)
        yield number


def test_batches_come_through_and_the_share_of_waiting_is_told():
    feed = Feed(slow(0.0, 0.3, 0.0), warn=pytest.fail)
    assert [next(feed), next(feed)] == [0, 1]
    waited = feed.waiting()
    time.sleep(0.2)
    assert next(feed) == 2
    assert 0.9 < waited <= 1 and feed.waiting() < 0.5
    with pytest.raises(StopIteration):
        next(feed)


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
