"""Where runs and evaluations write, where their data lie now, and what a run's log says."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest
import tifffile

pytest.importorskip("tensorflow")

from i2sb_jax.cli import evaluate, restore, train
from tests.data.pictures import write_pictures

CONFIG = pathlib.Path(__file__).parent.parent / "assets" / "older_run.py"  # a tiny network


def training(*more):
    return "--config", CONFIG, "--workdir", "run", "--config.distributed=off", *more


def of_folder(path, *more):
    return training(
        "--config.data.source=folder",
        f"--config.data.path={path}",
        "--config.data.eval_fraction=0.3",
        "--config.training.num_steps=2",
        *more,
    )


def files_below(folder):
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def logged():
    return [json.loads(line) for line in pathlib.Path("run/metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_held_out_pictures_are_found_where_they_lie_now(complaints, tmp_path):
    write_pictures(tmp_path / "data", 12)
    assert complaints(train, *of_folder("data")) == (0, [])
    common = ("--nfe", "1", "--batch", "2")
    assert complaints(evaluate, "--model", "run", "--output", "before", *common)[0] == 0
    names = rows("before")
    assert 0 < len(names) < 12
    before = files_below(tmp_path / "run")

    shutil.move(tmp_path / "data", tmp_path / "moved")
    place = ("--eval-data", "moved", "--output", "in-moved")
    assert complaints(evaluate, "--model", "run", *place, *common)[0] == 0
    assert rows("in-moved") == names
    assert figure("in-moved") == figure("before")
    assert files_below(tmp_path / "run") == before  # nothing is written into the run

    status, (line,) = complaints(evaluate, "--model", "run", "--output", "c", *common)
    assert status == 2 and "data does not exist" in line
    both = ("--eval-data", "moved", "--data", "moved")
    status, (line,) = complaints(evaluate, "--model", "run", *both, "--output", "d")
    assert status == 2 and "give one of them" in line
    assert not (tmp_path / "d").exists() and not (tmp_path / "c").exists()


def rows(folder):
    lines = pathlib.Path(folder, "pictures.csv").read_text().splitlines()
    return [line.split(",")[0] for line in lines[1:]]


def figure(folder):
    results = json.loads(pathlib.Path(folder, "results.json").read_text())
    return results["figures"]["nfe 1"]["psnr"]["value"]


def test_a_model_folder_gets_no_results_unasked(complaints, tmp_path):
    from tests.cli import evaluations

    evaluations.make_model(tmp_path / "model")
    evaluations.write_pictures(tmp_path / "clean", 3)
    before = files_below(tmp_path / "model")
    common = ("--model", "model", "--data", "clean", "--nfe", "1")
    status, (line,) = complaints(evaluate, *common)
    assert status == 2 and line.startswith("error: --output is missing: model is no run")
    assert complaints(evaluate, *common, "--output", "e")[0] == 0
    assert files_below(tmp_path / "model") == before and (tmp_path / "e/results.json").exists()


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="a folder that nobody may write into")
@pytest.mark.parametrize("folder", ["checkpoints", "images", "index"])
def test_a_folder_that_cannot_be_written_into_is_told_before_training(complaints, tmp_path, folder):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / folder).symlink_to("/sys/kernel")
    status, (line,) = complaints(train, *training())
    assert status == 2 and f"run/{folder} cannot be written into: " in line
    assert os.listdir(tmp_path / "run") == [folder]  # no config, no claim


def test_a_file_in_the_place_of_the_checkpoints_is_told_before_training(complaints, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("")
    status, (line,) = complaints(train, *training())
    assert status == 2 and line.endswith("run/checkpoints is a file, and no folder")
    assert os.listdir(tmp_path / "run") == ["checkpoints"]


@pytest.mark.slow
def test_the_log_has_means_since_the_line_before_and_the_last_steps_bits(complaints):
    every = ("--config.training.num_steps=7", "--config.training.checkpoint_every=2")
    assert complaints(train, *training(*every))[0] == 0
    single = logged()
    assert all(line["loss_steps"] == 1 and line["loss_last"] == line["loss"] for line in single)
    shutil.rmtree("run")
    assert complaints(train, *training(*every, "--config.training.log_every=3"))[0] == 0
    losses = [line["loss"] for line in single]
    for line, steps in zip(logged(), ([0, 1, 2], [3, 4, 5], [6]), strict=True):
        assert line["step"] == steps[-1] + 1 and line["loss_steps"] == len(steps)
        assert line["loss"] == sum(losses[step] for step in steps) / len(steps)
        assert line["loss_last"] == losses[steps[-1]]
        assert float.fromhex(line["loss_hex"]) == line["loss_last"]

    # a run that goes on from step 4 knows nothing of what came before
    shutil.rmtree("run")
    assert complaints(train, *training("--config.training.num_steps=4"))[0] == 0
    assert complaints(train, *training(*every, "--config.training.log_every=3"))[0] == 0
    (six,) = (line for line in logged() if line["step"] == 6)
    assert six["loss_steps"] == 2 and six["loss"] == (losses[4] + losses[5]) / 2
    assert six["loss_hex"] == single[5]["loss_hex"]


def write_tiffs(folder, *, tag, first):
    folder.mkdir()
    for number in range(8):
        array = np.random.default_rng(first + number).random((20, 24, 3)).astype(np.float32)
        array[number, 3:9] = -9999  # of all channels
        tifffile.imwrite(folder / f"p{number}.tif", array, photometric="rgb", metadata=None,
                         extratags=[(42113, "s", 0, tag, True)] if tag else [])  # fmt: skip


PAIRS = ("--config.data.source=pairs", "--config.corruption=pairs", "--config.data.crop=window",
         "--config.data.path=s", "--config.data.target_path=t", "--config.data.eval_fraction=0.25",
         "--config.data.scaling=percentiles", "--config.training.num_steps=2")  # fmt: skip


@pytest.mark.slow
def test_pairs_with_no_data_from_training_to_evaluation(complaints, tmp_path):
    for folder, first in (("s", 0), ("t", 50)):
        write_tiffs(tmp_path / folder, tag="-9999", first=first)
    assert complaints(train, *training(*PAIRS)) == (0, [])
    ranges = json.loads(pathlib.Path("run/value_ranges.json").read_text())
    for side in ("source", "target"):
        assert ranges[side]["nodata"] == [-9999.0]
        assert all(-0.01 < low < 0.05 and 0.95 < high < 1.01 for low, high in
                   zip(ranges[side]["low"], ranges[side]["high"], strict=True))  # fmt: skip
    assert all(line["loss"] < 10 for line in logged())
    assert complaints(restore, "--model", "run", "--input", "s", "--output", "out")[0] == 0
    result = tifffile.imread("out/p2.tif")
    gone = tifffile.imread("s/p2.tif") == -9999
    assert gone.any() and (result[gone] == -9999).all() and (result[~gone] > -100).all()
    assert complaints(evaluate, "--model", "run", "--output", "e", "--nfe", "1")[0] == 0
    results = json.loads(pathlib.Path("e/results.json").read_text())
    assert results["values"]["clipped_to"] is None and results["values"]["dtype"] == "float32"
    assert results["values"]["minus_one"] == ranges["target"]["low"]
    assert 0 < results["figures"]["degraded"]["psnr"]["value"] < 30


@pytest.mark.slow
def test_no_data_that_nothing_names_is_told_at_the_start(complaints, tmp_path):
    for folder, first in (("s", 0), ("t", 50)):
        write_tiffs(tmp_path / folder, tag=None, first=first)
    status, (line,) = complaints(train, *training(*PAIRS))
    assert status == 2 and "-9999 in channel 0 of the source" in line
    assert "set data.source_nodata=(-9999.0,)" in line
    assert not (tmp_path / "run" / "config.json").exists()
    named = [f"--config.data.{side}_nodata=(-9999.0,)" for side in ("source", "target")]
    assert complaints(train, *training(*PAIRS, *named)) == (0, [])


def test_a_folder_is_not_paired_with_itself(complaints, tmp_path):
    write_tiffs(tmp_path / "s", tag="-9999", first=0)
    (tmp_path / "link").symlink_to("s")
    for other in ("s/", "./s", "link", tmp_path / "s"):
        status, (line,) = complaints(train, *training(*PAIRS, f"--config.data.target_path={other}"))
        assert status == 2 and "is data.path: name the targets' folder" in line, line
    assert not (tmp_path / "run").exists()
