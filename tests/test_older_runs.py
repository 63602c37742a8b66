"""A run and a model folder of an earlier version restore and go on; keys that they lack."""

import json
import pathlib
import sys
import tarfile

import numpy as np
import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.config import flatten, from_config_dict, to_dict
from i2sb_jax.config.added import ADDED_KEYS, with_added_keys
from i2sb_jax.restoration import Restorer
from tests.test_config import one_line, values

ASSETS = pathlib.Path(__file__).parent / "assets"


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """What 96e2f41 wrote."""
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(ASSETS / "96e2f41.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def losses(path):
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("place", ["run", "model"])
def test_they_restore_to_the_same_pixels(older, place):
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    restored = Restorer.from_workdir(older / place)(pictures, nfe=2, sampler="ddpm", seed=0)
    np.testing.assert_allclose(restored, np.load(older / "restored.npy"), atol=1e-3)


def test_the_run_goes_on_as_it_would_have(older, monkeypatch):
    """Last, for it changes the run."""
    pytest.importorskip("tensorflow")
    from i2sb_jax.cli import train

    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(
        sys,
        "argv",
        ["i2sb-train", f"--config={ASSETS}/older_run.py", f"--workdir={older}/run",
         "--config.training.num_steps=6", "--config.distributed=off"],
    )  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        train.main()
    assert stop.value.code == 0
    there = losses(older / "run" / "metrics.jsonl")
    assert len(there) == 6
    np.testing.assert_allclose(there, losses(older / "longer.jsonl"), rtol=1e-3)
    # from now on it has every key
    written = json.loads((older / "run" / "config.json").read_text())
    assert from_config_dict(written) == config_lib.load(older / "run")


def test_each_key_gets_what_it_meant(tmp_path):
    whole = to_dict(from_config_dict(values()))
    for key, meant in ADDED_KEYS.items():
        lacking = json.loads(json.dumps(whole))
        *sections, name = key.split(".")
        section = lacking
        for each in sections:
            section = section[each]
        del section[name]
        (tmp_path / "config.json").write_text(json.dumps(lacking))
        assert flatten(to_dict(config_lib.load(tmp_path)))[key] == meant, key
        with pytest.raises(ValueError, match="is missing"):  # nobody writes a configuration so
            from_config_dict(lacking)


def test_what_is_there_stays_and_what_is_none_is_left_to_be_refused():
    given = {"teacher": "run", "distill": {"method": "regression"}, "bridge": 3}
    filled = with_added_keys(given)
    assert filled["teacher"] == "run" and filled["distill"]["method"] == "regression"
    assert filled["distill"]["teacher_nfe"] == 10 and filled["bridge"] == 3
    assert given == {"teacher": "run", "distill": {"method": "regression"}, "bridge": 3}
    assert with_added_keys([1]) == [1]


def test_a_run_that_lacks_a_key_is_held_to_what_it_meant(tmp_path):
    config = from_config_dict(values())
    lacking = to_dict(config)
    del lacking["bridge"]["weighting"]
    (tmp_path / "config.json").write_text(json.dumps(lacking))
    config_lib.check_same_run(tmp_path, config)
    other = from_config_dict(values({"bridge.weighting": "snr"}))
    with pytest.raises(ValueError) as error:
        config_lib.check_same_run(tmp_path, other)
    assert "bridge.weighting is 'epsilon' there, 'snr' here" in one_line(error)


def test_a_key_twice_is_no_configuration(tmp_path):
    text = json.dumps(to_dict(from_config_dict(values())))
    (tmp_path / "config.json").write_text(text.replace('"seed": 0', '"seed": 1, "seed": 0'))
    with pytest.raises(ValueError) as error:
        config_lib.load(tmp_path)
    assert "'seed' twice" in one_line(error)
