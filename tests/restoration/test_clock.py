"""The time to finish, told once it can be."""

import re

import pytest

from i2sb_jax.restoration import clock as clock_lib
from i2sb_jax.restoration.clock import Calls, Clock


@pytest.fixture
def job(monkeypatch, capsys):
    """(seconds of each evaluation, evaluations a batch, calls) -> the lines of a whole job."""

    def run(seconds, nfe, calls=None):
        now = [0.0]
        monkeypatch.setattr(clock_lib.time, "monotonic", lambda: now[0])
        clock = Clock()
        calls = [Calls(len(seconds) // nfe, 1)] if calls is None else calls
        with clock.start(calls, nfe=nfe, quiet=False):
            for one in seconds:
                now[0] += one
                clock.one_more(None)
        return capsys.readouterr().err.splitlines()

    return run


@pytest.fixture
def told(job):
    """As `job`, of the lines those that tell the time of all."""
    return lambda *args: [line for line in job(*args) if "in all" in line]


def test_the_slow_first_evaluations_are_not_taken_for_the_rest(told):
    (line,) = told([5.0, 3.0, *[1.0] * 98], 10)
    assert line == "1 s an evaluation: about 0:01:40 in all"


def test_short_evaluations_are_measured_together(told):
    uneven = [0.06, 0.02] * 200
    (line,) = told([2.0, 2.0, *uneven], 2)
    assert float(line.split()[0]) == pytest.approx(0.04, rel=0.05)


@pytest.mark.parametrize(
    "seconds, start",
    [
        ([4.0], "4 s an evaluation: about 4.0 s"),
        ([1.0, 3.0], "2 s an evaluation: about 4.0 s"),
        ([9.0, 9.0, 2.0], "2 s an evaluation: about 6.0 s"),
    ],
)
def test_a_job_of_few_evaluations_is_told_at_its_end(told, seconds, start):
    (line,) = told(seconds, len(seconds))
    assert line.startswith(start)


def test_what_shortens_the_wait_is_named_beyond_ten_minutes(told):
    (short,), (long,) = told([2.0] * 300, 1), told([2.0] * 301, 1)
    assert "--nfe" not in short
    assert all(flag in long for flag in ("--nfe", "--dtype bfloat16", "--preview"))


def test_larger_windows_take_longer(job):
    """A folder of thumbnails and one large picture: windows of 288² come first, then of 512²."""
    seconds = [2e-5 * 288**2] * 12 + [2e-5 * 512**2] * 24
    line, *progress = job(seconds, 2, [Calls(6, 288**2), Calls(12, 512**2)])
    assert line == "1.66 s an evaluation: about 0:02:26 in all"
    assert sum(seconds) == pytest.approx(146, abs=1)
    for each in progress:
        done, minutes, rest = map(int, re.search(r"(\d+)/36 .* 0:(\d+):(\d+) left", each).groups())
        assert 60 * minutes + rest == pytest.approx(sum(seconds[done:]), abs=1)
    assert len(progress) > 3


def test_windows_that_need_no_restoring_shorten_it(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(clock_lib.time, "monotonic", lambda: now[0])
    clock = Clock()
    with clock.start([Calls(4, 10), Calls(100, 30)], nfe=1, quiet=False):
        for i in range(4):
            if i == 3:
                clock.revise([Calls(4, 10), Calls(1, 30)])
            now[0] += 2.0
            clock.one_more()
        assert clock.estimate() == pytest.approx(14)
        assert clock.estimate([Calls(2, 30)]) == pytest.approx(12)
    assert "about 0:00:14 in all" in capsys.readouterr().err
