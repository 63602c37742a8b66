"""Which pictures i2sb-evaluate measures, and what it says of flags that do not go together."""

import types

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from i2sb_jax import data
from i2sb_jax.cli.evaluation_data import open_data
from tests.data.paired import pairs_config, write_noise
from tests.data.pictures import write_pictures
from tests.training.tiny import make_config

NOTHING = {"data": None, "eval_data": None, "targets": None, "list": None, "limit": 0,
           "baseline": False, "seed": 0}  # fmt: skip


def opened(config, folder, **flags):
    """What is measured, and the warnings."""
    told = []
    given = types.SimpleNamespace(**NOTHING | flags)
    return open_data(config, folder, given, warn=told.append), told


def of_folder(path, **options):
    return make_config(data={"source": "folder", "path": str(path), "eval_fraction": 0.4} | options)


def test_a_run_is_measured_on_what_it_held_out(tmp_path):
    path = write_pictures(tmp_path / "data", 9)
    config = of_folder(path)
    _, held_out = data.make_sources(config.data, tmp_path / "run", report=print)
    found, told = opened(config, tmp_path / "run")
    assert (found.count, told) == (len(held_out), []) and found.name == f"folder {path}"
    batch = next(found.pictures(range(2), rows=2))
    assert [name.decode() for name in batch.name] == list(held_out.names)[:2]
    (tmp_path / "data").rename(tmp_path / "moved")
    moved, _ = opened(config, tmp_path / "run", eval_data=str(tmp_path / "moved"))
    assert moved.count == found.count and moved.name == f"folder {tmp_path / 'moved'}"
    again = next(moved.pictures(range(2), rows=2))
    np.testing.assert_array_equal(again.clean, batch.clean)
    assert moved.digest == found.digest


def test_a_folder_of_held_out_pictures_moves_alone(tmp_path):
    paths = [write_pictures(tmp_path / name, count) for name, count in (("a", 3), ("b", 4))]
    config = of_folder(paths[0], eval_path=str(tmp_path / "gone"))
    found, _ = opened(config, tmp_path / "run", eval_data=paths[1])
    assert found.count == 4


def test_names_of_a_list_are_measured_in_its_order(tmp_path):
    path = write_pictures(tmp_path / "data", 5)
    (tmp_path / "names.txt").write_text("003.png\n001.png\n")
    found, _ = opened(make_config(), tmp_path, data=path, list=str(tmp_path / "names.txt"))
    names = next(found.pictures(range(2), rows=2)).name
    assert [name.decode() for name in names] == ["003.png", "001.png"]
    assert found.count == 2 and found.name.endswith("names.txt")


def test_a_task_without_a_customary_repair_says_so(tmp_path):
    path = write_pictures(tmp_path / "data", 1)
    found, told = opened(make_config(), tmp_path, data=path, baseline=True)
    assert len(found.views) == 1 and not told
    config = make_config(corruption="colorize")
    found, told = opened(config, tmp_path, data=path, baseline=True)
    assert found.views == {} and told == ["--baseline: colorize has no customary repair"]


def test_flags_that_do_not_go_together(tmp_path):
    pairs = make_config(corruption="pairs", data={"source": "pairs", "path": "p",
                                                  "target_path": "q"})  # fmt: skip
    for config, flags, told in (
        (of_folder("x"), {"data": "a", "eval_data": "b"}, "give one of them"),
        (make_config(), {"eval_data": "b"}, "data.source='photos' brings its own pictures"),
        (make_config(), {"data": "a", "targets": "b"}, "--targets b: only of paired data"),
        (pairs, {"targets": "b"}, "--targets b: only of paired data"),
        (pairs, {"data": "a"}, "--targets is missing: the run has targets beside --data a"),
        (pairs, {"eval_data": "a"}, "--targets is missing: the run has targets beside --eval-data"),
    ):
        with pytest.raises(ValueError, match=told):
            opened(config, tmp_path, **flags)


def test_pairs_are_found_where_both_sides_lie_now(tmp_path):
    options = pairs_config(**write_noise(tmp_path, 9), eval_fraction=0.4)
    config = make_config(corruption="pairs", data=vars(options))
    _, held_out = data.make_sources(options, tmp_path / "run", report=print)
    for key in ("path", "target_path"):
        (tmp_path / key).rename(tmp_path / f"moved_{key}")
    moved = {"eval_data": str(tmp_path / "moved_path"),
             "targets": str(tmp_path / "moved_target_path")}  # fmt: skip
    found, _ = opened(config, tmp_path / "run", **moved)
    assert found.count == len(held_out) and found.values.dtype == "uint8"
