"""What tests of the command lines share."""

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
