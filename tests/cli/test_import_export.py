"""i2sb-import and i2sb-export as people call them: what they print, write and refuse."""

import re
import sys

import numpy as np
import pytest

from configs import quickstart
from i2sb_jax import config as config_lib
from i2sb_jax.cli import export, import_checkpoint
from i2sb_jax.interop import load_model_folder, read_provenance
from i2sb_jax.models import UNet
from tests import golden
from tests.interop.latest import OVERRIDES, PATH, UNET
from tests.interop.test_hub import FakeHub


@pytest.fixture
def call(monkeypatch, capfd, tmp_path):
    """Runs a tool in an empty folder -> (status, output, error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("I2SB_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(tool, *arguments):
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            tool.main()
        return stop.value.code, *capfd.readouterr()

    return run


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
    assert "i2sb-restore --workdir run" in out and "init_from=run" in out
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
        (quickstart.__file__, "blur-gauss-exact"),
    ],
)
def test_names_of_tasks(call, task, corruption):
    status, _, err = call(import_checkpoint, *IMPORT, "--task", task)
    assert (status, err) == (0, "")
    assert config_lib.load("run").corruption == corruption


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
        ((), ("--task",)),
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
    source = ("--source", "adm/adm.safetensors", "--workdir", "back", *OVERRIDES)
    status, out, _ = call(import_checkpoint, *source, "--task", "jpeg-5")
    assert status == 0 and "for tests" in out and "i2sb-restore" in out
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "back")]
    assert models[0] == models[1]


def test_push(call, tmp_path, monkeypatch):
    call(import_checkpoint, *IMPORT, "--task", "jpeg-5")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    arguments = ("--workdir", "run", "--output", "out", "--push")
    assert "i2sb_jax[hub]" in refused(call(export, *arguments, "ada/jpeg"))
    assert "use OWNER/NAME" in refused(call(export, *arguments, "jpeg"))
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "hub"))
    status, out, _ = call(export, *arguments, "ada/jpeg")
    assert status == 0 and "https://hub/ada/jpeg" in out
    assert (tmp_path / "hub/ada/jpeg/model.safetensors").exists()


def test_help(call):
    for tool, option in ((import_checkpoint, "--task"), (export, "--format")):
        status, out, _ = call(tool, "--help")
        assert status == 0 and option in out
