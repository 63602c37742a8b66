"""i2sb-import and i2sb-export as people call them: what they print, write and refuse."""

import pathlib
import re
import shlex
import sys

import numpy as np
import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.cli import config_file, export, import_checkpoint, restore
from i2sb_jax.config import flatten, to_dict
from i2sb_jax.configs import folder, small_adm
from i2sb_jax.interop import load_model_folder, read_provenance
from i2sb_jax.interop.export import LAYOUTS
from i2sb_jax.models import UNet
from tests import golden
from tests.data.pictures import write_pictures
from tests.interop.latest import OVERRIDES, PATH, UNET
from tests.interop.test_convert import UNCOND, released
from tests.interop.test_hub import FakeHub

IMPORT = ("--source", PATH, "--workdir", "run", *OVERRIDES)


@pytest.mark.parametrize("weights", ["net", "ema"])
def test_the_golden_checkpoint(call, weights):
    status, out, err = call(
        import_checkpoint, *IMPORT, "--task", "jpeg-5", "--weights", weights,
        "--config.sampling.nfe=3",
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "142 tensors, 353,955 parameters" in out and "non-commercial" in out
    assert re.search(r"sha256 [0-9a-f]{64}\n", out)
    assert "i2sb-restore --model run" in out and "init_from=run" in out
    config, params = load_model_folder("run")
    assert config.corruption == "jpeg-5" and config.sampling.nfe == 3
    expected = golden.load("latest_expected")
    got = UNet(UNET).apply({"params": params}, expected["x"], expected["t"])
    want = expected[f"{weights}_out"]
    assert np.abs(np.asarray(got) - want).max() <= 1e-4 * want.std()


@pytest.mark.parametrize(
    "task, corruption",
    [
        ("sr4x-pool", "sr4x-pool"),
        ("sr4x_pool", "sr4x-pool"),
        ("imagenet256/jpeg5", "jpeg-5"),
        (small_adm.__file__, "blur-gauss-exact"),
    ],
)
def test_names_of_tasks(call, task, corruption):
    status, _, err = call(import_checkpoint, *IMPORT, "--task", task)
    assert (status, err) == (0, "")
    assert config_lib.load("run").corruption == corruption


def test_an_argument_reaches_the_config_file(call):
    given = (*IMPORT, "--config.data.path=photographs", "--task")
    for size, steps in ((64, 1), (512, 8)):
        task = (f"{folder.__file__}:{size}", f"--workdir=run{size}")
        assert call(import_checkpoint, *given, *task)[0] == 0
        assert config_lib.load(f"run{size}").training.accumulation_steps == steps
    assert "folder.py knows 64, 128" in refused(
        call(import_checkpoint, *given, f"{folder.__file__}:65", "--workdir=b")
    )
    assert "takes 0 positional arguments" in refused(
        call(import_checkpoint, *given, "jpeg-5:3", "--workdir=b")
    )


def refused(result):
    status, out, err = result
    assert status == 2 and out == "" and err.count("\n") == 1 and err.startswith("error: "), err
    return err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--task", "sr4x"), ("--task sr4x is not known", "jpeg5", "sr4x_pool")),
        (("--task", "none.py"), ("no config file none.py",)),
        (("--task", "jpeg-5", "--weights", "best"), ("--weights", "'best'", "ema", "net")),
        (("--task", "jpeg-5", "--config.seeed=1"), ("unknown config key 'seeed'",)),
        (("--task", "jpeg-5", "--workdirr=x"), ("--workdirr is not an option", "--source FILE")),
        (("--task", "jpeg-5", "more"), ("'more' is not an option",)),
        (("--task", "jpeg-5", "--source", "none.pt"), ("no file of weights at none.pt",)),
        (("--task", "jpeg-5", "--config.model.num_res_blocks=2"), ("latest.pt", "missing")),
        (
            ("--task", "jpeg-5", "--config.corruption=colorize"),
            ("takes 3 input channels", "jpeg-5"),
        ),
        ((), ("--task is missing", "--source FILE")),
    ],
)
def test_what_is_wrong_is_told_in_one_line(call, tmp_path, arguments, words):
    err = refused(call(import_checkpoint, *IMPORT, *arguments))
    assert all(word in err for word in words), err
    assert not list(tmp_path.iterdir())


def test_a_model_is_not_overwritten(call):
    call(import_checkpoint, *IMPORT, "--task", "jpeg-5")
    assert "run is not empty" in refused(call(import_checkpoint, *IMPORT, "--task", "jpeg-5"))


