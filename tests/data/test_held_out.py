"""Held-out data for evaluation: the run's own side of the split, wherever it lies, read-only."""

import dataclasses
import shutil

import numpy as np
import pytest

from i2sb_jax.data import held_out_source, make_sources
from tests.data.paired import pairs_config, write_noise
from tests.data.pictures import data_config, write_pictures


def run_of(tmp_path, config):
    """Names that a run held out; its folder is then read alone."""
    _, held_out = make_sources(config, tmp_path / "run", report=print)
    return list(held_out.names)


def files_below(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*")}


def few(folder, names, into):
    for name in names:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, into / name)
    return str(into)


@pytest.mark.parametrize(
    "fraction", [0.4, 1e-9]
)  # at the least one is held out, for no hash of its own
def test_folders_keep_their_split_where_they_go(tmp_path, fraction):
    path = write_pictures(tmp_path / "data", 9)
    config = data_config(source="folder", path=path, eval_fraction=fraction)
    names = run_of(tmp_path, config)
    before = files_below(tmp_path / "run")
    assert list(held_out_source(config, tmp_path / "run", report=print).names) == names
    shutil.move(path, tmp_path / "moved")
    alone = few(tmp_path / "moved", names, tmp_path / "alone")
    for place in (str(tmp_path / "moved"), alone):
        moved = dataclasses.replace(config, path=place)
        found = held_out_source(config, tmp_path / "run", moved=moved, report=print)
        assert list(found.names) == names and found.read(0).name == names[0]
    # without the run's listing the names' hashes alone tell, and those suffice here
    if fraction > 0.1:
        found = held_out_source(config, tmp_path / "no", moved=moved, report=print)
        assert list(found.names) == names
    assert files_below(tmp_path / "run") == before and not (tmp_path / "no").exists()
    others = sorted({f.name for f in (tmp_path / "moved").iterdir()} - set(names))
    moved = dataclasses.replace(config, path=few(tmp_path / "moved", others, tmp_path / "rest"))
    with pytest.raises(ValueError, match=f"none of the {len(names)} pictures that the run held"):
        held_out_source(config, tmp_path / "run", moved=moved, report=print)


def test_a_folder_of_its_own_is_another_one_now(tmp_path):
    paths = [write_pictures(tmp_path / name, count) for name, count in (("a", 3), ("b", 4))]
    config = data_config(source="folder", path=paths[0], eval_path=paths[1])
    names = run_of(tmp_path, config)
    shutil.move(paths[1], tmp_path / "moved")
    shutil.rmtree(paths[0])  # nobody needs it for that
    moved = dataclasses.replace(config, eval_path=str(tmp_path / "moved"))
    found = held_out_source(config, tmp_path / "run", moved=moved, report=print)
    assert list(found.names) == names and len(names) == 4


def test_pairs_keep_their_split_where_they_go(tmp_path):
    config = pairs_config(**write_noise(tmp_path, 9), eval_fraction=0.4)
    names = run_of(tmp_path, config)
    before = files_below(tmp_path / "run")
    expected = held_out_source(config, tmp_path / "run", report=print)
    assert list(expected.names) == names
    image = expected.read(0).image
    places = {}
    for key in ("path", "target_path"):
        places[key] = few(tmp_path / key, names, tmp_path / "alone" / key)
        shutil.rmtree(tmp_path / key)
    moved = dataclasses.replace(config, **places)
    found = held_out_source(config, tmp_path / "run", moved=moved, report=print)
    assert list(found.names) == names
    np.testing.assert_array_equal(found.read(0).image, image)
    assert files_below(tmp_path / "run") == before
    with pytest.raises(ValueError, match="has no value_ranges"):
        held_out_source(config, tmp_path / "other", moved=moved, report=print)
    assert not (tmp_path / "other").exists()
