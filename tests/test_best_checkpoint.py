"""The newest checkpoints, every k-th and the best one stay, whatever happens in between."""

import math
import os
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.checkpoint import Checkpoints, check_name
from i2sb_jax.config import from_config_dict
from i2sb_jax.training import TrainState
from tests.test_checkpoint import abstract
from tests.test_config import one_line, values


def make_state(step):
    """As small as it gets: saving is what takes time."""
    ema_params = {"w": jnp.full(2, step, jnp.float32)}
    return TrainState(jnp.int32(step), ema_params, ema_params, {"count": jnp.int32(step)})


def save(workdir, scores, *, metric="psnr", **keep):
    """Saves a step for each score, None for a step that was not measured -> the best step."""
    with Checkpoints(workdir, best_metric=metric, **{"keep": 2, **keep}) as checkpoints:
        for step, score in scores.items():
            metrics = {"psnr": score} if isinstance(score, float) else score
            checkpoints.save(step, make_state(step), metrics=metrics)
        return checkpoints.best_step()


def kept(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def best(workdir, metric="psnr"):
    """What somebody finds who only reads."""
    with Checkpoints(workdir, best_metric=metric, read_only=True) as checkpoints:
        return checkpoints.best_step()


@pytest.mark.parametrize(
    "scores, stay, expected",
    [
        ({1: 20.0, 2: 25.0, 3: 21.0, 4: 22.0, 5: 23.0}, [2, 4, 5], 2),
        ({1: 20.0, 2: 21.0, 3: 22.0, 4: 23.0}, [3, 4], 4),
        ({1: 20.0, 2: None, 3: None, 4: None}, [1, 3, 4], 1),  # stopped again and again
        ({1: None, 2: None, 3: None}, [2, 3], None),
        ({1: 20.0, 2: math.inf, 3: math.nan, 4: -math.inf, 5: 10.0}, [1, 4, 5], 1),
        ({1: math.nan, 2: math.inf, 3: math.nan}, [2, 3], None),
        ({1: 20.0, 2: 20.0, 3: 19.0, 4: 19.0}, [1, 3, 4], 1),  # only what is better takes its place
        ({1: -20.0, 2: -25.0, 3: -21.0, 4: -22.0}, [1, 3, 4], 1),
    ],
    ids=str,
)
def test_the_newest_and_the_best_stay(tmp_path, scores, stay, expected):
    assert save(tmp_path, scores) == expected
    assert kept(tmp_path) == stay and best(tmp_path) == expected


def test_every_kth_stays_too_and_nothing_is_the_best_where_nobody_asked(tmp_path):
    scores = {1: 9.0, 2: 5.0, 3: 8.0, 4: 7.0, 5: 6.0, 6: 5.0, 7: 4.0}
    assert save(tmp_path / "asked", scores, keep=1, keep_every=3) == 1
    assert kept(tmp_path / "asked") == [1, 3, 6, 7]
    assert save(tmp_path / "not", scores, keep=1, keep_every=3, metric="") is None
    assert kept(tmp_path / "not") == [3, 6, 7] and best(tmp_path / "not") is None


def test_it_stays_and_is_known_when_a_run_goes_on(tmp_path):
    save(tmp_path, {1: 20.0, 2: 25.0, 3: 21.0})
    assert save(tmp_path, {4: 22.0, 5: None}) == 2
    assert kept(tmp_path) == [2, 4, 5]
    assert save(tmp_path, {6: 26.0, 7: 24.0, 8: 24.0}) == 6
    assert kept(tmp_path) == [6, 7, 8] and best(tmp_path) == 6


def test_a_run_that_had_no_metric_before(tmp_path):
    save(tmp_path, {1: 99.0, 2: 99.0}, metric="")
    assert best(tmp_path) is None
    assert save(tmp_path, {3: 20.0, 4: 19.0, 5: 18.0}) == 3
    assert kept(tmp_path) == [3, 4, 5]
    # and one that asks for it no more
    save(tmp_path, {6: None}, metric="")
    assert kept(tmp_path) == [5, 6]


def test_another_metric_later(tmp_path):
    """Decibels are not compared with a similarity."""
    both = {1: {"psnr": 30.0, "ssim": 0.5}, 2: {"psnr": 20.0, "ssim": 0.9}}
    assert save(tmp_path, both) == 1
    assert best(tmp_path, "ssim") == 2
    assert save(tmp_path, {3: {"psnr": 99.0, "ssim": 0.7}, 4: {"psnr": 99.0}}, metric="ssim") == 2
    assert kept(tmp_path) == [2, 3, 4]


def test_broken_metrics_bar_no_other_checkpoint(tmp_path):
    save(tmp_path, {1: 20.0, 2: 25.0})
    file = tmp_path / "checkpoints" / "2" / "metrics" / "metrics"
    os.truncate(file, file.stat().st_size // 2)
    assert best(tmp_path) == 1
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        restored = checkpoints.restore(abstract(make_state(1)), step=1)
        with pytest.raises(ValueError, match=rf"remove {tmp_path}/checkpoints/2 to go on from"):
            checkpoints.restore(abstract(make_state(2)))
    np.testing.assert_array_equal(restored.ema_params["w"], 1)
    shutil.rmtree(file.parent)
    assert best(tmp_path) == 1
    assert save(tmp_path, {3: 19.0, 4: 18.0}) == 1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    save(workdir, {2: 20.0, 4: 25.0, 6: 21.0, 8: 22.0})
    return workdir


@pytest.mark.parametrize(
    "which, step", [("latest", 8), ("best", 4), ("6", 6), (6, 6), (np.int64(4), 4), ("004", 4)]
)
def test_checkpoints_by_name(run, which, step):
    with Checkpoints(run, best_metric="psnr", read_only=True) as checkpoints:
        assert checkpoints.find(which) == step


@pytest.mark.parametrize(
    "which, metric, line",
    [
        (2, "psnr", "no checkpoint of step 2 in {}: there are those of steps 4, 6, 8"),
        ("7", "", "no checkpoint of step 7 in {}: there are those of steps 4, 6, 8"),
        (
            "best",
            "ssim",
            "no checkpoint that is best by training.best_metric='ssim' in {}: there are those of "
            "steps 4, 6, 8",
        ),
        (
            "best",
            "",
            "no checkpoint that is best by training.best_metric='' in {}: there are those of "
            "steps 4, 6, 8",
        ),
        (
            "bset",
            "psnr",
            "checkpoint='bset' is not known: use latest, best or the number of a step",
        ),
    ],
)
def test_checkpoints_that_are_not_there(run, which, metric, line):
    checkpoints = Checkpoints(run, best_metric=metric, read_only=True)
    with checkpoints, pytest.raises(ValueError) as error:
        checkpoints.find(which)
    assert str(error.value) == line.format(f"{run}/checkpoints")


def test_one_by_its_step_or_one_line(run):
    with Checkpoints(run, read_only=True) as checkpoints:
        state = abstract(make_state(6))
        weights = checkpoints.restore_field("ema_params", state.ema_params, step=6)
        np.testing.assert_array_equal(weights["w"], 6)
        with pytest.raises(ValueError, match="no checkpoint of step 5 in"):
            checkpoints.restore(state, step=5)
    assert [check_name(name) for name in ("latest", "best", "12", 12)] == ["latest", "best", 12, 12]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"training.best_metric": "lpips"}, ("training.best_metric='lpips'", "psnr, ssim")),
        (
            {"training.best_metric": "psnr", "training.image_every": 3000},
            ("training.checkpoint_every=5000", "training.image_every=3000", "e.g. 6000"),
        ),
        (
            {"training.best_metric": "psnr", "training.image_every": 20_000},
            ("training.checkpoint_every=5000", "training.image_every=20000", "e.g. 20000"),
        ),
        (
            {"training.best_metric": "ssim", "image_size": 8, "model.channel_mult": [1.0],
             "model.attention_downsamples": []},
            ("training.best_metric='ssim'", "11 pixels", "image_size=8"),
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(change, words):
    with pytest.raises(ValueError) as error:
        from_config_dict(values(change))
    assert all(word in one_line(error) for word in words), error.value


def test_every_saved_step_is_measured_or_nobody_asks():
    from_config_dict(values({"training.best_metric": "ssim", "training.image_every": 2500}))
    from_config_dict(values({"training.best_metric": "", "training.image_every": 3000}))
