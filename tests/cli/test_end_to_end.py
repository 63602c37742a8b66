"""The installed tools on real pictures: train, be killed, go on, restore."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow")
pytest.importorskip("skimage")

from i2sb_jax.cli import train as train_tool

BIN = pathlib.Path(sys.executable).parent
ENVIRONMENT = os.environ | {"JAX_PLATFORMS": "cpu"}

CONFIG = '''
"""A small run on one's own folder, in a package of its own."""

from i2sb_jax.configs import base
from mine.common import PICTURES


def get_config():
    config = base.get_config()
    config.corruption = "blur-gauss-exact"
    config.image_size = 16
    config.bridge.deterministic = True
    config.model.model_channels = 8
    config.model.channel_mult = (1.0,)
    config.model.num_res_blocks = 1
    config.model.attention_downsamples = ()
    config.model.head_channels = 8
    config.model.norm_groups = 4
    config.data.path = PICTURES
    config.data.crop = "window"
    config.data.eval_fraction = 0.25
    config.training.num_steps = 24
    config.training.batch_size = 2
    config.training.log_every = 1
    config.training.checkpoint_every = 5
    config.training.image_every = 24
    config.optimizer.learning_rate = 1e-3
    config.sampling.sampler = "ode"
    config.sampling.nfe = 1
    config.sampling.batch_size = 2
    return config
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder outside the clone: a config package, and quarters of real photographs."""
    root = tmp_path_factory.mktemp("project")
    (root / "mine").mkdir()
    (root / "mine" / "__init__.py").write_text("")
    (root / "mine" / "common.py").write_text(f"PICTURES = {os.fspath(root / 'pictures')!r}\n")
    (root / "mine" / "run.py").write_text(CONFIG)
    (root / "pictures").mkdir()
    from i2sb_jax.data import open_source
    from i2sb_jax.pictures import decode_rgb

    source = open_source("photos", split="eval")
    for index in range(len(source)):
        picture = decode_rgb(source.read(index).image)
        for corner in range(4):
            top, left = 96 * (corner // 2), 96 * (corner % 2)
            part = picture[top : top + 96, left : left + 96]
            Image.fromarray(part).save(root / "pictures" / f"{index}_{corner}.png")
    return root


def arguments(project, workdir):
    """Of the tool in this process, which is no group's."""
    config = "--config", project / "mine" / "run.py"
    return *config, "--workdir", workdir, "--config.distributed=off"


@pytest.fixture(scope="module")
def run(project):
    """An uninterrupted run, and what it printed."""
    process = subprocess.run(
        [BIN / "i2sb-train", "--config", "mine/run.py", "--workdir", project / "run"],
        cwd=project, env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return project / "run", process.stdout, process.stderr


def test_a_run_says_and_writes_what_it_does(run):
    workdir, out, err = run
    assert "down_0_0/conv_in/kernel" in out and "Total:" in out  # the parameter overview
    assert "blur-gauss-exact on folder at 16 px" in out
    assert "step 24/24" in err and "steps/s" in err and "left" in err
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 25))
    assert np.mean([x["loss"] for x in lines[-5:]]) < np.mean([x["loss"] for x in lines[:5]])
    assert list((workdir / "tensorboard").iterdir())
    assert (workdir / "images" / "step_00000024.png").exists()


# what the base install lacks
BLOCKED = ("tensorflow", "tensorflow_datasets", "clu", "array_record")
RESTORE_WITHOUT = f"""
import sys
for name in {BLOCKED!r}:
    sys.modules[name] = None
from i2sb_jax.cli.restore import main
main()
"""


def test_restoring_needs_nothing_but_the_base_install(project, run):
    workdir, *_ = run
    out = project / "restored"
    process = subprocess.run(
        [sys.executable, "-c", RESTORE_WITHOUT, "--workdir", os.fspath(workdir), "--input",
         "pictures", "--output", os.fspath(out), "--degrade", "--nfe", "2"],
        cwd=project, env=ENVIRONMENT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    for title in ("degraded", "brightness matching", "restored"):
        assert f"{title} " in process.stdout
    assert "PSNR" in process.stdout and "SSIM" in process.stdout
    assert "16 pictures restored" in process.stdout
    assert sorted(p.name for p in out.glob("[0-9]*.png")) == sorted(
        p.name for p in (project / "pictures").iterdir()
    )
    with Image.open(out / "0_0.png") as image:
        assert image.size == (16, 16) and image.mode == "RGB"


def test_a_second_start_lists_the_folder_from_its_index(project, run, complaints):
    workdir, *_ = run
    kept = {path: path.stat().st_mtime_ns for path in (workdir / "index").iterdir()}
    assert sorted(path.name[:7] for path in kept) == ["folder-", "picture"]
    assert complaints(train_tool, *arguments(project, workdir)) == (0, [])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_too_many_unreadable_pictures_stop_the_run_in_one_line(project, call, caplog):
    broken = project / "broken"
    shutil.copytree(project / "pictures", broken)
    for path in sorted(broken.iterdir())[:6]:
        path.write_bytes(path.read_bytes()[:100])
    status, _, err = call(
        train_tool, *arguments(project, "stopped"), f"--config.data.path={broken}",
        "--config.data.max_unreadable=2",
    )  # fmt: skip
    assert status == 2
    assert err.splitlines()[-1].startswith("error: 3 pictures are unreadable")
    assert "data.max_unreadable=2" in err and "Traceback" not in err
    assert caplog.text.count("is replaced by the next one") == 3
