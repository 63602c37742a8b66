"""Reading a ml_collections config file, with overrides, from wherever it lies."""

import difflib
import re
import sys
from collections.abc import Sequence

from absl import flags
from etils import epath
from ml_collections import config_flags

from i2sb_jax.config import Config, from_config_dict


def parse(arguments: Sequence[str], *, program: str) -> tuple[Config, str]:
    """Reads --config FILE, --config.KEY=VALUE overrides and --workdir DIR.

    Args:
        arguments: of the command line.
        program: the tool's name.

    Returns:
        The validated configuration and the work directory.

    Raises:
        ValueError: something is missing, unknown or out of range; one line.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "The run's folder.", flag_values=values)
    argv = [program, *arguments]
    for path in _config_paths(arguments):
        _make_importable(path)
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)
        loaded = values.config
    except (flags.Error, AttributeError, KeyError, TypeError) as error:
        raise ValueError(_explain(error, values)) from error
    except FileNotFoundError as error:
        raise ValueError(f"no config file {error.filename}") from None
    if rest[1:]:
        raise ValueError(f"{rest[1]!r} is not an option: use --config FILE --workdir DIR")
    if loaded is None or values.workdir is None:
        missing = "--config FILE" if loaded is None else "--workdir DIR"
        raise ValueError(f"{missing} is missing: {program} --config FILE --workdir DIR")
    return from_config_dict(loaded.to_dict()), values.workdir


def _config_paths(arguments: Sequence[str]) -> list[epath.Path]:
    given = [a.partition("=")[2] for a in arguments if a.startswith(("--config=", "-config="))]
    given += [b for a, b in zip(arguments, arguments[1:], strict=False) if a == "--config"]
    return [epath.Path(path.partition(":")[0]) for path in given]


def _make_importable(path: epath.Path) -> None:
    """Lets a config import its own package, whatever folder the tool was started in."""
    root = path.expanduser().absolute().parent
    while (root / "__init__.py").exists():
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))


def _explain(error: Exception, values: flags.FlagValues) -> str:
    """The error in one line, with the nearest key where one was misspelt."""
    text = " ".join(str(error).split())
    unknown = re.search(r"['\"](?:config\.)?([\w.]+)['\"]", text)
    keys = _keys(values["config"].value) if values["config"].value is not None else []
    if unknown and keys and unknown[1] not in keys:
        close = difflib.get_close_matches(unknown[1], keys, n=1, cutoff=0.5)
        hint = f": did you mean {close[0]!r}?" if close else ""
        return f"unknown config key {unknown[1]!r}{hint}"
    return text


def _keys(config, prefix: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        found.append(prefix + key)
        if hasattr(value, "items"):
            found += _keys(value, f"{prefix}{key}.")
    return found
