"""From a plain mapping to the configuration and back: the second gate."""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from typing import Any

from i2sb_jax.config.checks import check_text, nearest
from i2sb_jax.config.sections import Config

_ALL_KEYS = "python -m i2sb_jax.config lists all"


def from_config_dict(values: Mapping[str, Any]) -> Config:
    """Builds the configuration from a plain nested mapping.

    Args:
        values: what `configs/base.py` returns, as `to_dict()`, or a run's `config.json`.

    Returns:
        The validated configuration.

    Raises:
        ValueError: an unknown or missing key, a value of another type, or one out of range; one
            line that names it.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"a configuration is a mapping, not {values!r}")
    return _build(Config, values, prefix="")


def defaults(section: type = Config) -> dict[str, Any]:
    """Returns every key with its default, in nested dicts: what a config file starts from."""
    return {
        field.name: defaults(field.type) if dataclasses.is_dataclass(field.type) else field.default
        for field in dataclasses.fields(section)
    }


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as JSON-ready nested dicts; the inverse of `from_config_dict`."""
    return dataclasses.asdict(config)


def map_paths(config: Config, change: Callable[[str, str], str]) -> Config:
    """The configuration with other paths.

    Args:
        config: any.
        change: gets the key, such as "data.path", and the path; returns the new one. It is not
            asked where no path is given.

    Returns:
        The validated configuration.
    """
    return _map_paths(config, change, prefix="")


def _map_paths(section, change: Callable[[str, str], str], *, prefix: str):
    changed = {}
    for field in dataclasses.fields(section):
        key, value = prefix + field.name, getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            changed[field.name] = _map_paths(value, change, prefix=f"{key}.")
        elif "is_path" in field.metadata and value:
            changed[field.name] = change(key, value)
    return dataclasses.replace(section, **changed)


def check_key(key: str) -> None:
    """Raises ValueError unless `key`, such as "bridge.num_steps", is one of the configuration's."""
    kind, prefix = Config, ""
    for name in key.split("."):
        fields = _kinds(kind)
        _check_known(name, fields, prefix=prefix)
        kind, prefix = fields[name], f"{prefix}{name}."


def _kinds(cls) -> dict[str, Any]:
    """Name -> annotated type of a section's keys; a plain value has none."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return {field.name: field.type for field in fields}


def _check_known(name: str, fields: Mapping[str, Any], *, prefix: str) -> None:
    if name not in fields:
        raise ValueError(f"unknown config key {prefix + name!r}: {nearest(name, tuple(fields))}")


def _build(cls, values: Mapping[str, Any], *, prefix: str):
    fields = _kinds(cls)
    for name in values:
        _check_known(name, fields, prefix=prefix)
    missing = sorted(set(fields) - set(values))
    if missing:
        raise ValueError(f"config key {prefix + missing[0]!r} is missing; {_ALL_KEYS}")
    built = {}
    for name, kind in fields.items():
        value = values[name]
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise ValueError(f"config key {prefix + name}={value!r} must be a section")
            built[name] = _build(kind, value, prefix=f"{prefix}{name}.")
        else:
            built[name] = _typed(prefix + name, value, kind)
    return cls(**built)


def _typed(key: str, value: Any, kind: Any) -> Any:
    """`value` if it is of the annotated type; ints serve as floats, lists as tuples."""
    if isinstance(kind, types.GenericAlias):
        element = kind.__args__[0]
        if not isinstance(value, list | tuple):
            raise ValueError(f"config key {key}={value!r} must be a sequence")
        return tuple(_typed(f"{key}[{i}]", item, element) for i, item in enumerate(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ValueError(f"config key {key} is a number too large for a float") from None
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"config key {key}={value!r} must be of type {kind.__name__}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"config key {key}={value!r} must be a finite number")
    if kind is str:
        check_text(f"config key {key}", value)
    return value


def flatten(values: Mapping[str, Any], *, separator: str = ".") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by `separator`."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = flatten(value, separator=separator)
            flat |= {f"{key}{separator}{name}": item for name, item in inner.items()}
        else:
            flat[key] = value
    return flat
