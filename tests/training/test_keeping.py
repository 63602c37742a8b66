"""What the loop measures of the steps that it saves, and logs of those that it does not."""

import json

import numpy as np
import pytest

from i2sb_jax import metrics
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.interop import load_model_folder
from i2sb_jax.training import loop, report
from tests.training.tiny import (
    Recorder,
    endless,
    make_batch,
    make_config,
    run_of,
    train,
)

RHYTHM = {"num_steps": 6, "checkpoint_every": 2, "image_every": 1, "keep_checkpoints": 1}


def scored(monkeypatch, scores):
    """Restored pictures are as good as `scores` says, step by step -> the steps asked for."""
    asked = []

    def pictures(self, step, ema_params):
        asked.append(step)
        return {"psnr": scores[step]}

    monkeypatch.setattr(report.Report, "pictures", pictures)
    return asked


def kept(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_the_best_outlives_a_stop_and_the_end(tmp_path, monkeypatch):
    asked = scored(monkeypatch, {1: 20.0, 2: 30.0, 3: 99.0, 4: 25.0, 6: 26.0})
    config = make_config(training=RHYTHM | {"best_metric": "psnr"})
    with pytest.raises(loop.Preempted):
        loop.train(
            loop.check_start(run_of(config), tmp_path), batches=endless, eval_batch=make_batch(2),
            writer=Recorder(), must_stop=lambda step: step == 5,
        )  # fmt: skip
    # a stop waits for no measuring; that a step was better which was never saved counts nothing
    assert asked == [1, 2, 3, 4] and kept(tmp_path) == [2, 5]
    train(tmp_path, config)
    assert asked[4:] == [6] and kept(tmp_path) == [2, 6]
    _, best = load_model_folder(tmp_path, checkpoint="best")
    _, latest = load_model_folder(tmp_path)
    assert np.any(np.asarray(best["conv_in"]["bias"]) != np.asarray(latest["conv_in"]["bias"]))


def test_what_is_measured_is_what_is_told(tmp_path):
    writer, eval_batch = Recorder(), make_batch(2, seed=5)
    config = make_config(training=RHYTHM | {"num_steps": 2, "best_metric": "ssim"})
    train(tmp_path, config, writer=writer)
    told = {step: scalars for step, scalars in writer.scalars if "eval/psnr_restored" in scalars}
    assert set(told) == {1, 2}
    for name, measure in (("psnr", metrics.psnr), ("ssim", metrics.ssim)):
        expected = float(np.mean(measure(eval_batch.clean, eval_batch.degraded)))
        assert told[1][f"eval/{name}_degraded"] == pytest.approx(expected, rel=1e-5)
    saved = json.loads((tmp_path / "checkpoints" / "2" / "metrics" / "metrics").read_text())
    assert saved == {name: told[2][f"eval/{name}_restored"] for name in ("psnr", "ssim")}
    with Checkpoints(tmp_path, best_metric="ssim", read_only=True) as checkpoints:
        assert checkpoints.best_step() == 2
    # one line a logged step, and no more
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2] and "eval/psnr_restored" not in lines[0]


@pytest.mark.parametrize("side, names", [(10, {"psnr"}), (11, {"psnr", "ssim"})])
def test_small_pictures_have_no_ssim(side, names):
    clean = make_batch(2, size=side).clean
    assert set(report._quality(clean, -clean, None)) == names


def test_steps_that_were_looked_at_for_a_save_are_logged_too(tmp_path, monkeypatch):
    logged = {}

    def scalars(self, step, values):
        logged[step] = [metrics["loss"] for metrics in values]

    scored(monkeypatch, dict.fromkeys(range(1, 8), 20.0))
    monkeypatch.setattr(report.Report, "scalars", scalars)
    rhythm = {"num_steps": 7, "log_every": 6, "checkpoint_every": 4, "image_every": 5}
    train(tmp_path, make_config(training=rhythm))
    assert [(step, len(set(losses))) for step, losses in logged.items()] == [(6, 6), (7, 1)]
