"""Which checkpoint of a run is used: by loading, restoring and exporting, in Python and by hand."""

import json
import shutil
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import config as config_lib
from i2sb_jax import interop
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.cli import export, restore
from i2sb_jax.interop import export_model, load_model_folder, load_weights, save_model
from i2sb_jax.restoration import Restorer, load_model
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.training import TrainState
from tests.models.networks import hashed_params
from tests.restoration.models import photo
from tests.test_checkpoint import abstract
from tests.training.tiny import make_config

CONFIG = make_config(
    model={"channel_mult": (1.0,)},
    training={"best_metric": "psnr", "image_every": 2, "wandb_project": "of-ada"},
    corruption="jpeg-10",
)
SCORES = {2: 21.0, 4: 25.0, 6: 22.0}


def weights(step):
    """Those of a step: told apart by one of them."""
    params = hashed_params(CONFIG.unet)
    params["conv_out"]["bias"] = np.full(3, step / 100, np.float32)
    return params


def bias(params):
    return round(100 * float(params["conv_out"]["bias"][0]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three checkpoints, of which the second is the best, and a log of every step."""
    workdir = tmp_path_factory.mktemp("run")
    config_lib.save(workdir, CONFIG)
    with Checkpoints(workdir, keep=9, best_metric="psnr") as checkpoints:
        for step, score in SCORES.items():
            params = jax.tree.map(jax.numpy.asarray, weights(step))
            count = jax.numpy.int32(step)
            state = TrainState(count, params, params, {"count": count})
            checkpoints.save(step, state, metrics={"psnr": score})
    lines = [json.dumps({"step": step, "loss": step / 8}) for step in range(1, 8)]
    (workdir / "metrics.jsonl").write_text("\n".join(lines))
    return workdir


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, CONFIG, weights(0))
    return folder


@pytest.mark.parametrize("checkpoint, step", [("latest", 6), ("best", 4), (2, 2), ("2", 2)])
def test_a_checkpoint_is_named(run, checkpoint, step):
    config, params = load_model_folder(run, checkpoint=checkpoint)
    assert config == CONFIG and bias(params) == step
    assert bias(load_weights(run, abstract(weights(0)), checkpoint=checkpoint)) == step


def test_the_latest_is_what_there_is_without_a_name(run, model):
    assert bias(load_model_folder(run)[1]) == 6 and bias(load_model_folder(model)[1]) == 0
    assert bias(load_model_folder(model, checkpoint="latest")[1]) == 0


@pytest.mark.parametrize("call", [load_model_folder, load_model, Restorer.from_workdir])
@pytest.mark.parametrize(
    "checkpoint, words",
    [
        (3, "no checkpoint of step 3 in {}/checkpoints: there are those of steps 2, 4, 6"),
        ("7", "no checkpoint of step 7 in"),
        ("first", "checkpoint='first' is not known: use latest, best or the number of a step"),
    ],
)
def test_one_that_is_not_there(run, call, checkpoint, words):
    with pytest.raises(ValueError) as error:
        call(run, checkpoint=checkpoint)
    assert str(error.value).startswith(words.format(run)) and "\n" not in str(error.value)


def test_no_best_where_none_was_kept(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    config_lib.save(tmp_path / "run", make_config(model={"channel_mult": (1.0,)}))
    with pytest.raises(ValueError, match=r"best by training\.best_metric='' in .* steps 2, 4, 6$"):
        load_model_folder(tmp_path / "run", checkpoint="best")


@pytest.mark.parametrize("checkpoint", ["best", 4])
def test_a_model_folder_has_one_set_of_weights(model, checkpoint):
    for source in (model, model / "model.safetensors"):
        with pytest.raises(ValueError) as error:
            load_weights(source, abstract(weights(0)), checkpoint=checkpoint)
        assert str(error.value) == f"checkpoint={checkpoint!r} is for runs, and {source} is none"


def test_what_is_exported_says_so(run, tmp_path):
    export_model(run, tmp_path / "best", checkpoint="best")
    card = (tmp_path / "best" / "README.md").read_text()
    assert bias(load_model_folder(tmp_path / "best")[1]) == 4
    assert "| training | 4 updates of 4 pictures" in card and "| loss | 0.5 |" in card
    export_model(run, tmp_path / "latest")
    card = (tmp_path / "latest" / "README.md").read_text()
    assert "| training | 6 updates of" in card and "| loss | 0.75 |" in card
    # an export of an export knows no step, and nobody learns of anybody's account
    export_model(tmp_path / "best", tmp_path / "again")
    assert "| training | up to 12 updates of" in (tmp_path / "again" / "README.md").read_text()
    assert config_lib.load(tmp_path / "best").training.wandb_project == ""
    with pytest.raises(ValueError, match="no checkpoint of step 3 in"):
        export_model(run, tmp_path / "none", checkpoint=3)
    assert not (tmp_path / "none").exists()


def test_results_of_one_checkpoint_by_any_name(run, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(16, 16)).save(tmp_path / "in" / "a.png")
    folders = run, tmp_path / "in", tmp_path / "out"

    def restored(checkpoint):
        options = Options(nfe=1, checkpoint=checkpoint)
        return restore_folder(*folders, options, quiet=True).restored

    assert [restored("best"), restored(4), restored("4")] == [1, 0, 0]
    with pytest.raises(ValueError, match=r"weights is '\w+' there, '\w+' here"):
        restored("latest")
    with pytest.raises(ValueError, match="checkpoint='newest' is not known"):
        Options(checkpoint="newest")


def test_by_hand(run, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("I2SB_TRACEBACK", raising=False)

    def call(tool, *arguments):
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            tool.main()
        return stop.value.code, capsys.readouterr().err

    assert call(export, "--workdir", run, "--output", "out", "--checkpoint", "best")[0] == 0
    assert bias(interop.load_model_folder("out")[1]) == 4
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(16, 16)).save(tmp_path / "in" / "a.png")
    given = (restore, "--input", "in", "--output", "restored", "--nfe", "1", "--model")
    status, err = call(*given, run, "--checkpoint", "3")
    assert (status, err.count("\n")) == (2, 1) and "there are those of steps 2, 4, 6" in err
    status, err = call(*given, model, "--checkpoint", "best")
    assert (status, err) == (2, f"error: checkpoint='best' is for runs, and {model} is none\n")
    assert not (tmp_path / "restored").exists()
    assert call(*given, run, "--checkpoint", "2")[0] == 0
