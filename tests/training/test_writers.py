"""TensorBoard's and Weights & Biases' writers, the latter against a stand-in for the package."""

import json
import sys
import types

import numpy as np
import pytest

pytest.importorskip("clu")
pytest.importorskip("tensorflow")

from i2sb_jax.training.writers import make_writer
from tests.training.tiny import make_config

CONFIG = make_config(training={"wandb_project": "bridges", "num_steps": 4})
ONE = {"loss": 1.0}


class FakeRun:
    """A W&B run; steps never go back, as there."""

    def __init__(self, step, broken):
        self.step, self.broken, self.logged = step, broken, []
        self.config, self.finished = {}, 0

    def log(self, values, *, step):
        if self.broken:
            raise ConnectionResetError("the service is gone\nand a page of advice")
        assert step >= self.step
        self.step = step
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


class FakeWandb(types.ModuleType):
    """What the writer uses of the package."""

    def __init__(self):
        super().__init__("wandb")
        self.Settings = types.SimpleNamespace
        self.runs, self.given, self.fails, self.broken = {}, [], "", False

    def init(self, **given):
        if self.fails:
            raise RuntimeError(self.fails)
        self.given.append(given)
        before = self.runs.get(given["id"])
        # of a run that goes on, the step after the last one
        step = before.step + 1 if before else 0
        self.runs[given["id"]] = FakeRun(step, self.broken)
        return self.runs[given["id"]]

    def Image(self, picture):
        return "picture", picture.shape, picture.dtype

    def Histogram(self, values):
        return "histogram", values.shape


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def steps_of(run):
    return [step for step, values in run.logged if "loss" in values]


def test_a_run_that_goes_on_goes_on_there_too(wandb, tmp_path):
    killed = make_writer(CONFIG, tmp_path)
    for step in (1, 2, 3):
        killed.write_scalars(step, ONE)
    ((name, run),) = wandb.runs.items()
    assert steps_of(run) == [1, 2, 3]
    writer = make_writer(CONFIG, tmp_path)
    for step in (3, 4):  # from the checkpoint of step 2
        writer.write_scalars(step, ONE)
    writer.close()
    ((again, run),) = wandb.runs.items()
    # step 3 is there already, and to the same bits
    assert again == name and steps_of(run) == [4] and run.finished == 1
    for given in wandb.given:
        assert given["project"] == "bridges" and given["resume"] == "allow"
        assert given["dir"] == str(tmp_path) and given["settings"].finish_timeout > 0
        assert given["config"]["training"]["num_steps"] == 4
    assert json.loads((tmp_path / "wandb.json").read_text()) == {"id": name}
    # another run is another one there
    make_writer(CONFIG, tmp_path / "other").close()
    assert len(wandb.runs) == 2


def test_what_a_run_logs_arrives(wandb, tmp_path):
    writer = make_writer(CONFIG, tmp_path)
    (run,) = wandb.runs.values()
    pictures = np.zeros((2, 16, 48, 3), np.uint8)
    writer.write_scalars(1, {"loss": np.float32(0.5), "rate": 2})
    writer.write_images(1, {"sheet": pictures})
    writer.write_images(1, {"one": pictures[0]})
    writer.write_histograms(2, {"weights": np.ones((3, 4))})
    writer.write_texts(2, {"note": "a"})
    writer.write_hparams({"depth": 2})
    writer.flush()
    shown = "picture", (16, 48, 3), np.uint8
    assert run.logged == [
        (1, {"loss": 0.5, "rate": 2}),
        (1, {"sheet": [shown] * 2}),
        (1, {"one": [shown]}),
        (2, {"weights": ("histogram", (12,))}),
        (2, {"note": "a"}),
    ]
    assert not run.finished
    writer.close()
    assert run.finished == 1
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_nobody_is_asked_for_who_was_not_named(wandb, tmp_path):
    make_writer(make_config(), tmp_path).close()
    make_writer(CONFIG, tmp_path, silent=True).write_scalars(1, ONE)
    assert not wandb.runs and not (tmp_path / "wandb.json").exists()


def test_a_bucket_gets_the_id_and_the_machine_the_rest(wandb):
    from i2sb_jax.training.writers import WandbWriter
    from tests import memory_path

    memory_path.clear()
    WandbWriter(CONFIG, "memory://bucket/run").close()
    WandbWriter(CONFIG, "memory://bucket/run").close()
    assert [given["dir"] for given in wandb.given] == [None, None]
    assert len(wandb.runs) == 1 and list(memory_path.FILES) == ["memory://bucket/run/wandb.json"]
    memory_path.clear()


def test_a_service_that_fails_is_one_warning_and_ends_no_run(wandb, tmp_path, capsys):
    wandb.broken = True
    writer = make_writer(CONFIG, tmp_path)
    for step in (1, 2, 3):
        writer.write_scalars(step, ONE)
    writer.close()
    assert capsys.readouterr().err == (
        "warning: Weights & Biases: the service is gone; the run goes on without it\n"
    )
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_what_cannot_start_is_an_error_at_first_and_a_warning_later(wandb, tmp_path, capsys):
    wandb.fails = "no API key\nand a page of advice"
    with pytest.raises(ValueError) as error:
        make_writer(CONFIG, tmp_path)
    assert str(error.value) == (
        "Weights & Biases: no API key; mend that, set WANDB_MODE=offline, or leave "
        "training.wandb_project=''"
    )
    assert not (tmp_path / "wandb.json").exists() and not (tmp_path / "tensorboard").exists()
    wandb.fails = ""
    make_writer(CONFIG, tmp_path).close()
    wandb.fails = "no network"
    writer = make_writer(CONFIG, tmp_path)
    writer.write_scalars(1, ONE)
    writer.close()
    assert capsys.readouterr().err == (
        "warning: Weights & Biases: no network; the run goes on without it\n"
    )


def test_a_missing_package_is_one_line_before_anything_is_written(tmp_path, monkeypatch, capsys):
    from i2sb_jax.cli import train as train_cli
    from i2sb_jax.configs import small_adm

    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delenv("I2SB_TRACEBACK", raising=False)
    given = (f"--config={small_adm.__file__}", "--config.training.wandb_project=bridges")
    monkeypatch.setattr(sys, "argv", ["i2sb-train", *given, f"--workdir={tmp_path / 'run'}"])
    with pytest.raises(SystemExit) as stop:
        train_cli.main()
    err = capsys.readouterr().err
    assert stop.value.code == 2 and err.count("\n") == 1
    assert "No module named 'wandb'" in err and "pip install 'i2sb_jax[wandb]'" in err
    assert not (tmp_path / "run").exists()
