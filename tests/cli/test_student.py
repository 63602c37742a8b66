"""A student from the command line: trained, killed, restored with, measured, exported, refused."""

import random

import jax
import numpy as np
import pytest

from i2sb_jax.cli import evaluate, export, restore, train
from i2sb_jax.pictures import to_uint8, write_png
from tests.cli import evaluations
from tests.cli.runs import arguments, finish, kill, last_state, losses_of, start
from tests.golden.synthetic import photo
from tests.restoration.models import identity_model

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

SDE = {"bridge.deterministic": False, "sampling.sampler": "ddpm"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("teacher") / "run"
    assert finish(start(workdir, **SDE, **{"training.num_steps": 4}))[0] == 0
    return workdir


def start_student(workdir, teacher, **overrides):
    given = {"teacher": teacher, "training.num_steps": 30, "distill.auxiliary_updates": 2}
    given["distributed"] = "off"  # for tests that go on with it in their own process
    return start(workdir, config="distill_small_adm.py", **(given | overrides))


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("student") / "run"
    status, _, err = finish(start_student(workdir, teacher))
    assert status == 0, err
    return workdir


@pytest.mark.slow
def test_a_student_that_is_killed_is_the_same_student(student, teacher, tmp_path):
    """Its own network, the auxiliary one, the average and both optimizers."""
    workdir, draw = tmp_path / "run", random.Random(1)
    often = {"training.checkpoint_every": 4}
    for in_a_save in (False, True):
        kill(start_student(workdir, teacher, **often), workdir, draw, in_a_save=in_a_save)
    assert finish(start_student(workdir, teacher))[0] == 0
    assert losses_of(workdir) == losses_of(student)
    jax.tree.map(np.testing.assert_array_equal, last_state(workdir), last_state(student))


@pytest.mark.slow
def test_it_restores_is_measured_and_exported(student, tmp_path, monkeypatch, capsys):
    call = evaluations.call
    for name, picture in enumerate(photo(2, 24, 5)):
        write_png(tmp_path / "in" / f"{name}.png", to_uint8(picture))
    given = ["--model", student, "--input", tmp_path / "in", "--output", tmp_path / "out"]
    status, _, err = call(monkeypatch, capsys, restore.main, *given, "--samples", "2")
    assert status == 0, err
    assert list((tmp_path / "out").rglob("*.png"))
    status, _, err = call(monkeypatch, capsys, restore.main, *given, "--nfe", "2", "--overwrite")
    assert status == 2 and err.count("\n") == 1
    assert "nfe=2: this model is a student that has learnt nfe=1 alone" in err
    given = ["--model", student, "--output", tmp_path / "results", "--limit", "3"]
    status, _, err = call(monkeypatch, capsys, evaluate.main, *given, "--nfe", "1,2")
    assert status == 2 and "has learnt nfe=1 alone" in err
    status, out, err = call(monkeypatch, capsys, evaluate.main, *given)
    assert status == 0 and "psnr" in out.lower(), err
    given = ["--workdir", student, "--output", tmp_path / "model"]
    status, _, err = call(monkeypatch, capsys, export.main, *given)
    assert status == 0, err
    assert (tmp_path / "model" / "model.safetensors").exists()


def test_an_ot_ode_is_refused_before_anything_is_written(complaints, tmp_path):
    identity_model(tmp_path / "ode")
    given = {"teacher": tmp_path / "ode", "distributed": "off"}
    status, (line,) = complaints(
        train, *arguments(tmp_path / "student", "distill_small_adm.py", **given)
    )
    assert status == 2 and "is an OT-ODE: distillation fits the law of X_0 given X_1" in line
    assert not (tmp_path / "student").exists()
