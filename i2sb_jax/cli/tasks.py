"""The paper's tasks by name: the config file of each."""

import re

from etils import epath

from i2sb_jax import configs
from i2sb_jax.config import nearest
from i2sb_jax.configs.imagenet256 import TASKS

_CONFIGS = epath.Path(configs.__path__[0])


def base_file() -> epath.Path:
    """The config file of the defaults."""
    return _CONFIGS / "base.py"


def task_file(task: str) -> str:
    """The config file of a task, with its argument if there is one.

    Args:
        task: sr4x_pool or sr4x-pool, translation/edges2shoes, or a file; and :ARGUMENT after it.

    Returns:
        What --config takes.

    Raises:
        ValueError: there is no such task.
    """
    name, colon, argument = task.partition(":")
    return f"{_file(name).expanduser()}{colon}{argument}"


def _file(name: str) -> epath.Path:
    if name.endswith(".py"):
        return epath.Path(name)
    if "/" in name and (_CONFIGS / f"{name}.py").is_file():
        return _CONFIGS / f"{name}.py"
    plain = re.sub("[-_]", "", name)
    for known, file in TASKS.items():
        if known.replace("_", "") == plain:
            return _CONFIGS / "imagenet256" / file
    raise ValueError(f"--task {name} is not known: {nearest(name, tuple(TASKS))}")
