"""Prints every key of the configuration, its default and its meaning, as a page in Markdown.

python -m i2sb_jax.config > docs/keys.md
"""

import dataclasses
import inspect
from collections.abc import Iterator

from i2sb_jax.config.sections import Config

_HEAD = """\
# Every key

A run is these keys: `config.json` records them and `--config.KEY=VALUE` changes them. Choices stand
between bars. The page is printed by `python -m i2sb_jax.config` from the dataclasses of
`i2sb_jax/config/`.
"""


def page() -> str:
    """Returns the page: a table of the run's own keys, then one for each section."""
    sections = [field for field in dataclasses.fields(Config) if _is_section(field)]
    parts = [_HEAD, *table(Config, prefix="")]
    for section in sections:
        parts += ["", f"## {section.name}", "", *table(section.type, prefix=f"{section.name}.")]
    return "\n".join(parts) + "\n"


def table(cls: type, *, prefix: str) -> Iterator[str]:
    """Yields the lines about a section: its docstring, and a row for each of its own keys."""
    yield inspect.getdoc(cls).partition("\n\nAttributes:")[0]
    yield from ("", "| key | default | meaning |", "|---|---|---|")
    for field in dataclasses.fields(cls):
        if not _is_section(field):
            meaning = field.metadata["meaning"].replace("|", r"\|")
            yield f"| `{prefix}{field.name}` | `{field.default!r}` | {meaning} |"


def _is_section(field: dataclasses.Field) -> bool:
    return dataclasses.is_dataclass(field.type)


if __name__ == "__main__":
    print(page(), end="")
