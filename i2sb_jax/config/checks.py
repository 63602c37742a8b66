"""Checks of single values, each raising one line that names the key and the value."""

import difflib
import re

LONGEST = 4096  # characters of a text, as of a path on Linux
_SHOWN = 80
# what moves a terminal's cursor, begins a line, or turns the direction in which text is read
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]")


def check_text(key: str, value: str, *, longest: int = LONGEST) -> None:
    """Raises ValueError unless `value` can be shown: on one line, short, without control codes."""
    if len(value) > longest or _CONTROLS.search(value):
        shown = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
        raise ValueError(
            f"{key}={shown!r} must be one line of at most {longest} characters, without control "
            "codes"
        )


def nearest(value: str, choices: tuple[str, ...]) -> str:
    """The tail of an error line: the choice most like `value`, and all of them."""
    close = difflib.get_close_matches(value, choices, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}(choices: {', '.join(choices)})"


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{key}={value!r} is not known: {nearest(value, choices)}")


def check_at_least(key: str, value: float, least: float) -> None:
    """Raises ValueError where `value` is less than `least`."""
    if value < least:
        raise ValueError(f"{key}={value!r} must be at least {least}")


def check_within(key: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value < high."""
    if not low <= value < high:
        raise ValueError(f"{key}={value!r} must lie in [{low}, {high})")


def check_at_most(key: str, value: float, most: float, *, reason: str) -> None:
    """Raises ValueError where `value` is more than `most`; `reason` says what limits it."""
    if value > most:
        raise ValueError(f"{key}={value!r} must be at most {most}: {reason}")
