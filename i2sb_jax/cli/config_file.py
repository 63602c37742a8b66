"""Reads a ml_collections config file, with overrides, from wherever it lies."""

import os
import re
import sys
from collections.abc import Sequence

from absl import flags
from etils import epath
from ml_collections import config_flags

from i2sb_jax.config import Config, check_key, from_config_dict

_USAGE = "use --config FILE [--config.KEY=VALUE …] --workdir DIR"


def parse(arguments: Sequence[str], *, program: str, usage: str = _USAGE) -> tuple[Config, str]:
    """Reads --config FILE, --config.KEY=VALUE overrides and --workdir DIR.

    Args:
        arguments: of the command line.
        program: the tool's name.
        usage: its options, for the line about a wrong one.

    Returns:
        The validated configuration and the work directory.

    Raises:
        ValueError: something is missing, unknown or out of range; one line.
    """
    for path in _config_paths(arguments):
        if not path.is_file():
            raise ValueError(f"no config file {path}: --config names a Python file")
        _make_importable(path)
    for argument in arguments:
        if override := re.match(r"--?config\.([\w.]+)", argument):
            check_key(override[1])
    values, argv = flags.FlagValues(), [program, *arguments]
    flags.DEFINE_string("workdir", None, "The run's folder.", flag_values=values)
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)
        given = None if values.config is None else values.config.to_dict()
    except Exception as error:  # a config file is a program: it may raise anything
        raise ValueError(_explain(error, usage)) from error
    if rest[1:]:
        raise ValueError(f"{rest[1]!r} is not an option: {usage}")
    for option, value in (("--config", given), ("--workdir", values.workdir)):
        if value is None:
            raise ValueError(f"{option} is missing: {usage}")
    return from_config_dict(given), os.path.expanduser(values.workdir)


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


def _explain(error: Exception, usage: str) -> str:
    """The error in one line, with the nearest key where a config file misspelt one."""
    text = str(error)
    if misspelt := re.search(r'Did you mean "(\w+)" instead of "(\w+)"', text):
        return f"unknown config key {misspelt[2]!r}: did you mean {misspelt[1]!r}?"
    if unknown := re.search(r'Key "(\w+)" does not exist', text):
        return f"unknown config key {unknown[1]!r}: configs/base.py has all there are"
    if isinstance(error, flags.UnrecognizedFlagError):
        return f"--{error.flagname} is not an option: {usage}"
    if "Traceback" in text:  # ml_collections quotes it; its last line is the error
        text = text.strip().splitlines()[-1]
    kind = "" if isinstance(error, flags.Error) else f"{type(error).__name__} in the config file: "
    return kind + " ".join(text.split())