def test_export(call, tmp_path):
    call(import_checkpoint, *IMPORT, "--task", "jpeg-5", "--licence", "for tests")
    status, out, err = call(export, "--workdir", "run", "--output", "out")
    assert (status, err) == (0, "") and "licence: for tests" in out
    assert read_provenance("out").licence == "for tests"
    status, *_ = call(export, "--workdir", "run", "--output", "adm", "--format", "adm")
    assert status == 0
    for name, task in (("back", ("--task", "jpeg-5", *OVERRIDES)), ("beside", ())):
        source = ("--source", "adm/adm.safetensors", "--workdir", name)
        status, out, _ = call(import_checkpoint, *source, *task)
        assert status == 0 and "for tests" in out and "i2sb-restore" in out
        models = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("run", name)]
        assert models[0] == models[1]
    assert config_lib.load("beside") == config_lib.load("run")
    nfe = ("--workdir", "x", "--config.sampling.nfe=3")
    err = refused(call(import_checkpoint, "--source", "adm/adm.safetensors", *nfe))
    assert "--task is missing" in err


def test_initial_weights(call, tmp_path):
    released(tmp_path / UNCOND, outputs=6)
    given = ("--task", "jpeg-5", *OVERRIDES)
    status, out, _ = call(import_checkpoint, "--source", UNCOND, "--workdir", "my adm", *given)
    assert status == 0 and "parameters (initial)" in out and "if this is OpenAI's file" in out
    assert "i2sb-restore" not in out and "'--config.training.init_from=my adm'" in out
    write_pictures(tmp_path / "in", 1)
    err = refused(call(restore, "--model", "my adm", "--input", "in", "--output", "out"))
    assert "my adm holds initial weights" in err and "init_from=my adm" in err
    assert not (tmp_path / "out").exists()


def test_push(call, tmp_path, monkeypatch):
    call(import_checkpoint, *IMPORT, "--task", "jpeg-5")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    arguments = ("--workdir", "run", "--output", "out", "--push")
    assert "i2sb_jax[hub]" in refused(call(export, *arguments, "ada/jpeg"))
    assert "use OWNER/NAME" in refused(call(export, *arguments, "jpeg"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "hub"))
    remote = ("--workdir", "run", "--output", "gs://b/x", "--push", "ada/jpeg")
    assert "--push uploads a local folder" in refused(call(export, *remote))
    assert not (tmp_path / "out").exists()
    status, out, _ = call(export, *arguments, "ada/jpeg")
    assert status == 0 and "https://hub/ada/jpeg" in out
    assert (tmp_path / "hub/ada/jpeg/model.safetensors").exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_push_that_failed_is_made_good(call, tmp_path, monkeypatch, layout):
    """By the command that the error names, though the export is there already."""
    call(import_checkpoint, *IMPORT, "--task", "jpeg-5")
    hub = FakeHub(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with monkeypatch.context() as broken:
        broken.setattr(hub, "upload_folder", refuse)
        given = ("--workdir", "run", "--output", "out", "--format", layout, "--push", "ada/jpeg")
        status, _, err = call(export, *given)
    assert status == 2 and err.startswith("error: cannot push to ada/jpeg: 502")
    assert err.count("\n") == 1
    program, *again = shlex.split(err.partition("without --output: ")[2])
    assert program == "i2sb-export"
    status, out, err = call(export, *again)
    assert (status, err) == (0, "") and "pushed to https://hub/ada/jpeg" in out
    pushed = {file.name: file.read_bytes() for file in (tmp_path / "hub/ada/jpeg").iterdir()}
    assert pushed == {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}


def refuse(**options):
    raise RuntimeError("502: bad gateway\nand a page of advice")


def test_an_export_needs_a_place(call):
    assert "--output is missing" in refused(call(export, "--workdir", "run"))


def test_home_is_expanded(call, tmp_path, monkeypatch):
    """A shell leaves --KEY=~/… to the program."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "latest.pt").write_bytes(PATH.read_bytes())
    own = pathlib.Path(small_adm.__file__).read_text()
    (tmp_path / "home" / "own.py").write_text(own)
    for number, task in enumerate(("jpeg-5", "~/own.py")):
        given = ("--source=~/latest.pt", f"--workdir=~/run{number}", f"--task={task}", *OVERRIDES)
        status, _, err = call(import_checkpoint, *given)
        assert (status, err) == (0, "")
    assert call(export, "--workdir=~/run0", "--output=~/out")[0] == 0
    assert (tmp_path / "home" / "out" / "README.md").exists()
    paths = ("data.path", "data.eval_path", "training.init_from")
    given = ["--config=~/own.py", "--config.data.source=folder", "--workdir=~/w"]
    given += [f"--config.{key}=~/{key}" for key in paths]
    config, workdir = config_file.parse(given, program="i2sb-train")
    assert workdir == str(tmp_path / "home" / "w")
    values = flatten(to_dict(config))
    assert all(values[key] == str(tmp_path / "home" / key) for key in paths)
    masks = ["--config=~/own.py", "--config.mask_file=~/m.npz", "--workdir=w"]
    config, _ = config_file.parse(masks, program="i2sb-train")
    assert config.mask_file == str(tmp_path / "home" / "m.npz")


def test_help(call):
    for tool, option in ((import_checkpoint, "--task"), (export, "--format")):
        status, out, _ = call(tool, "--help")
        assert status == 0 and option in out
