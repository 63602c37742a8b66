"""Paths of files, on disk and in buckets."""

import os

import pytest

from i2sb_jax import files
from tests import memory_path


@pytest.fixture
def bucket():
    memory_path.clear()
    yield "memory://bucket"
    memory_path.clear()


def test_a_name_that_is_too_long_is_not_there(tmp_path):
    assert not files.is_there(tmp_path / ("a" * 300))
    (tmp_path / "a").write_text("")
    assert files.is_there(tmp_path / "a")


def test_other_errors_are_not_taken_for_absence(tmp_path, monkeypatch):
    def exists(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(type(files.epath.Path(tmp_path)), "exists", exists)
    with pytest.raises(OSError, match="Input/output"):
        files.is_there(tmp_path)


def test_pictures_of_a_bucket_are_those_that_a_folder_would_have(bucket, tmp_path):
    for name in ("b.png", "a/c.jpg", ".hidden/d.png", "a/.e.png", "notes.txt"):
        memory_path.FILES[f"{bucket}/in/{name}"] = b"12345"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    assert files.list_images(f"{bucket}/in") == files.list_images(tmp_path) == ["a/c.jpg", "b.png"]


def test_a_file_is_told_from_a_later_one_by_size_and_time(bucket, tmp_path):
    memory_path.FILES[f"{bucket}/a.png"] = b"12345"
    assert files.size_and_time(f"{bucket}/a.png") == (5, 1)
    (tmp_path / "a.png").write_bytes(b"12345")
    os.utime(tmp_path / "a.png", ns=(7, 7))
    assert files.size_and_time(tmp_path / "a.png") == (5, 7)
