"""The check of a choice by its name, which several modules here offer."""


def check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises ValueError, in one line that names them all, unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{key}={value!r} is not known: choose of {', '.join(choices)}")
