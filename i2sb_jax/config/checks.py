"""Checks of single values, each raising one line that names the key and the value."""

import difflib


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
