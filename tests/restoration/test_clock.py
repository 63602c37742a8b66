"""The time to finish, told once it can be."""

import pytest

from i2sb_jax.restoration import clock as clock_lib
from i2sb_jax.restoration.clock import Clock


@pytest.fixture
def told(monkeypatch, capsys):
    """(seconds of each evaluation, evaluations a batch) -> the lines of a whole job."""

    def run(seconds, nfe):
        now = [0.0]
        monkeypatch.setattr(clock_lib.time, "monotonic", lambda: now[0])
        clock = Clock()
        with clock.start(batches=len(seconds) // nfe, nfe=nfe, quiet=False):
            for one in seconds:
                now[0] += one
                clock.one_more(None)
        return [line for line in capsys.readouterr().err.splitlines() if "in all" in line]

    return run


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
