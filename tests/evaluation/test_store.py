"""An evaluation's folder: what is missing, damaged, or another's."""

import numpy as np
import pytest

from i2sb_jax.evaluation.store import ShardStore


@pytest.fixture
def store(tmp_path):
    """Two shards of three pictures, each with two arrays."""
    store = ShardStore(tmp_path / "e", count=3, size=2)
    for shard in range(2):
        store.write("scores/a", shard, {"x": np.arange(2), "y": np.ones(2)})
    return store


def test_a_shard_that_lacks_an_array_or_is_damaged_is_missing(store):
    assert store.missing("scores/a", arrays=("x", "y")) == []
    assert store.missing("scores/a", arrays=("z",)) == [0, 1]
    (path,) = (store.folder / "scores" / "a").glob("*1.npz")
    path.write_bytes(path.read_bytes()[:50])
    assert store.missing("scores/a", arrays=("x",)) == [1]
    with pytest.raises(ValueError, match=r"\(it is damaged\): remove it"):
        store.read("scores/a", 1)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_settings_that_are_broken(store, text):
    store.begin({"seed": 0})
    store.check_settings({"seed": 0})
    (store.folder / "settings.json").write_text(text)
    with pytest.raises(ValueError, match=r"settings\.json is broken: remove .*e, or choose"):
        store.check_settings({"seed": 0})


def test_a_folder_that_is_no_evaluation(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file: choose another --output"):
        ShardStore(tmp_path / "file", count=1, size=1).check_settings({})
    with pytest.raises(ValueError, match="holds no evaluation"):
        ShardStore(tmp_path, count=1, size=1).check_settings({})
