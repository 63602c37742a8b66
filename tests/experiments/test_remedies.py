"""The recipes that the study of remedies compares are ones that training takes."""

import pathlib

import pytest

pytest.importorskip("skimage")

from experiments.remedies.__main__ import LEVELS, ROWS, TASKS
from i2sb_jax.cli import config_file
from i2sb_jax.configs import quickstart


@pytest.mark.parametrize("task", TASKS)
def test_every_row_is_a_configuration_and_differs_from_the_others(task):
    assert LEVELS[task]
    found = []
    for overrides in ROWS[task].values():
        flags = [f"--config.{key}={value}" for key, value in overrides.items()]
        path = pathlib.Path(quickstart.__file__)
        config, _ = config_file.parse(
            [f"--config={path}", *flags], program="test", needs_workdir=False
        )
        assert config.model.norm in ("none", "group")
        found.append(config)
    assert all(found.count(config) == 1 for config in found)
