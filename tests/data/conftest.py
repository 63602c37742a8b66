"""The tool that the tests of this folder call."""

import sys

import pytest

from i2sb_jax.cli import prepare


@pytest.fixture
def run_prepare(monkeypatch):
    """i2sb-prepare as people call it -> its status."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["i2sb-prepare", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            prepare.main()
        return stop.value.code

    return run
