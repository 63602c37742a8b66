"""Paths of files, on disk and in buckets."""

import errno
import os
import shutil
from unittest import mock

import pytest

from i2sb_jax import files
from tests import bucket_path, memory_path


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


@pytest.mark.parametrize("where", ["disk", "disk without links", "bucket"])
def test_a_new_file_is_of_the_first_that_writes_it(where, tmp_path, monkeypatch):
    monkeypatch.setenv("BUCKET_ROOT", str(tmp_path))
    if where == "disk without links":
        refuse = OSError(errno.ENOTSUP, "Operation not supported")
        monkeypatch.setattr(os, "link", mock.Mock(side_effect=refuse))
    path = "bucket://b/x/a" if where == "bucket" else tmp_path / "x" / "a"
    assert files.read_if_there(path) is None
    assert files.write_new(path, b"one") and not files.write_new(path, b"two")
    assert files.read_if_there(path) == b"one"
    assert where == "bucket" or list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_full_disk_leaves_nothing_where_a_new_file_was_to_be(has_links, tmp_path, monkeypatch):
    reason = errno.ENOSPC if has_links else errno.ENOTSUP
    monkeypatch.setattr(os, "link", mock.Mock(side_effect=OSError(reason, os.strerror(reason))))
    opened = mock.mock_open()

    def full(path, mode):
        open(path, mode).close()
        opened().write.side_effect = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened()

    monkeypatch.setattr(files, "open", full, raising=False)
    with pytest.raises(OSError, match="No space left"):
        files.write_new(tmp_path / "a", b"one")
    assert opened().write.called != has_links and not list(tmp_path.iterdir())


def test_a_folder_that_is_taken_away_meanwhile_is_made_again(tmp_path, monkeypatch):
    link = os.link

    def gone(source, target):
        monkeypatch.setattr(os, "link", link)
        shutil.rmtree(tmp_path / "x")
        link(source, target)

    monkeypatch.setattr(os, "link", gone)
    assert files.write_new(tmp_path / "x" / "a", b"one")
    assert (tmp_path / "x" / "a").read_bytes() == b"one"


def test_of_two_new_objects_at_once_the_first_hears_that_it_was_not(tmp_path, monkeypatch):
    monkeypatch.setenv("BUCKET_ROOT", str(tmp_path))
    write = bucket_path.BucketPath.write_bytes

    def overtaken(self, data):
        write(self, data)
        write(self, b"two")

    monkeypatch.setattr(bucket_path.BucketPath, "write_bytes", overtaken)
    assert not files.write_new("bucket://b/a", b"one")


def test_an_object_is_there_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    """A bucket knows no renaming, and its clients leave half of what an error has stopped."""
    monkeypatch.setenv("BUCKET_ROOT", str(tmp_path))
    files.write_atomically("bucket://b/a", b"whole")
    with pytest.raises(KeyError), files.open_atomically("bucket://b/a") as file:
        file.write(b"ha")
        raise KeyError
    assert bucket_path.contents("bucket://b") == {"a": b"whole"}
    with pytest.raises(NotImplementedError):
        bucket_path.BucketPath("bucket://b/a").replace("bucket://b/c")


def test_a_file_is_told_from_a_later_one_by_size_and_time(bucket, tmp_path):
    memory_path.FILES[f"{bucket}/a.png"] = b"12345"
    assert files.size_and_time(f"{bucket}/a.png") == (5, 1)
    (tmp_path / "a.png").write_bytes(b"12345")
    os.utime(tmp_path / "a.png", ns=(7, 7))
    assert files.size_and_time(tmp_path / "a.png") == (5, 7)
