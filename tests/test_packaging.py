"""What an installation brings: metadata, the wheel's contents, the version check, import time."""

import configparser
import os
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


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A wheel, a source distribution, an editable installation, and the copy they are made from."""
    pytest.importorskip("setuptools", minversion="77")
    root = tmp_path_factory.mktemp("built")
    source = root / "source"  # a copy: building leaves its traces
    for folder in ("i2sb_jax", "configs", "tests", "experiments"):
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=without)
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    build("editable", source, root)
    (editable,) = root.glob("*.whl")
    editable.rename(root / "editable.zip")
    build("wheel", source, root)
    build("sdist", source, root)
    return root


def build(kind, source, output):
    """What pip asks setuptools for."""
    program = f"from setuptools.build_meta import build_{kind} as f; f({os.fspath(output)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True)


def names_in(built):
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_carries_all_of_the_package_and_no_tests(built):
    """setup.cfg lists the packages, for configs/ lies elsewhere than where it is installed."""
    names = names_in(built)
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "i2sb_jax").rglob("*.py")}
    configs = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.py")}
    modules |= {f"i2sb_jax/{name}" for name in configs}
    models = {
        f"i2sb_jax/zoo/{name}/{file}"
        for name in zoo.MODELS
        for file in ("model.safetensors", "config.json", "provenance.json", "README.md")
    }
    assert {"i2sb_jax/py.typed", "i2sb_jax/configs/imagenet256/jpeg5.py"} <= names
    assert models <= names and {name for name in names if name.endswith(".py")} == modules
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert models | configs <= packed
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"i2sb_jax"}


def test_a_source_distribution_makes_the_same_wheel(built, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.glob("i2sb_jax-*")
    build("wheel", folder, tmp_path)
    assert names_in(tmp_path) == names_in(built)


CONFIG = """
from {package} import base, small_adm
from {package}.imagenet256 import recipe
def get_config():
    assert base.get_config() and recipe
    return small_adm.get_config()
"""
PARSE = """
import site, sys
site.addsitedir(sys.argv[1])
from i2sb_jax.cli import config_file, tasks
import i2sb_jax
def parse(file):
    given = [f"--config={file}", "--config.data.source=synthetic"]
    return config_file.parse(given, program="test", needs_workdir=False)[0].corruption
print(i2sb_jax.__file__)
print(parse(tasks.base_file()), parse(tasks.task_file("jpeg-5")), parse("new.py"))
print("of the former name:", file=sys.stderr)
print(parse("old.py"), parse("old.py"))
"""


@pytest.mark.parametrize("way", ["wheel", "editable", "checkout", "in the checkout"])
def test_configs_are_found(built, tmp_path, way):
    """However the package is installed: by the name they have, and by the one they had."""
    source, site = built / "source", tmp_path / "site"
    place = source if way == "in the checkout" else tmp_path
    for name, package in (("new", "i2sb_jax.configs"), ("old", "configs")):
        (place / f"{name}.py").write_text(CONFIG.format(package=package))
    if way in ("wheel", "editable"):
        (archive,) = built.glob("*.whl") if way == "wheel" else built.glob("*.zip")
        shutil.unpack_archive(archive, site, "zip")
    else:
        site = source
    done = subprocess.run(
        [sys.executable, "-c", PARSE, site],
        cwd=place,
        env=os.environ | {"PYTHONPATH": os.fspath(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        os.fspath((site if way == "wheel" else source) / "i2sb_jax" / "__init__.py"),
        "sr4x-pool jpeg-5 blur-gauss-exact",
        "blur-gauss-exact blur-gauss-exact",
    ]
    mark, *lines = done.stderr.splitlines()
    assert mark == "of the former name:" and len(lines) == 1
    assert lines[0].startswith("warning: write from i2sb_jax.configs import")


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
