"""Sources that need no TensorFlow: photographs, folders, the split, the index."""

import glob
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from i2sb_jax.data import MissingPicture, folder, make_source, open_source, photos
from i2sb_jax.data.record import hold_out
from i2sb_jax.pictures import decode_rgb
from tests.data.pictures import data_config, png, write_pictures


def test_photos_are_there_and_split():
    pytest.importorskip("skimage")
    train = make_source(data_config(), split="train")
    held_out = make_source(data_config(), split="eval")
    names = [[s.read(i).name for i in range(len(s))] for s in (train, held_out)]
    assert set(names[0]).isdisjoint(names[1])
    assert {"motorcycle_left.png", "motorcycle_right.png"} <= set(names[0])
    for source in (train, held_out):
        for i in range(len(source)):
            assert min(decode_rgb(source.read(i).image).shape[:2]) >= 256
    assert "astronaut.png" in names[1]


def test_what_is_chosen_is_chosen_on_training_pictures():
    pytest.importorskip("skimage")
    validation, tuning = (photos.named_photos(n) for n in (photos.VALIDATION, photos.TUNING))
    assert {*validation.names, *tuning.names} == set(photos.TRAIN)
    assert set(validation.names).isdisjoint(tuning.names) and len(validation) < len(tuning)
    pair = {"motorcycle_left.png", "motorcycle_right.png"}
    assert len(pair & set(validation.names)) in (0, 2)
    assert validation.read(0).name == validation.names[0]


def test_photos_without_scikit_image(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install 'scikit-image"):
        make_source(data_config(), split="train")


def test_photos_missing_from_the_wheel(monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(photos, "EVAL", ("unheard_of.png",))
    with pytest.raises(ValueError, match="does not bring unheard_of"):
        make_source(data_config(), split="eval")


def test_photos_and_folders_need_no_tensorflow():
    code = (
        "import sys, i2sb_jax.data.sources, i2sb_jax.pictures, i2sb_jax.cli.prepare\n"
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'array_record', 'clu', 'skimage')"
        " if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_unknown_split():
    with pytest.raises(ValueError, match="'test' must be 'train' or 'eval'"):
        make_source(data_config(), split="test")


def test_folder_is_sorted_and_split_by_name(tmp_path):
    path = write_pictures(tmp_path / "b", 20)
    (tmp_path / "b" / "sub").mkdir()
    (tmp_path / "b" / "sub" / "x.png").write_bytes(png(99))
    config = data_config(source="folder", path=path)
    train, held_out = (make_source(config, split=split) for split in ("train", "eval"))
    names = [[s.read(i).name for i in range(len(s))] for s in (train, held_out)]
    assert names[0] == sorted(names[0]) and names[1] == sorted(names[1])
    assert tuple(sorted(names[0] + names[1])) == open_source("folder", path=path).names
    assert all(names)
    assert held_out.read(0).label == -1

    # Pictures stay on their side when others come.
    for number in range(50, 60):
        (tmp_path / "b" / f"{number}.png").write_bytes(png(number))
    later = make_source(config, split="eval")
    assert set(names[1]) <= {later.read(i).name for i in range(len(later))}


def test_eval_path_is_another_folder(tmp_path):
    config = data_config(
        source="folder",
        path=write_pictures(tmp_path / "train", 5),
        eval_path=write_pictures(tmp_path / "eval", 3),
        eval_fraction=0.0,
    )
    assert len(make_source(config, split="train")) == 5
    assert len(make_source(config, split="eval")) == 3


def test_hold_out_never_leaves_a_side_empty_silently():
    assert len(hold_out(["a", "b", "c"], 1e-9, split="eval", origin="x")) == 1
    assert len(hold_out(["a", "b", "c"], 1e-9, split="train", origin="x")) == 2
    with pytest.raises(ValueError, match=r"eval would have none of the 3 pictures of here"):
        hold_out(["a", "b", "c"], 0.0, split="eval", origin="here")
    with pytest.raises(ValueError, match="eval_fraction"):
        hold_out(["a"], 0.5, split="eval", origin="x")
    share = len(hold_out([str(i) for i in range(4000)], 0.25, split="eval", origin="x")) / 4000
    assert abs(share - 0.25) < 0.03


@pytest.mark.parametrize("made", [False, True])
def test_missing_and_empty_folder(tmp_path, made):
    path = tmp_path / "pictures"
    if made:
        path.mkdir()
    with pytest.raises(ValueError, match=str(path)) as error:
        make_source(data_config(source="folder", path=str(path)), split="train", index_dir=tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*.json"))


def test_a_file_that_is_gone(tmp_path):
    source = open_source("folder", path=write_pictures(tmp_path / "p", 3), index_dir=tmp_path)
    (tmp_path / "p" / "001.png").unlink()
    with pytest.raises(MissingPicture, match="No such file") as error:
        source.read(1)
    assert error.value.name == "001.png"


def test_a_second_start_makes_no_walk_over_100_000_files(tmp_path, monkeypatch):
    tree, index_dir = tmp_path / "tree", tmp_path / "run"
    for directory in range(100):
        (tree / f"{directory:02d}").mkdir(parents=True)
        for file in range(1000):
            os.close(os.open(tree / f"{directory:02d}" / f"{file:03d}.jpg", os.O_CREAT))
    config = data_config(source="folder", path=str(tree))
    first = make_source(config, split="train", index_dir=index_dir)
    assert os.listdir(index_dir) == [folder.index_name(tree)]

    def forbidden(*args, **kwargs):
        raise AssertionError("a directory walk")

    for module, names in (
        (os, ("walk", "scandir", "listdir", "fwalk")),
        (glob, ("glob", "iglob")),
        (pathlib.Path, ("iterdir", "glob", "rglob")),
    ):
        for name in names:
            monkeypatch.setattr(module, name, forbidden)
    start = time.perf_counter()
    for process_index in (0, 1):
        again = make_source(config, split="train", index_dir=index_dir, process_index=process_index)
        assert again == first and 60_000 < len(again) < 100_000
    assert time.perf_counter() - start < 5


def test_folders_do_not_share_an_index(tmp_path):
    paths = [write_pictures(tmp_path / name, count) for name, count in (("a", 2), ("b", 3))]
    sizes = [len(open_source("folder", path=p, index_dir=tmp_path / "run")) for p in paths]
    assert sizes == [2, 3] and len(os.listdir(tmp_path / "run")) == 2


def test_other_processes_wait_for_the_index(tmp_path, monkeypatch):
    path = write_pictures(tmp_path / "p", 3)
    sources = []

    def wait():
        sources.append(open_source("folder", path=path, index_dir=tmp_path / "r", process_index=1))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    assert not sources and not (tmp_path / "r").exists()
    sources.append(open_source("folder", path=path, index_dir=tmp_path / "r"))
    waiting.join(timeout=20)
    assert len(sources) == 2 and sources[0] == sources[1]

    monkeypatch.setattr(folder, "INDEX_WAIT_SECONDS", 0.1)
    with pytest.raises(ValueError, match="process 0 wrote no"):
        open_source("folder", path=path, index_dir=tmp_path / "other", process_index=1)


@pytest.mark.parametrize("text", ["", "[1]", json.dumps({"folder": "x"})])
def test_a_broken_index_is_named(tmp_path, text):
    path = write_pictures(tmp_path / "p", 1)
    index = tmp_path / folder.index_name(path)
    index.write_text(text)
    with pytest.raises(ValueError, match="delete it to list again"):
        open_source("folder", path=path, index_dir=tmp_path)
