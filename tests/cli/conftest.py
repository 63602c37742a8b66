"""What tests of the command lines share."""

import sys

import pytest

from tests.cli import runs


@pytest.fixture(autouse=True)
def nothing_is_left_running():
    yield
    for process in runs.STARTED:
        if process.poll() is None:
            process.kill()
            process.communicate()
    runs.STARTED.clear()


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


@pytest.fixture
def complaints(call):
    """Runs a tool in an empty folder -> (status, the lines of its errors)."""

    def run(tool, *arguments):
        status, _, error = call(tool, *arguments)
        lines = error.splitlines()
        return status, [line for line in lines if line.startswith(("error", "warning"))]

    return run
