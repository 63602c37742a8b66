"""One line for what is the user's to mend, and the whole error for what is not."""

import configparser
import pathlib
import re
import runpy
import sys

import jax
import pytest
from etils import epath

from i2sb_jax.cli import errors, export, startup
from i2sb_jax.types import NonFiniteError

CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a tool whose main function raises -> (status, error)."""
    monkeypatch.delenv("I2SB_TRACEBACK", raising=False)
    monkeypatch.setattr(sys, "argv", ["tool"])

    def call(error):
        def main(arguments):
            raise error

        with pytest.raises(SystemExit) as stop:
            startup.run(main)
        return stop.value.code, capsys.readouterr().err

    return call


def of_module(name, base=Exception):
    """An exception as a library would define it."""
    return type("StorageError", (base,), {"__module__": name})


@pytest.mark.parametrize(
    "error, line",
    [
        (ValueError("a\nb"), "error: a\n"),
        (OSError("full"), "error: full\n"),
        (ValueError(), "error: ValueError()\n"),
        (MemoryError(), "error: not enough memory: restore with a smaller --tile"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), "not enough memory"),
        (ModuleNotFoundError("No module named 'clu'"), "pip install 'i2sb_jax[train]'\n"),
        (ModuleNotFoundError("No module named 'wandb'"), "pip install 'i2sb_jax[wandb]'\n"),
        (ImportError("Please install gcsfs to access Google Storage"), "reaches gs://\n"),
        (ImportError("To use epath.Path with gs://, TensorFlow …"), "reaches gs://\n"),
        (ImportError("Install s3fs to access S3"), "error: Install s3fs to access S3\n"),
        (KeyError("foo://"), "no paths that begin with 'foo://'"),
        (of_module("gcsfs.retry")("Anonymous caller, 401"), "the bucket cannot be used: Anon"),
        (of_module("google.auth.exceptions")("no credentials"), "cannot be used: no cred"),
        (
            of_module("tensorflow.python.framework.errors_impl")("403\n when reading gs://b/x"),
            "error: the bucket cannot be used: 403 when reading gs://b/x\n",
        ),
        (ValueError("no \x1b[2Jfile \udcff"), "error: no ?[2Jfile ?\n"),
    ],
    ids=repr,
)
def test_one_line(run, monkeypatch, error, line):
    status, err = run(error)
    assert status == 2 and line in err and err.startswith("error: ") and err.count("\n") == 1
    monkeypatch.setenv("I2SB_TRACEBACK", "1")
    with pytest.raises(type(error)):
        startup.run(lambda _: (_ for _ in ()).throw(error))


def test_what_is_computed_and_not_finite_has_a_status_of_its_own(run):
    assert run(NonFiniteError("a.png: NaN")) == (3, "error: a.png: NaN\n")


def test_an_interrupt_says_how_to_go_on(run):
    status, err = run(KeyboardInterrupt())
    assert status == 130 and err == "stopped; the same command goes on from what was saved\n"


def test_programs_are_kept_where_the_environment_says_nothing(monkeypatch, tmp_path):
    before = {name: getattr(jax.config, name) for name in CACHE}
    for name in CACHE:
        monkeypatch.delenv(name.upper())
    monkeypatch.setenv("HOME", str(tmp_path))
    try:
        startup.prepare_jax()
        found = {name: getattr(jax.config, name) for name in CACHE}
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
    assert list(found.values()) == [f"{tmp_path}/.cache/i2sb_jax/compiled", 0.3]


@pytest.mark.parametrize(
    "error",
    [
        KeyError("key"),
        TypeError("x"),
        ImportError("cannot import name 'x'"),
        of_module("tensorflow.python.framework.errors_impl")("shapes differ"),
        of_module("googly")("x"),
    ],
    ids=repr,
)
def test_errors_of_the_program_are_shown_whole(monkeypatch, error):
    assert errors.users_line(error) is None
    monkeypatch.setattr(sys, "argv", ["tool"])
    with pytest.raises(type(error)):
        startup.run(lambda _: (_ for _ in ()).throw(error))


@pytest.mark.parametrize(
    "place, words",
    [
        ("gs://bucket/run", "pip install 'i2sb_jax[train]' reaches gs://"),
        ("foo://bucket/run", "no paths that begin with 'foo://'"),
    ],
)
def test_places_that_cannot_be_reached(monkeypatch, capsys, tmp_path, place, words):
    """What etils.epath really raises where nothing is installed that knows the place."""
    for package in ("tensorflow", "gcsfs"):
        monkeypatch.setitem(sys.modules, package, None)
    arguments = ("--workdir", place, "--output", str(tmp_path / "out"))
    monkeypatch.setattr(sys, "argv", ["i2sb-export", *arguments])
    with pytest.raises(SystemExit) as stop:
        export.main()
    err = capsys.readouterr().err
    assert stop.value.code == 2 and words in err and err.count("\n") == 1
    assert not epath.Path(tmp_path / "out").exists()


SCRIPTS = configparser.ConfigParser()
SCRIPTS.read(pathlib.Path(__file__).parents[2] / "setup.cfg")
MODULES = re.findall(
    r"= (i2sb_jax\.cli\.\w+):main", SCRIPTS["options.entry_points"]["console_scripts"]
)


@pytest.mark.parametrize("module", MODULES)
def test_a_tool_is_a_module_too(module, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [module, "--help"])
    monkeypatch.delitem(sys.modules, module, raising=False)  # else it is run twice over
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(module, run_name="__main__")
    assert not stop.value.code and "i2sb-" in capsys.readouterr().out
