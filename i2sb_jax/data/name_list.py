"""Lists of pictures to evaluate on: which, and in which order.

The 10,000 pictures of I²SB's evaluation and Palette's subset are such lists of ImageNet's
validation set: one name a line, some with a label. They were written on other disks, so a name need
not match to the letter: `n01440764/ILSVRC2012_val_00000293.JPEG` is the picture that is called
`ILSVRC2012_val_00000293.png` here.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from i2sb_jax.data.record import Record, Source
from i2sb_jax.files import decode_text

_LINE = re.compile(r"(?P<name>.*?)(?:\s+(?P<label>-?\d+))?")
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,4}$")  # .JPEG and .jp2, but not the end of "patch.12"
_SHOWN = 3  # names in an error line


class Entry(NamedTuple):
    """A line of a list: a picture's name, and its label or None."""

    name: str
    label: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListedSource:
    """The pictures of a source that a list names, in the list's order.

    Attributes:
        source: the whole.
        indices: numbers in `source`.
        labels: those of the list; None where it has none, and then the source's own counts.
    """

    source: Source
    indices: Sequence[int]
    labels: Sequence[int | None]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def names(self) -> Sequence[str]:
        names = self.source.names
        return tuple(names[index] for index in self.indices)

    def read(self, index: int) -> Record:
        record, label = self.source.read(self.indices[index]), self.labels[index]
        return record if label is None else dataclasses.replace(record, label=label)


def read_name_list(path: epath.PathLike) -> list[Entry]:
    """Reads a list: a name a line, then, if there is one, white space and an integer label.

    Of UTF-8, or of UTF-16 with a byte-order mark.

    Raises:
        ValueError: the file is missing, is no text, or names nothing.
    """
    file = epath.Path(path).expanduser()
    try:
        lines = [line.strip() for line in decode_text(file.read_bytes()).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(f"data.eval_list={str(path)!r} cannot be read: {reason}") from None
    found = [_LINE.fullmatch(line) for line in lines if line]
    if not found:
        raise ValueError(f"data.eval_list={str(path)!r} names no picture")
    return [Entry(m["name"], int(m["label"]) if m["label"] else None) for m in found]


def listed(source: Source, entries: Sequence[Entry], *, origin: str) -> ListedSource:
    """The pictures of `source` that a list names.

    A name is looked for as it is; failing that without its suffix, and then without its folders.

    Args:
        source: the pictures for evaluation.
        entries: of the list.
        origin: the list's path, for error lines.

    Raises:
        ValueError: names that are not there, fit several pictures, or come twice; one line that
            gives the first few.
    """
    tables: list[dict[str, list[int]]] = [{} for _ in _FORMS]
    for number, name in enumerate(source.names):
        for form, table in zip(_FORMS, tables, strict=True):
            table.setdefault(form(name), []).append(number)

    def fitting(name: str) -> list[int]:
        found = (table.get(form(name)) for form, table in zip(_FORMS, tables, strict=True))
        return next((numbers for numbers in found if numbers), [])

    fits = [fitting(entry.name) for entry in entries]
    for count, what in ((0, "are not among the pictures"), (2, "fit several of the pictures")):
        wrong = [e.name for e, fit in zip(entries, fits, strict=True) if min(len(fit), 2) == count]
        if wrong:
            raise ValueError(
                f"{len(wrong)} of the {len(entries)} names of data.eval_list={origin!r} {what} "
                f"held out for evaluation: {shorten(wrong)}"
            )
    indices = [number for (number,) in fits]
    seen: set[int] = set()
    twice = [e.name for e, i in zip(entries, indices, strict=True) if i in seen or seen.add(i)]
    if twice:
        raise ValueError(f"data.eval_list={origin!r} names pictures twice: {shorten(twice)}")
    return ListedSource(source=source, indices=indices, labels=[entry.label for entry in entries])


def shorten(names: Sequence[str], *, shown: int = _SHOWN) -> str:
    """The first few of some names, for a line that stays readable."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def without_suffix(name: str) -> str:
    """A picture's name without .png and the like."""
    return _SUFFIX.sub("", name)


def _bare(name: str) -> str:
    return without_suffix(name.rpartition("/")[2])


# what two names may have in common to be one picture's, the surest first
_FORMS = (str, without_suffix, _bare)
