"""What a user gets wrong is answered by one line and status 2, and nothing is written or lost."""

import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import config as config_lib
from i2sb_jax import interop
from i2sb_jax.accelerators import topologies
from i2sb_jax.checkpoint import Checkpoints
from i2sb_jax.run import Run
from i2sb_jax.training import TrainState
from tests.training.tiny import make_config

pytest.importorskip("clu")
pytest.importorskip("ml_collections")
pytest.importorskip("skimage")

from i2sb_jax.cli import config_file, restore, train
from i2sb_jax.configs import small_adm

BIN = pathlib.Path(sys.executable).parent


@pytest.fixture(autouse=True)
def joined(monkeypatch):
    """JAX runs already in the process of these tests, too late to join others."""
    monkeypatch.setattr(train.processes, "join", lambda mode, heartbeat: None)


SMALL = ("--config", small_adm.__file__, "--workdir", "run")


def contents(folder):
    """Every path below a folder, with the bytes of files."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


def check_line(err, words):
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert all(word in lines[0] for word in words), lines[0]


@pytest.fixture
def refused(monkeypatch, capfd, tmp_path):
    """Runs a tool in an empty folder; it must refuse in one line that holds the given words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv("I2SB_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def check(tool, arguments, words):
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        before = contents(tmp_path)
        with pytest.raises(SystemExit) as stop:
            tool.main()
        out, err = capfd.readouterr()
        check_line(err, words)
        assert stop.value.code == 2 and out == ""
        assert contents(tmp_path) == before

    return check


@pytest.fixture
def hidden_gpu(monkeypatch):
    """A GPU in /dev, and a JAX that sees only the CPU."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(topologies.jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(
        topologies.glob, "glob", lambda pattern: ["/dev/nvidia0"] if "nvidia" in pattern else []
    )


def write_pictures(folder, *names):
    rng = np.random.default_rng(0)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 16, 3), np.uint8)).save(path)


@pytest.mark.parametrize(
    "override, words",
    [
        ("seeed=1", ("unknown config key 'seeed'", "did you mean 'seed'")),
        ("bridge.num_step=8", ("'bridge.num_step'", "did you mean 'num_steps'")),
        ("brige.num_steps=8", ("'brige'", "did you mean 'bridge'")),
        ("model.channel_mlt=1", ("'model.channel_mlt'", "did you mean 'channel_mult'")),
        ("corruption=blur-unif", ("unknown corruption 'blur-unif'", "did you mean 'blur-uni'")),
        ("corruption=jpg-10", ("unknown corruption 'jpg-10'", "did you mean 'jpeg-10'")),
        ("corruption=jpeg-0", ("'jpeg-0'", "1...100")),
        ("bridge.num_steps=999", ("bridge.num_steps=999", "even", "e.g. 1000")),
        ("bridge.num_steps=many", ("bridge.num_steps=many", "int")),
        ("sampling.nfe=0", ("sampling.nfe=0", "1…999")),
        ("sampling.nfe=1000", ("sampling.nfe=1000", "1…999")),
        ("image_size=63", ("image_size=63", "multiple of 2", "64")),
        ("training.batch_size=0", ("training.batch_size=0", "at least 1")),
        ("training.accumulation_steps=3", ("training.batch_size=4", "accumulation_steps=3")),
        ("optimizer.learning_rate=-1", ("optimizer.learning_rate=-1", "positive")),
        ("data.source=foldr", ("data.source='foldr'", "did you mean 'folder'")),
        ("data.source=folder", ("data.path=''", "directory of pictures")),
        ("mask_file=masks.npz", ("blur-gauss-exact takes no mask_file",)),
        ("training.init_from=nowhere", ("nowhere is neither a folder nor a shipped model",)),
    ],
)  # fmt: skip
def test_an_override(refused, override, words):
    refused(train, [*SMALL, f"--config.{override}"], words)


@pytest.mark.parametrize("name", ["jpeg-10", "mixture"])
def test_a_size_that_jpeg_cannot_block(refused, name):
    arguments = [*SMALL, f"--config.corruption={name}", "--config.image_size=72"]
    refused(train, arguments, (name, "multiple of 16", "72", "64 or 80"))


def test_a_size_that_the_network_cannot_halve(refused):
    overrides = ["--config.model.channel_mult=(1.0,1.0,1.0,1.0)", "--config.image_size=68"]
    refused(train, [*SMALL, *overrides], ("image_size=68", "multiple of 8", "e.g. 64"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), ("--config is missing", "--workdir DIR")),
        (SMALL[:2], ("--workdir is missing",)),
        (SMALL[2:], ("--config is missing",)),
        (("--config", "none.py", "--workdir", "run"), ("no config file none.py",)),
        (("--config=none.py", "--workdir=run"), ("no config file none.py",)),
        ((*SMALL, "--steps=3"), ("--steps is not an option", "--config.KEY=VALUE")),
        ((*SMALL, "more"), ("'more' is not an option",)),
        ((*SMALL, "--config"), ("--config",)),
    ],
)
def test_a_command_line(refused, arguments, words):
    refused(train, arguments, words)


OVERLAY = """
from i2sb_jax.configs import small_adm
def get_config():
    config = small_adm.get_config()
    {line}
    return config
"""


@pytest.mark.parametrize(
    "line, words",
    [
        ("config.bridge.num_step = 8", ("unknown config key 'num_step'", "'num_steps'")),
        ("config.brige.num_steps = 8", ("unknown config key 'brige'", "'bridge'")),
        ("config.zzz = 8", ("unknown config key 'zzz'", "python -m i2sb_jax.config")),
        ("config.update({'sede': 8})", ("unknown config key 'sede'", "'seed'")),
        ("config.bridge.num_steps = 999", ("bridge.num_steps=999", "even")),
        ("config.bridge.num_steps = 8.5", ("8.5", "int")),
        ("config.corruption = 'blur-unif'", ("'blur-unif'", "'blur-uni'")),
        ("import no_such_module", ("ModuleNotFoundError", "no_such_module")),
        ("1 / 0", ("ZeroDivisionError", "division by zero")),
        ("int('x')", ("invalid literal", "'x'")),
        ("open('no such file')", ("No such file", "no such file")),
        ("def", ("SyntaxError", "line 5")),
    ],
)
def test_a_config_file(refused, tmp_path, line, words):
    (tmp_path / "overlay.py").write_text(OVERLAY.format(line=line))
    refused(train, ["--config", "overlay.py", "--workdir", "run"], words)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"path": "none"}, ("none does not exist", "directory of pictures")),
        ({"path": "empty"}, ("no pictures in empty", ".png")),
        ({"path": "pictures/0.png"}, ("0.png is not a folder",)),
        ({"path": "pictures", "eval_path": "none"}, ("none does not exist",)),
        ({"path": "none", "eval_path": "pictures"}, ("none does not exist",)),
        ({"path": "pictures", "eval_path": "empty"}, ("no pictures in empty",)),
        ({"path": "empty", "eval_path": "pictures"}, ("no pictures in empty",)),
        ({"path": "pictures", "eval_fraction": 0.0}, ("data.eval_fraction=0.0", "0.02")),
        ({"path": "single"}, ("only 1 of the 2 pictures needed in single",)),
    ],
    ids=str,
)
def test_a_missing_or_empty_folder(refused, tmp_path, options, words):
    write_pictures(tmp_path / "pictures", "0.png", "1.png")
    (tmp_path / "empty").mkdir()
    write_pictures(tmp_path, "single/a.png")
    overrides = [f"--config.data.{key}={value}" for key, value in options.items()]
    refused(train, [*SMALL, "--config.data.source=folder", *overrides], words)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A folder with the small ADM's configuration and nothing else."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    config, _ = config_file.parse(SMALL, program="i2sb-train")
    config_lib.save(tmp_path / "run", config)
    return tmp_path / "run"


def test_a_workdir_of_another_run(refused, run_folder):
    overrides = ["--config.seed=3", "--config.model.norm_groups=8"]
    words = ("run holds another run", "seed is 0 there, 3 here", "4 there, 8 here", "workdir")
    refused(train, [*SMALL, *overrides], words)


def test_a_workdir_that_is_none(refused, tmp_path, run_folder):
    (run_folder / "config.json").write_text("{")
    refused(train, SMALL, ("run/config.json",))
    (run_folder / "config.json").unlink()
    run_folder.rmdir()
    run_folder.write_text("a file")
    refused(train, SMALL, ("run is a file",))


def save_other_state(workdir):
    """A checkpoint of a network with other shapes."""
    params = {"conv_in": {"kernel": jnp.zeros((3, 3, 3, 8))}}
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(4, TrainState(jnp.int32(4), params, params, {"mu": params}))


def test_a_checkpoint_of_another_shape(refused, run_folder):
    save_other_state(run_folder)
    words = ("checkpoint 4 in ", "run/checkpoints does not fit this config", "there", "here")
    refused(train, SMALL, words)


def test_initial_weights_of_another_shape(refused, tmp_path):
    params = {"conv_in": {"kernel": np.zeros((3, 3, 3, 8), np.float32)}}
    interop.save_safetensors(tmp_path / "other.safetensors", params)
    save_other_state(tmp_path / "other")
    (tmp_path / "text").write_text("no weights")
    for source, words in {
        "other.safetensors": ("other.safetensors does not fit this config",),
        "other": ("checkpoint 4 in ", "other/checkpoints does not fit this config"),
        "text": ("text is refused", "not safetensors", "i2sb-import"),
    }.items():
        refused(train, [*SMALL, f"--config.training.init_from={source}"], words)


def test_an_accelerator_that_jax_cannot_see(refused, hidden_gpu, model, tmp_path):
    words = ("an NVIDIA GPU", "/dev/nvidia0", "i2sb_jax[cuda12]", "JAX_PLATFORMS=cpu")
    refused(train, SMALL, words)
    write_pictures(tmp_path / "in", "a.png")
    refused(restore, ["--workdir", model, "--input", "in", "--output", "out"], words)


def test_a_batch_that_the_devices_cannot_share(tmp_path):
    """The installed tool, for the number of devices is fixed when JAX starts."""
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=3", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [BIN / "i2sb-train", *SMALL],
        cwd=tmp_path,
        env=os.environ | flags,
        capture_output=True,
        text=True,
    )
    check_line(result.stderr, ("training.batch_size=4", "multiple of 3", "3 devices", "e.g. 3"))
    assert result.returncode == 2 and result.stdout == "" and not list(tmp_path.iterdir())


def save_model(folder, **overrides):
    config = make_config(sampling={"sampler": "ode"}, **overrides)
    fresh = jax.eval_shape(Run(config).init_params, jax.random.key(0))
    params = jax.tree.map(lambda like: np.zeros(like.shape, like.dtype), fresh)
    interop.save_model(folder, config, params)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder of an OT-ODE."""
    folder = tmp_path_factory.mktemp("model")
    return save_model(folder, corruption="blur-uni", bridge={"deterministic": True})


@pytest.mark.parametrize(
    "options, words",
    [
        (("--nfe", "0"), ("nfe=0", "1…999")),
        (("--nfe", "1000"), ("nfe=1000", "1…999")),
        (("--nfe", "-1"), ("nfe=-1", "1…999")),
        (("--nfe", "ten"), ("--nfe", "'ten'")),
        (("--sampler", "oed"), ("sampler='oed'", "did you mean 'ode'")),
        (("--sampler", "ddpm"), ("sampler='ddpm'", "use 'ode'")),
        (("--step", "3"), ("--step", "i2sb-restore --help")),
        (("--seed", "-1"), ("seed=-1", "0…4294967295")),
        (("--realism", "-0.1"), ("realism=-0.1", "0 … 1")),
        (("--realism", "1.5"), ("realism=1.5", "0 … 1")),
        (("--realism", "nan"), ("realism=nan", "0 … 1")),
        (("--realism", "x"), ("--realism", "'x'")),
        (("--realism", "0.5", "--nfe", "1"), ("realism=0.5", "nfe=1", "leave it out")),
        (("--share", "--preview"), ("--preview is of one process",)),
        (("--share", "--input", "in/a.png", "--output", "b.png"), ("--output b.png, a file,",)),
        (("--side-by-side",), ("side_by_side is for runs that learnt",)),
        (("--input", "none"), ("none does not exist", "directory of pictures")),
        (("--input", "empty"), ("no pictures in empty",)),
        (("--input", "in/b.png"), ("in/b.png does not exist",)),
        (("--output", "in"), ("--output in lies in the input folder",)),
        (("--output", "empty/../in"), ("lies in the input folder",)),
        (("--output", "in/a.png"), ("in/a.png names a file, and in is a folder",)),
        (("--input", "twins"), ("a.jpg", "a.png", "would both be written to")),
        (("--input", "sheets", "--degrade"), ("the job's own comparison_sheet.png", "both")),
        (("--workdir", "in"), ("in is not a run's folder", "config.json")),
        (("--workdir", "none"), ("none is neither a folder nor a shipped", "jpeg, deblur")),
    ],
)
def test_restoring(refused, model, tmp_path, options, words):
    write_pictures(tmp_path, "in/a.png", "twins/a.png", "twins/a.jpg")
    write_pictures(tmp_path, "sheets/comparison_sheet.jpg")
    (tmp_path / "empty").mkdir()
    given = ["--workdir", model, "--input", "in", "--output", "out"]
    refused(restore, [*given, *options], words)


def test_restoring_without_arguments(refused):
    refused(restore, [], ("--input, --output",))


def test_a_run_without_or_with_other_weights(refused, tmp_path, run_folder):
    write_pictures(tmp_path, "in/a.png")
    given = ["--workdir", "run", "--input", "in", "--output", "out"]
    refused(restore, given, ("no checkpoint in ", "run/checkpoints: train first"))
    save_other_state(run_folder)
    refused(restore, given, ("checkpoint 4 in ", "run/checkpoints does not fit this config"))
    save_model(run_folder)
    config_lib.save(run_folder, make_config(model={"model_channels": 16}))
    refused(restore, given, ("model.safetensors does not fit this config",))


def test_a_config_outside_of_the_clone_imports_its_own_package(tmp_path, monkeypatch):
    package = tmp_path / "own_configs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "common.py").write_text("SEED = 7\n")
    (package / "run.py").write_text(
        "from configs import small_adm\n"
        "from own_configs.common import SEED\n"
        "def get_config():\n"
        "    config = small_adm.get_config()\n"
        "    config.seed = SEED\n"
        "    return config\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    path = os.path.relpath(package / "run.py", elsewhere)
    for given in (["--config", path], [f"--config={path}"]):
        arguments = [*given, "--workdir", "run", "--config.training.num_steps=5"]
        config, workdir = config_file.parse(arguments, program="i2sb-train")
        assert config.seed == 7 and config.training.num_steps == 5 and workdir == "run"
    assert list(elsewhere.iterdir()) == []


def test_the_traceback_is_there_for_whom_asks(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("I2SB_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["i2sb-train", *SMALL, "--config.seeed=1"])
    with pytest.raises(ValueError, match="seeed"):
        train.main()


def test_help(monkeypatch, capsys):
    for tool, option in ((train, "--workdir"), (restore, "--nfe")):
        monkeypatch.setattr(sys, "argv", ["tool", "--help"])
        with pytest.raises(SystemExit) as stop:
            tool.main()
        assert stop.value.code == 0
        assert re.search(rf"i2sb-\w+.*{option}", capsys.readouterr().out, re.DOTALL)
