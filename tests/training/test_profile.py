"""Traces of steps for TensorBoard's profiler: where they lie, what is in them, what is told."""

import jax
import pytest

from i2sb_jax.config import TrainingConfig, profile_span
from i2sb_jax.training import profile
from i2sb_jax.training.pace import Pace
from tests import memory_path
from tests.training.tiny import make_config, train


def traces(workdir):
    return sorted((workdir / "tensorboard" / "plugins" / "profile").glob("*/*.xplane.pb"))


def traced_steps(file):
    """Numbers of the updates that a trace holds, by the profiler's own reader."""
    data = jax.profiler.ProfileData.from_file(str(file))
    events = (e for plane in data.planes for line in plane.lines for e in line.events)
    marks = [dict(event.stats) for event in events if event.name == "update"]
    return sorted(int(mark["step_num"]) for mark in marks)


def walk(folder, steps, *, start, end):
    """Goes through a run's steps without a run."""
    with profile.Profile(folder, steps, start_step=start, pace=Pace()) as traced:
        traced.reached(start, ())
        for step in range(start + 1, end + 1):
            with traced.step(step):
                last = jax.numpy.float32(step) + 1
            traced.reached(step, last)


def told(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if "profile" in line]


def test_a_run_is_traced_where_tensorboard_looks(tmp_path, capsys):
    train(tmp_path, make_config(training={"num_steps": 4, "profile_steps": "1:3"}))
    (file,) = traces(tmp_path)
    assert traced_steps(file) == [2, 3]
    where = f"{tmp_path}/tensorboard/plugins/profile"
    assert told(capsys) == [f"note: profile from step 1 to step 3 in {where}"]


def test_without_the_key_there_is_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jax.profiler, "start_trace", pytest.fail)
    walk(tmp_path, "", start=0, end=3)
    assert not told(capsys)


def test_a_run_that_ends_within_leaves_what_there_is(tmp_path, capsys):
    with (
        pytest.raises(KeyboardInterrupt),
        profile.Profile(tmp_path, "0:6", start_step=0, pace=Pace()) as traced,
    ):
        traced.reached(0, ())
        with traced.step(1):
            pass
        raise KeyboardInterrupt
    assert traced_steps(*traces(tmp_path)) == [1]
    (line,) = told(capsys)
    assert line.startswith("note: profile from step 0 to where the run ended in ")


@pytest.mark.parametrize(
    "start, left, steps",
    [(4, "the rest is traced", [5, 6]), (6, "nothing of it is left", None)],
)
def test_a_run_that_goes_on_says_what_is_left(tmp_path, capsys, start, left, steps):
    walk(tmp_path, "3:6", start=start, end=8)
    assert [traced_steps(file) for file in traces(tmp_path)] == ([steps] if steps else [])
    note = f"note: training.profile_steps='3:6': the run goes on from step {start}, so {left}"
    assert told(capsys)[0] == note


@pytest.mark.parametrize(
    "steps", ["5", "5:", ":5", "5:5", "6:5", "-1:5", "1:13", "a:b", "1:2:3", "1.5:3", " 1:3"]
)
def test_bad_values_are_one_line(steps):
    with pytest.raises(ValueError, match=r"must be A:B with 0 <= A < B <=") as error:
        TrainingConfig(num_steps=12, profile_steps=steps)
    line = str(error.value)
    assert "\n" not in line and f"training.profile_steps={steps!r}" in line
    assert "training.num_steps=12, as 11:12, or '' for none" in line


def test_the_bounds_are_allowed():
    assert TrainingConfig(num_steps=12, profile_steps="0:12").profile_steps == "0:12"
    assert profile_span("0:12") == (0, 12) and profile_span("") is None


def test_a_bucket_gets_the_files_once_they_are_complete(monkeypatch):
    memory_path.clear()
    place = "memory://bucket/run"
    monkeypatch.setattr(
        jax.profiler, "stop_trace", _checked(jax.profiler.stop_trace, lambda: memory_path.FILES)
    )
    walk(place, "0:1", start=0, end=1)
    found = [name for name in memory_path.FILES if name.endswith(".xplane.pb")]
    assert len(found) == 1 and found[0].startswith(f"{place}/tensorboard/plugins/profile/")
    memory_path.clear()


def _checked(stop, there):
    """The profiler's stop, at which nothing is there yet."""

    def checked():
        assert not there()
        stop()

    return checked


@pytest.mark.parametrize("name", ["start_trace", "stop_trace"])
def test_a_trace_that_fails_ends_no_run(name, tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise (RuntimeError if name == "start_trace" else OSError)("no room\nfor it")

    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: None)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
    monkeypatch.setattr(jax.profiler, name, fail)
    walk(tmp_path, "0:1", start=0, end=2)
    assert told(capsys) == ["warning: no profile: no room; the run goes on"]


def test_process_0_alone_traces(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax.profiler, "start_trace", pytest.fail)
    walk(tmp_path, "1:2", start=0, end=3)
    walk(tmp_path, "0:2", start=1, end=3)
    assert not told(capsys)


def test_its_own_time_does_not_count(tmp_path, monkeypatch):
    now = [0.0]

    def slow(*args):
        now[0] += 10

    monkeypatch.setattr(jax.profiler, "start_trace", slow)
    monkeypatch.setattr(jax.profiler, "stop_trace", slow)
    pace = Pace(lambda: now[0])
    with profile.Profile(tmp_path, "0:1", start_step=0, pace=pace) as traced:
        traced.reached(0, ())
        with pace.waiting():
            now[0] += 1
        traced.reached(1, ())
        now[0] += 1
    assert pace.read() == {"data_wait": 0.5}
