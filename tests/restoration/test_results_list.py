"""The list of a folder's results, on disk and in a bucket, which knows no adding to a file."""

import pytest

from i2sb_jax.restoration.results_list import RESULTS, ResultsList, is_same
from tests import memory_path

STAMP = {"/in/a.png": (5, 7)}


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path):
    memory_path.clear()
    yield memory_path.MemoryPath("memory://bucket/out") if request.param == "bucket" else tmp_path
    memory_path.clear()


def test_what_is_noted_is_there_when_it_is_read_again(folder):
    listed = ResultsList(folder)
    assert not listed.exists
    listed.add(["a.png", "a_std.npy"], None)
    listed.add(["b.png"], None)
    listed.add(["a.png", "a_std.npy"], STAMP)
    again = ResultsList(folder)
    assert again.exists and "a_std.npy" in again and "c.png" not in again
    assert is_same(again.made_of("a.png"), STAMP) and again.made_of("b.png") is None
    assert not is_same(again.made_of("a.png"), {"/in/a.png": (5, 8)})


def test_a_line_that_a_stopped_job_left_is_none(folder):
    ResultsList(folder).add(["a.png"], STAMP)
    with (folder / RESULTS).open("a") as file:
        file.write('{"files": ["b.png"], "ma')
    assert "a.png" in ResultsList(folder) and "b.png" not in ResultsList(folder)


def test_it_begins_anew_and_goes(folder):
    listed = ResultsList(folder)
    listed.add(["a.png"], STAMP)
    listed.clear()
    assert listed.exists and "a.png" not in listed and "a.png" not in ResultsList(folder)
    listed.remove()
    assert not ResultsList(folder).exists
