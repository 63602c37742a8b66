"""Tables of the paper: a row measured, a row missing, and what was published beside them."""

import argparse
import csv
import functools
import io
import json
import os
import re

import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("matplotlib")

from experiments.paper_table import __main__ as paper_table
from experiments.paper_table import measure, report
from experiments.paper_table.measure import Row, model_folder, wanted_rows
from experiments.paper_table.published import I2SB, TABLES
from i2sb_jax.cli import startup
from i2sb_jax.cli.tasks import task_file
from tests.cli import evaluations
from tests.evaluation.models import use_small_features
from tests.interop import latest

COUNT = 3
ROWS = [row for table in TABLES.values() for row in table]


@pytest.fixture
def tool(monkeypatch, capsys):
    main = functools.partial(startup.run, paper_table.main)
    return functools.partial(evaluations.call, monkeypatch, capsys, main)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Weights of one of the two tasks of a table, and pictures."""
    root = tmp_path_factory.mktemp("table")
    evaluations.make_model(root / "weights" / "jpeg-10", corruption="jpeg-10")
    evaluations.write_pictures(root / "clean", COUNT)
    return root


def options(root, output):
    return ["--weights", root / "weights", "--data", root / "clean", "--output", output]


def rows_of(folder):
    return list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))


# --- what was published -------------------------------------------------------------------------


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.folder}-{row.evaluations}")
def test_published_rows_are_those_of_the_configs(row):
    """Each has a task, whose config expects the same numbers: they were written down twice."""
    with open(task_file(row.task)) as file:
        text = re.sub(r"\s+", " ", file.read())
    assert 1 <= row.nfe <= 999
    if row.source == I2SB:
        accuracy = "" if row.accuracy is None else f", CA {row.accuracy}"
        assert f"FID {row.fid}{accuracy}" in text


def test_other_evaluations_are_asked_of_each_model_once():
    asked = wanted_rows(TABLES["few_steps"], (1, 10))
    told = [f"{row.folder} {nfe}" for row, nfe in asked]
    assert len(told) == len(set(told)) == 2 * 7  # seven models, with their samplers
    assert [nfe for _, nfe in wanted_rows(TABLES["jpeg"], ())] == [999, 999]


# --- the command --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_row_that_is_there_and_one_that_is_not(root, tool, tmp_path, monkeypatch, capsys):
    use_small_features(monkeypatch)
    output = tmp_path / "out"
    status, out, err = tool("jpeg", *options(root, output), "--nfe", "2")
    assert status == 0, err
    missing, there = rows_of(output / "jpeg")
    assert tuple(there) == report.COLUMNS
    assert (missing["task"], missing["psnr"], missing["pictures"]) == ("jpeg-5", "", "")
    assert "jpeg-5 is no model folder" in missing["not_measured"]
    assert (missing["published_fid"], missing["published_accuracy"]) == ("4.6", "67.9")
    assert there["not_measured"] == "" and int(there["pictures"]) == COUNT
    assert "lpips" in there["left_out"] or "LPIPS" in there["left_out"]
    assert "3 pictures, published: 10,000; 16 pixels, published: 256" in there["notes"]
    assert "FID against the clean pictures of this evaluation" in there["notes"]
    assert "hours = pictures × evaluations × seconds" in err and "measured, " in err
    table = (output / "jpeg" / "table.md").read_text()
    assert table in out and "| jpeg-5 | 2 | – | not measured | 4.6 at 1000 |" in table
    assert (output / "jpeg" / "table.png").read_bytes().startswith(b"\x89PNG")
    # i2sb-evaluate goes on with the row, and has the same figures
    kept = {p: p.stat().st_mtime_ns for p in (output / "jpeg-10").rglob("*.npz")}
    status, _, err = evaluations.run_here(
        monkeypatch, capsys, "--model", root / "weights" / "jpeg-10", "--data", root / "clean",
        "--nfe", "2", "--output", output / "jpeg-10",
    )  # fmt: skip
    assert status == 0, err
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items()) and kept
    figures = evaluations.figures(output / "jpeg-10")["nfe 2"]
    for name in ("psnr", "fid", "kid"):
        assert float(there[name]) == figures[name]["value"]
    assert there["fid_low"] == "" and figures["fid"]["low"] is None  # of fewer than ten pictures


def test_nothing_to_measure_is_an_error_with_a_table(root, tool, tmp_path):
    status, out, err = tool("deblur", *options(root, tmp_path / "out"))
    assert status == 2 and "no row of deblur could be measured" in err.splitlines()[-1]
    assert out.count("not measured") == 2 * 3 + 2  # three figures a row, and why
    rows = rows_of(tmp_path / "out" / "deblur")
    assert all(row["not_measured"] for row in rows) and len(rows) == 2


def given(root, tmp_path):
    return argparse.Namespace(weights=root, output=tmp_path / "out")


def test_the_published_file_is_imported_once(tmp_path):
    weights, told = tmp_path / "weights", []
    (weights / "sr4x-pool").mkdir(parents=True)
    (weights / "sr4x-pool" / "latest.pt").write_bytes(latest.PATH.read_bytes())
    for _ in range(2):
        folder = model_folder(
            "sr4x-pool", given(weights, tmp_path), latest.OVERRIDES, say=told.append
        )
        config = json.loads((folder / "config.json").read_text())
        assert config["corruption"] == "sr4x-pool" and config["image_size"] == 32
    assert len(told) == 1 and "latest.pt" in told[0] and "licence" in told[0]
    # without them it is not the network of the task, and nothing is left behind
    with pytest.raises(ValueError, match=r"latest\.pt"):
        model_folder("sr4x-pool", given(weights, tmp_path / "other"), (), say=told.append)
    assert not (tmp_path / "other" / "out" / "models" / "sr4x-pool" / "config.json").exists()


def test_weights_of_another_task_are_not_measured(root, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "jpeg-5").symlink_to(root / "weights" / "jpeg-10")
    told = []
    namespace = given(tmp_path / "weights", tmp_path)
    rows = measure.measure_table([(TABLES["jpeg"][0], 2)], namespace, (), say=told.append)
    assert rows[0].reason.endswith("holds a model of jpeg-10, not jpeg-5")
    assert rows[0].reason in told[-1]


MISTAKES = {
    "a table": (["colour"], "invalid choice"),
    "no weights": (["jpeg", "--weights", "NOWHERE"], "--weights NOWHERE is no folder"),
    "no pictures": (["jpeg", "--data", "NOWHERE"], "NOWHERE does not exist"),
    "no list": (["jpeg", "--list", "NOWHERE"], "NOWHERE"),
    "no masks": (["jpeg", "--masks", "NOWHERE"], "--masks NOWHERE is not there"),
    "no network": (["jpeg", "--resnet50", "NOWHERE"], "--resnet50 NOWHERE is not there"),
    "an option": (["jpeg", "--steps", "3"], "--steps is not an option"),
    "a key": (["jpeg", "--config.model.chanels=3"], "chanels"),
    "no numbers": (["jpeg", "--nfe", "few"], "--nfe few must be numbers"),
    "its own pictures": (["jpeg", "--output", "CLEAN"], "--output"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_line_for_each_mistake(root, tool, tmp_path, case):
    (table, *more), told = MISTAKES[case]
    more = [os.fspath(root / "clean") if each == "CLEAN" else each for each in more]
    status, out, err = tool(table, *options(root, tmp_path / "output"), *more)
    assert (status, out) == (2, "") and err.count("\n") == 1 and told in err, err
    assert not (tmp_path / "output").exists()


# --- tables -------------------------------------------------------------------------------------


def test_what_is_left_out_is_told_with_its_reason():
    def value(x, low=None, high=None):
        return {"value": x, "low": low, "high": high, "pictures": 7}

    left_out = {"classifier accuracy": "no file", "LPIPS": "no file of it"}
    figures = {"fid": value(3.14159, 3.0, 3.3), "psnr": value(25.0), "accuracy": value(None)}
    implicit = TABLES["few_steps"][-1]
    rows = [
        Row(TABLES["sr4x"][0], 999, figures, "", left_out, ("7 pictures",)),
        Row(implicit, 10, {}, "it is gone"),
    ]
    lines = report.as_markdown(rows, name="mixed").splitlines()
    measured = "3.14 (3.00 … 3.30) | 2.7 | left out | 71.0 | 25.00"
    assert lines[2] == f"| sr4x-pool | 999 | 7 | {measured} | ADM 3.1 / 73.4 |"
    assert lines[3].startswith("| sr4x-bicubic, implicit:0.6 | 10 | – | not measured | 4.115 at 25")
    assert "- left out: classifier accuracy: no file" in lines
    assert "- sr4x-bicubic: not measured: it is gone" in lines
    assert not any("LPIPS" in line for line in lines)  # the paper's tables have none
    cells = list(csv.DictReader(io.StringIO(report.as_csv(rows))))
    assert cells[0]["fid"] == "3.14159" and "LPIPS: no file of it" in cells[0]["left_out"]
    assert report.figure(rows, name="mixed").startswith(b"\x89PNG")
