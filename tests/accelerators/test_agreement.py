"""What several processes agree on: threads stand in for them, and a stand-in joins their answers.

`training/test_two_processes.py` and `cli/test_preemption.py` start real ones.
"""

import threading

import numpy as np
import pytest

from i2sb_jax.accelerators import agreement, processes


class Group:
    """As much of jax and of its multihost_utils as is asked for; each thread is a process."""

    def __init__(self, count):
        self.count, self.me = count, threading.local()
        self.given, self.together = [None] * count, threading.Barrier(count, timeout=30)
        self.met = []

    def process_index(self):
        return self.me.number

    def process_count(self):
        return self.count

    def sync_global_devices(self, name):
        self.met.append(name)
        self.together.wait()

    def process_allgather(self, x):
        self.given[self.me.number] = np.asarray(x)
        self.together.wait()
        every = np.stack(self.given)
        self.together.wait()
        return every

    def broadcast_one_to_all(self, x):
        return self.process_allgather(x if self.me.number == 0 else np.zeros_like(x))[0]


@pytest.fixture
def on_each(monkeypatch):
    """Calls a function of the process's number on every process -> results, or errors."""

    def run(function, count=3):
        group, found = Group(count), [None] * count
        for module in (agreement, processes):
            for name in ("process_count", "process_index"):
                monkeypatch.setattr(module.jax, name, getattr(group, name))
            monkeypatch.setattr(module, "multihost_utils", group)

        def process(number):
            group.me.number = number
            try:
                found[number] = function(number)
            except ValueError as error:
                found[number] = error

        threads = [threading.Thread(target=process, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found, group.met

    return run


def test_process_0_decides(on_each):
    assert on_each(lambda number: agreement.agreed(number == 0))[0] == [True] * 3
    assert on_each(lambda number: agreement.agreed(number > 0))[0] == [False] * 3
    assert on_each(lambda number: agreement.agreed(0.5 + number))[0] == [0.5] * 3


@pytest.mark.parametrize("listings", [([3, 1, 2], [9], [7, 7, 7, 7]), ([], [1], [])])
def test_numbers_of_any_count_are_those_of_process_0(on_each, listings):
    found, _ = on_each(lambda number: agreement.of_first_process(listings[number]))
    assert found == [listings[0]] * 3


def test_a_process_alone_asks_nobody():
    assert agreement.of_first_process((4, 2)) == [4, 2]
    agreement.check_same("the files", "whatever")
    agreement.barrier("alone")


def test_texts_that_differ_are_told_everywhere(on_each):
    found, _ = on_each(lambda number: agreement.check_same("the files", "a" if number < 2 else "b"))
    told = "processes 2 do not have the files that process 0 has: all must see the same files"
    assert [str(error) for error in found] == [told] * 3
    assert on_each(lambda number: agreement.check_same("the files", "a"))[0] == [None] * 3


def test_all_meet_at_a_barrier(on_each):
    _, met = on_each(lambda number: agreement.barrier("the pictures are there"))
    assert met == ["i2sb_jax: the pictures are there"] * 3


def test_a_folder_is_shared_where_all_see_it(on_each, tmp_path):
    found, _ = on_each(lambda number: processes.check_shared(tmp_path / "run"))
    assert found == [None] * 3 and not list((tmp_path / "run").iterdir())
    found, _ = on_each(lambda number: processes.check_shared(tmp_path / str(number // 2)))
    for error in found:
        assert "is not the same folder for all: process 0 writes there" in str(error)
        assert "processes 2 do not see it" in str(error)
    assert not list((tmp_path / "0").iterdir()) and not (tmp_path / "1").exists()


def test_where_process_0_cannot_write_all_hear_of_it(on_each, tmp_path):
    (tmp_path / "file").write_text("")
    found, _ = on_each(
        lambda number: processes.check_shared(tmp_path / "file" / "run", option="--output")
    )
    assert len(found) == 3
    assert all("run cannot be written by process 0" in str(error) for error in found)
    assert str(found[0]).startswith("--output ") and "Not a directory" in str(found[0])
