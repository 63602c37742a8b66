"""Fields of dataclasses that say what they mean: a key, its default and its meaning stand once."""

import dataclasses
import inspect
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


def field(default: Any, meaning: str) -> Any:
    """Returns a dataclass field with a default.

    Args:
        default: what it is where it is not given; immutable.
        meaning: what it does, with its unit and range, and its choices between bars: a phrase.
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning})


def required_field(meaning: str) -> Any:
    """Returns a dataclass field that has to be given."""
    return dataclasses.field(metadata={"meaning": meaning})


def path_field(meaning: str) -> Any:
    """Returns a field for a path, "" where there is none; `config.map_paths` finds it."""
    return dataclasses.field(default="", metadata={"meaning": meaning, "is_path": True})


def documented(cls: Class) -> Class:
    """Adds the meanings of a dataclass's fields to its docstring, for `help` and the reference."""
    lines = [
        f"    {field.name}: {field.metadata['meaning']}"
        for field in dataclasses.fields(cls)
        if "meaning" in field.metadata
    ]
    cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__), "", "Attributes:", *lines])
    return cls
