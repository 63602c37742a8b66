"""Reads a ml_collections config file, with overrides, from wherever it lies."""

import importlib.abc
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder

from absl import flags
from etils import epath
from ml_collections import config_flags

from i2sb_jax import configs
from i2sb_jax.cli import errors
from i2sb_jax.config import Config, check_key, from_config_dict, map_paths

_USAGE = "use --config FILE [--config.KEY=VALUE …] --workdir DIR"


def parse(
    arguments: Sequence[str], *, program: str, usage: str = _USAGE, needs_workdir: bool = True
) -> tuple[Config, str]:
    """Reads --config FILE, --config.KEY=VALUE overrides and --workdir DIR.

    Args:
        arguments: of the command line.
        program: the tool's name.
        usage: its options, for the line about a wrong one.
        needs_workdir: whether --workdir must be given; else it is "" where it is not.

    Returns:
        The validated configuration and the work directory, ~ expanded in all paths.

    Raises:
        ValueError: something is missing, unknown or out of range; one line.
    """
    # a shell leaves the ~ of --config=~/FILE to the program
    arguments = [re.sub("(?<=^--config=)~[^:]*", _expanded, each) for each in arguments]
    for path in _config_paths(arguments):
        if not path.is_file():
            raise ValueError(f"no config file {path}: --config names a Python file")
        _make_importable(path)
    if _former_name not in sys.meta_path:
        sys.meta_path.insert(0, _former_name)
    for argument in arguments:
        if override := re.match(r"--?config\.([\w.]+)", argument):
            check_key(override[1])
    values, argv = flags.FlagValues(), [program, *arguments]
    default = None if needs_workdir else ""
    flags.DEFINE_string("workdir", default, "The run's folder.", flag_values=values)
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)
        given = None if values.config is None else values.config.to_dict()
    except Exception as error:  # a config file is a program: it may raise anything
        raise ValueError(errors.in_config_file(error, usage)) from error
    if rest[1:]:
        raise ValueError(f"{rest[1]!r} is not an option: {usage}")
    for option, value in (("--config", given), ("--workdir", values.workdir)):
        if value is None:
            raise ValueError(f"{option} is missing: {usage}")
    config = map_paths(from_config_dict(given), lambda _, path: os.path.expanduser(path))
    return config, os.path.expanduser(values.workdir)


def _config_paths(arguments: Sequence[str]) -> list[epath.Path]:
    given = re.findall(r"(?:^|\0)--?config[=\0]([^\0:]+)", "\0".join(arguments))
    return [epath.Path(path) for path in given]


def _make_importable(path: epath.Path) -> None:
    """Lets a config import its own package, whatever folder the tool was started in."""
    root = path.absolute().parent
    while (root / "__init__.py").exists():
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


class _FormerName(importlib.abc.MetaPathFinder):
    """Finds `i2sb_jax.configs` as `configs`, its former name, which users' config files import."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Returns the package; None of other names, and where there is another such package."""
        del path, target
        if name != "configs":
            return None
        other = PathFinder.find_spec(name)
        if other is not None and other.origin is not None:
            return None
        beside = other.submodule_search_locations if other else []  # a folder without __init__.py
        (ours,) = configs.__path__
        return importlib.util.spec_from_file_location(
            name, f"{ours}/__init__.py", submodule_search_locations=[*beside, ours]
        )


_former_name = _FormerName()


def _expanded(path: re.Match) -> str:
    return os.path.expanduser(path[0])
