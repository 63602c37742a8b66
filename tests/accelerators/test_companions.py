"""Who ends where another process is silent; tests/cli/test_cut_link.py cuts real links."""

import queue
import threading
from unittest import mock

import jax
import pytest

from i2sb_jax.accelerators import companions

MISSED = """DEADLINE_EXCEEDED: Barrier timed out. Id: x::0. This usually happens because a task
# of tasks that reached the barrier: 2/4.
The first task at the barrier: 2. Some timed out task names:
{names}

RPC: /xla.coordination.CoordinationService/Barrier"""

HEARTBEAT = 1


@pytest.fixture
def watch_of(monkeypatch):
    """A watch whose meetings are this function's calls -> it, and the statuses it ends with."""
    statuses, released, watches = queue.Queue(), threading.Event(), []

    def end(status):  # as an exit, nothing comes after it
        statuses.put(status)
        released.wait()

    def make(meet):
        monkeypatch.setattr(companions.multihost, "get_barrier_sync_fn", lambda: meet)
        watches.append(companions.Watch(HEARTBEAT))
        return watches[-1], statuses

    monkeypatch.setattr(companions.os, "_exit", end)
    monkeypatch.setattr(companions, "_TOLD", 0)
    yield make
    for watch in watches:
        watch.stop()
        watch._left.set()
        companions.atexit.unregister(watch._leave)
    released.set()


@pytest.mark.parametrize(
    "names, told",
    [
        ("1", "process 1 did"),
        ("10\n3", "processes 3, 10 did"),
        ("/job:jax_worker/replica:0/task:7", "process 7 did"),
        ("", "another process did"),
    ],
)
def test_whoever_misses_a_meeting_is_named(watch_of, capsys, names, told):
    def meet(*, key, timeout_ms):
        assert timeout_ms == 750 * HEARTBEAT
        raise jax.errors.JaxRuntimeError(MISSED.format(names=names))

    _, statuses = watch_of(meet)
    assert statuses.get(timeout=60) == 75
    line, *_ = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and f"process 0: {told} not answer for 1 s" in line
    assert line.endswith("the same command goes on from the last checkpoint")


def test_a_log_that_takes_nothing_keeps_nobody(watch_of, monkeypatch):
    def meet(**_):
        raise jax.errors.JaxRuntimeError(MISSED.format(names="1"))

    full = mock.Mock(write=mock.Mock(side_effect=OSError("No space left on device")))
    monkeypatch.setattr(companions.sys, "stderr", full)
    _, statuses = watch_of(meet)
    assert statuses.get(timeout=60) == 75 and full.write.called


def test_who_hears_nothing_at_all_has_lost_the_first(watch_of, capsys):
    silence = threading.Event()
    _, statuses = watch_of(lambda **_: silence.wait())
    assert statuses.get(timeout=60) == 75
    assert "process 0 did not answer" in capsys.readouterr().err
    silence.set()


def test_who_meets_all_others_goes_on_also_when_it_asks(watch_of, capsys):
    met = queue.Queue()
    watch, statuses = watch_of(lambda **given: met.put(given["key"]))
    watch.wait()
    for _ in range(3):
        assert met.get(timeout=60)
    assert statuses.empty() and capsys.readouterr().err == ""


def test_who_leaves_ends_nothing(watch_of, capsys):
    called = threading.Event()

    def meet(**_):
        called.wait()
        raise jax.errors.JaxRuntimeError(MISSED.format(names="1"))

    watch, statuses = watch_of(meet)
    watch.stop()
    called.set()
    watch.wait()
    assert statuses.empty() and capsys.readouterr().err == ""
