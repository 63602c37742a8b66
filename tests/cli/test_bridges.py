"""Bridges that are none of I²SB's through the tools: what each takes, and what it refuses."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.bridge import SAMPLERS, WITHOUT_NOISE
from i2sb_jax.cli import evaluate, export, restore, train
from tests.cli import evaluations, runs

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

SEES_X1 = {"bridge.deterministic": False, "bridge.x1_input": True}
CHOSEN = {
    "nadb": SEES_X1,
    "flow": {"bridge.name": "linear"},  # deterministic, as configs/small_adm.py is
    "linear": SEES_X1 | {"bridge.gamma": 0.25},
    "unidb": {"bridge.deterministic": False, "bridge.penalty": 100.0},
    "irsde": SEES_X1,
    "resshift": SEES_X1,
}
AROUND = ("unidb", "irsde", "resshift")  # start with noise around X_1
SMALL = {"bridge.num_steps": 20, "model.norm": "none", "model.middle_attention": False}
SMALL |= {"training.batch_size": 2, "optimizer.schedule": "step", "distributed": "off"}


def options(name):
    """What makes a tiny run of it of a config file."""
    chosen = {"bridge.name": name} | CHOSEN[name]
    sampler = "ode" if name == "flow" else "ddpm"
    return SMALL | {"sampling.sampler": sampler} | chosen


def takes(name, sampler):
    """Whether it may be sampled so: flows have no noise to begin with, others would miss theirs."""
    if name == "flow":
        return sampler in WITHOUT_NOISE
    return name not in AROUND or sampler not in WITHOUT_NOISE


REFUSED = [(name, sampler) for name in CHOSEN for sampler in SAMPLERS if not takes(name, sampler)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model folder of each, untrained."""
    root = tmp_path_factory.mktemp("models")
    for name in CHOSEN:
        sections = {}
        for key, value in options(name).items():
            section, _, field = key.rpartition(".")
            if section not in ("", "optimizer", "training"):
                sections.setdefault(section, {})[field] = value
        sections["bridge"].setdefault("deterministic", name == "flow")
        evaluations.make_model(root / name, **sections)
    evaluations.write_pictures(root / "pictures", 1)
    return root


@pytest.mark.parametrize("name, sampler", REFUSED)
def test_a_sampler_is_refused_in_one_line_by_flag_and_by_config(
    models, complaints, tmp_path, name, sampler
):
    given = "--model", models / name, "--output", tmp_path / "out", "--sampler", sampler
    lines = [
        complaints(restore, *given, "--input", models / "pictures"),
        complaints(evaluate, *given),
        complaints(
            train,
            *runs.arguments(tmp_path / "run", **(options(name) | {"sampling.sampler": sampler})),
        ),
    ]
    assert [status for status, _ in lines] == [2, 2, 2] and not list(tmp_path.iterdir())
    told = [line[line.index("sampler=") :] for _, (line,) in lines]
    assert told[0] == told[1] == told[2]
    reason = "trained to start with noise around it" if name in AROUND else "never saw: use 'ode'"
    assert told[0].startswith(f"sampler={sampler!r} ") and reason in told[0]


@pytest.mark.parametrize(
    "name, flags, told",
    [
        ("flow", ["--spacing", "lambda"], "spacing='lambda' does not go with bridge.name='linear'"),
        ("resshift", ["--eta", "0.5"], "eta=0.5 is of sampler='implicit'; 'ddpm' takes none"),
        ("nadb", ["--nfe", "20"], "nfe=20 must lie in 1…19"),
        ("irsde", ["--spacing", "sigma"], "only 'i2sb' has σ; use 'lambda' or 'index'"),
    ],
)
def test_other_steps_are_refused_by_both_tools(models, complaints, tmp_path, name, flags, told):
    given = "--model", models / name, "--output", tmp_path / "out", *flags
    for tool, more in ((restore, ("--input", models / "pictures")), (evaluate, ())):
        status, (line,) = complaints(tool, *given, *more)
        assert status == 2 and told in line


def test_what_a_student_cannot_learn_from(models, complaints, tmp_path):
    """An OT-ODE, and by regression a start with noise; before anything is written."""

    def student(name, **more):
        given = options(name) | {"teacher": models / name, "sampling.nfe": 1} | more
        status, (line,) = complaints(
            train, *runs.arguments(tmp_path / "run", "distill_small_adm.py", **given)
        )
        assert status == 2 and not (tmp_path / "run").exists()
        return line

    flow = {"bridge.deterministic": True}
    assert "bridge.deterministic=True does not go with a teacher" in student("flow", **flow)
    line = student("unidb", **{"distill.method": "regression"})
    assert "distill.method='regression'" in line and "bridge.name='unidb'" in line


def pixels(folder):
    return [np.asarray(Image.open(path)) for path in sorted(pathlib.Path(folder).rglob("*.png"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOSEN)
def test_a_bridge_goes_through_all_tools(call, tmp_path, models, name):
    """Trained, gone on with, exported, restored with by every sampler, measured, and distilled."""
    run = tmp_path / "run"

    def trained(workdir, config="small_adm.py", **more):
        for count in (1, 2):
            given = options(name) | {"training.num_steps": count} | more
            status, _, error = call(train, *runs.arguments(workdir, config, **given))
            assert status == 0, error
        losses = [line["loss"] for line in runs.logged(workdir)]
        assert len(losses) == 2 and np.isfinite(losses).all()

    def restored(model, output, *flags):
        given = "--model", model, "--input", models / "pictures", "--output", tmp_path / output
        status, _, error = call(restore, *given, *flags)
        assert status == 0, error
        (picture,) = pixels(tmp_path / output)
        return picture

    trained(run)
    status, _, error = call(export, "--model", run, "--output", tmp_path / "model")
    assert status == 0, error
    found = {}
    for sampler in filter(lambda sampler: takes(name, sampler), SAMPLERS):
        for nfe in (1, 5):
            given = "--sampler", sampler, "--nfe", nfe
            found[sampler, nfe] = restored(run, f"{sampler}-{nfe}", *given)
    first = options(name)["sampling.sampler"]
    np.testing.assert_array_equal(
        restored(tmp_path / "model", "exported", "--nfe", 5), found[first, 5]
    )
    if name != "flow":  # two updates from nothing move no pixel where there is no noise
        assert (found[first, 1] != found[first, 5]).any()
    given = "--model", run, "--output", tmp_path / "measured", "--nfe", "1,5", "--limit", "2"
    status, _, error = call(evaluate, *given)
    assert status == 0, error
    assert evaluations.figures(tmp_path / "measured")
    if name == "flow":
        return
    student = {"teacher": run, "sampling.nfe": 1, "distill.auxiliary_updates": 1}
    trained(tmp_path / "student", "distill_small_adm.py", **student)
    restored(tmp_path / "student", "taught")
    if name not in AROUND:
        student |= {"distill.method": "regression", "distill.teacher_nfe": 2}
        trained(tmp_path / "regressed", "distill_small_adm.py", **student)
