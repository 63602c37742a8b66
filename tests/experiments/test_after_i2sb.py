"""The study of bridges after I²SB: what it trains, and figures told by hand."""

import dataclasses
import io

import numpy as np
import PIL.Image
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")

from etils import epath

from experiments.after_i2sb import study, study_report
from i2sb_jax.cli import config_file


def config_of(task, name):
    place = study.Place(epath.Path("photographs"), epath.Path("output"))
    command = study.training_command(task, name, place)
    flags = command[command.index("i2sb_jax.cli.train") + 1 :]
    return config_file.parse(flags, program="test", needs_workdir=False)[0]


@pytest.mark.parametrize("task", study.TASKS)
def test_runs_of_a_task_differ_in_their_bridge_alone(task):
    found = {name: dataclasses.asdict(config_of(task, name)) for name in study.TASK_RUNS[task]}
    bridges = [config.pop("bridge") for config in found.values()]
    assert all(bridges.count(bridge) == 1 for bridge in bridges)
    assert {config["sampling"].pop("sampler") for config in found.values()} <= {"ode", "ddpm"}
    first, *others = found.values()
    assert all(other == first for other in others)


@pytest.mark.parametrize("name", study.RUNS)
def test_the_name_of_a_run_says_whether_it_starts_at_the_answer(name):
    assert config_of("jpeg", name).bridge.start == ("jpeg" if study_report.FROM in name else "")


def test_controls_change_an_answer_by_what_they_say():
    answer = np.full((2, 64, 64, 3), 100, np.uint8)
    grain, sharpened = study.controls(answer).values()
    np.testing.assert_array_equal(sharpened, answer)  # there is nothing to sharpen
    assert grain.astype(float).std() == pytest.approx(study.GRAIN, rel=0.05)
    assert (grain == grain[..., :1]).all()
    answer[:, :, 32:] = 150
    assert study.controls(answer)[f"answer, sharpened by {study.SHARPEN}"].max() > 150


def row(run, sampler, nfe, *, psnr, kernel):
    scores = {name: [psnr, psnr + 1.0] * 6 for name in study_report.SCORES}
    spread = np.linspace(-0.5, 0.5, 50)
    distance = {"kernel": [kernel, kernel - 1, kernel + 1]}
    distance["kernel_resampled"] = list(kernel + spread)
    told = {"task": "jpeg", "run": run, "sampler": sampler, "nfe": nfe}
    return told | scores | distance


ROWS = [
    row("answer", "", 0, psnr=30.0, kernel=3.0),
    row("flow", "ode", 5, psnr=29.5, kernel=2.5),
    row("flow-from-answer", "ode", 5, psnr=29.8, kernel=1.0),
]


def test_differences_are_told_pair_by_pair():
    answer, plain, started = study_report.figures(ROWS)
    assert "change" not in answer and "nearer plain" not in plain
    assert started["change"] == [-0.2, -0.2, -0.2]  # the same for each picture
    assert started["nearer answer"] == [2.0, 2.0, 2.0]  # and for each resample
    assert started["nearer plain"] == [1.5, 1.5, 1.5]
    assert plain["nearer answer"][0] == 0.5


def test_a_table_has_a_row_of_each_with_its_differences():
    table = study_report.tables(study_report.figures(ROWS))
    assert table.count("\n") == 2 + len(ROWS)
    told = "| flow-from-answer, ode | 5 | 1.00 (0.00 … 2.00) | 1.50 (1.50 … 1.50) | 30.30 | -0.20 ("
    assert told in table


def test_curves_and_windows_are_pictures():
    curves = PIL.Image.open(io.BytesIO(study_report.curves(study_report.figures(ROWS))))
    assert curves.format == "PNG"
    windows = np.zeros((2, 16, 16, 3), np.uint8)
    page = PIL.Image.open(io.BytesIO(study_report.grid({"a": windows, "b": windows + 255})))
    pixels = np.asarray(page, np.int16)[-60:]
    assert page.format == "JPEG" and pixels.shape[1] == 64
    assert pixels[:, :24].max() < 9 and pixels[:, 40:].min() > 246
