"""The paper's tasks by name: the config file of each."""

import re

from etils import epath

from i2sb_jax import configs
from i2sb_jax.config import nearest

_CONFIGS = epath.Path(configs.__path__[0])
_TASKS = _CONFIGS / "imagenet256"


def base_file() -> epath.Path:
    """The config file of the defaults."""
    return _CONFIGS / "base.py"


def task_names() -> list[str]:
    """Those that have a config file of their own."""
    files = _TASKS.glob("*.py")  # among them what the tasks have in common
    return sorted(path.stem for path in files if "def get_config(" in path.read_text())


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
    for known in task_names():
        if known.replace("_", "") == plain:
            return _TASKS / f"{known}.py"
    raise ValueError(f"--task {name} is not known: {nearest(name, tuple(task_names()))}")
