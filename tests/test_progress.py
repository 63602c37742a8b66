"""Progress as plain lines: where, how fast, how long still; and silence."""

import re

import pytest

from i2sb_jax import progress
from i2sb_jax.progress import Progress


class Clock:
    """Stands in for `time`."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(progress, "time", fake)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    return fake


def test_lines_carry_rate_and_time_left(clock, capsys):
    with Progress(100, unit="step", start=20) as bar:
        assert bar.rate() is None
        bar.say("loss 3")
        clock.now += 50  # the first compiles: it does not count
        bar.advance()
        assert bar.rate() is None
        for _ in range(8):
            clock.now += 0.5
            bar.advance()
        assert bar.rate() == pytest.approx(2.0)
        bar.say("loss 2")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "step 20/100  loss 3",
        "step 29/100  loss 2  2 steps/s  0:00:36 left",
    ]


def test_lines_are_not_too_frequent(clock, capsys):
    with Progress(100, unit="evaluation") as bar:
        bar.say("", at_most_every=10)  # nothing measured yet
        for _ in range(31):
            bar.advance(2)
            bar.say("", at_most_every=10)
            clock.now += 1
    lines = capsys.readouterr().err.splitlines()
    assert [re.match(r"evaluation (\d+)/100", line)[1] for line in lines] == ["4", "24", "44"]
    assert lines[0] == "evaluation 4/100  2 evaluations/s  0:00:48 left"


def test_quiet(clock, capsys):
    with Progress(10, unit="step", quiet=True) as bar:
        for _ in range(3):
            clock.now += 1
            bar.advance()
            bar.say("loss 1")
        assert bar.rate() == pytest.approx(1.0)
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(clock, capsys, monkeypatch):
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(10, unit="step", start=4) as bar:
        bar.advance()
        bar.say("loss 0.5")
    err = capsys.readouterr().err
    assert "5/10" in err and "loss 0.5" in err and "\r" in err
