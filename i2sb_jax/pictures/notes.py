"""Says what files hold that is not read or kept: once a kind, however many files there are."""

import dataclasses
import re
import threading
from collections.abc import Callable


@dataclasses.dataclass
class _Kind:
    first: str
    note: str
    others: set[str] = dataclasses.field(default_factory=set)
    is_counted: bool = False


class Notes:
    """Says of each kind of note its first file, and later how many others there are.

    Notes that differ in their numbers alone are of one kind. Any thread may tell.
    """

    def __init__(self, say: Callable[[str], None]):
        """Begins with nothing said; `say` takes each line."""
        self._say = say
        self._kinds: dict[str, _Kind] = {}
        self._lock = threading.Lock()

    def tell(self, name: str, note: str) -> None:
        """Takes a note.

        Args:
            name: of the file.
            note: words that go on from its name, as `Picture.notes`.
        """
        key = re.sub(r"\d+", "", note)
        with self._lock:
            kind = self._kinds.get(key)
            if kind is None:
                self._kinds[key] = _Kind(name, note)
            elif name != kind.first and not kind.is_counted:
                kind.others.add(name)
        if kind is None:
            self._say(f"note: {name} {note}")

    def finish(self) -> None:
        """Says once how many more files each note is true of; what is told later is not counted."""
        with self._lock:
            counted = [kind for kind in self._kinds.values() if not kind.is_counted]
            for kind in counted:
                kind.is_counted = True
        for kind in counted:
            if kind.others:
                more = "1 more" if len(kind.others) == 1 else f"{len(kind.others)} more"
                self._say(f"note: {more} as {kind.first}, which {kind.note}")
