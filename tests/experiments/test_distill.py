"""The study of students: what it measures, refuses and draws."""

import functools
import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")
pytest.importorskip("matplotlib")

from experiments.distill import __main__ as study
from experiments.distill import report
from i2sb_jax.cli import startup
from tests.cli import evaluations

COUNT = 10


@pytest.fixture
def tool(monkeypatch, capsys):
    main = functools.partial(startup.run, study.main)
    return functools.partial(evaluations.call, monkeypatch, capsys, main)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("distill")
    evaluations.make_model(root / "teacher")
    student = {"teacher": "<teacher>", "sampling": {"nfe": 1}}
    evaluations.make_model(root / "student", **student)
    evaluations.make_model(root / "regression", distill={"method": "regression"}, **student)
    evaluations.write_pictures(root / "clean", COUNT)
    return root


def options(root, output, *more, students=("student", "regression")):
    return [
        *("--teacher", root / "teacher", "--data", root / "clean", "--output", output),
        *("--nfe", "1,3", "--samplers", "implicit"),
        *("--students", *(root / name for name in students), *more),
    ]


def test_rows_table_and_grid(root, tool, tmp_path):
    status, out, err = tool(*options(root, tmp_path / "out", "--shown", "2"))
    assert status == 0, err
    rows = json.loads((tmp_path / "out" / "rows.json").read_text())
    teacher = [f"teacher, {sampler}, {nfe}" for sampler in ("ddpm", "implicit") for nfe in (1, 3)]
    views = ["clean", "degraded", "bicubic upsampling"]
    students = ["student, ddpm, 1", "regression, ddpm, 1"]
    assert [row["method"] for row in rows] == [*views, *teacher, *students]
    by_name = {row["method"]: row for row in rows}
    assert all(len(row["psnr"]) == COUNT for row in rows)
    # each meets itself: a little less than zero, and less than any other
    for column, name in (("kernel", "clean"), ("teacher", "teacher, ddpm, 3")):
        assert by_name[name][column][0] <= 0
        assert min(rows, key=lambda row: row[column][0])["method"] == name
    table = (tmp_path / "out" / "table.md").read_text()
    assert table in out and "| student, ddpm | 1 |" in table
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        assert grid.width > grid.height


def test_the_grid_shows_pictures_from_first_to_last():
    pictures = np.zeros((9, 8, 8, 3), np.uint8)
    pictures[0], pictures[8] = (255, 0, 0), (0, 0, 255)
    with Image.open(io.BytesIO(report.grid({"a": pictures, "b": pictures}, rows=2))) as grid:
        colours = {colour for _, colour in grid.convert("RGB").getcolors(1 << 20)}
    assert {(255, 0, 0), (0, 0, 255)} <= colours


def test_a_line_for_each_mistake(root, tool, tmp_path):
    other = {"teacher": "<teacher>", "sampling": {"nfe": 1}, "corruption": "sr4x-bicubic"}
    evaluations.make_model(tmp_path / "other", **other)
    for students, more, told in (
        (["teacher"], (), "is no student: it has no teacher"),
        ([tmp_path / "other"], (), "repairs sr4x-bicubic at 16 px, the teacher sr4x-pool"),
        (["student"], ("--teacher", root / "student"), "is a student: name a bridge"),
        (["student"], ("--nfe", "50"), "nfe=50 must lie in 1…49"),
        (["nowhere"], (), "is not a run's folder"),
    ):
        arguments = options(root, tmp_path / "out", *more, students=students)
        status, out, err = tool(*arguments)
        assert (status, out) == (2, "") and err.count("\n") == 1 and told in err, err
    assert not (tmp_path / "out").exists()
