"""What an installation brings: metadata, the wheel's contents, the version check, import time."""

import configparser
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import i2sb_jax
from i2sb_jax import zoo

ROOT = pathlib.Path(__file__).parent.parent


def test_a_too_old_jax_fails_in_one_line():
    with pytest.raises(ImportError, match=r"^i2sb_jax needs jax >= 0.10, found 0.4.30: pip inst"):
        i2sb_jax._check_jax("0.4.30")
    for version in ("0.10.0", "0.12.0.1", "1.0.0"):
        i2sb_jax._check_jax(version)


def test_base_install_is_light_and_extras_are_there():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    base = setup["options"]["install_requires"]
    for heavy in ("tensorflow", "clu", "array_record", "scikit-image", "huggingface", "wandb"):
        assert heavy not in base
    extras = setup["options.extras_require"]
    named = {"train", "cuda12", "cuda13", "tpu", "hub", "wandb", "quickstart", "test"}
    assert named <= set(extras)
    for script in ("i2sb-train", "i2sb-import", "i2sb-export"):
        assert script in setup["options.entry_points"]["console_scripts"]


def test_the_wheel_carries_configs_and_types_and_no_tests(tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    source = tmp_path / "source"  # a copy: building leaves its traces
    for folder in ("i2sb_jax", "configs", "tests", "experiments"):
        shutil.copytree(ROOT / folder, source / folder)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    make = f"build_wheel({str(tmp_path)!r}); build_sdist({str(tmp_path)!r})"
    build = f"from setuptools.build_meta import build_sdist, build_wheel; {make}"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"configs/base.py", "configs/imagenet256/jpeg5.py", "i2sb_jax/py.typed"} <= names
    models = {
        f"i2sb_jax/zoo/{name}/{file}"
        for name in zoo.MODELS
        for file in ("model.safetensors", "config.json", "provenance.json", "README.md")
    }
    assert models <= names
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert models <= {name.partition("/")[2] for name in archive.getnames()}
    assert not [name for name in names if name.startswith(("tests", "experiments"))]


def test_bridge_and_models_do_not_import_tensorflow():
    script = "import sys, i2sb_jax.bridge, i2sb_jax.models; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert done.stdout.strip() == b"False"


def test_training_without_its_extra_is_one_line():
    script = "import sys; sys.modules['tensorflow'] = None; from i2sb_jax.cli.train import main"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; main()", "--workdir", "x"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pip install 'i2sb_jax[train]'" in done.stderr
