"""The list of a folder's results and their inputs: beside restore.json, a line for each.

Only what is listed is a result. A line comes before its files and says which they will be; a second
one comes when they are there, with the sizes and times of the picture and its mask, so that a job
that is stopped anywhere leaves nothing that looks finished, or like somebody else's.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from etils import epath

from i2sb_jax import files

RESULTS = "restore.results.jsonl"

# path of a picture or a mask -> its size in bytes and the time of its last change
Stamp: TypeAlias = Mapping[str, tuple[int, int]]


def stamp_of(paths: Iterable[epath.Path]) -> Stamp:
    """Sizes and times of files, which are others once they have changed.

    Raises:
        OSError: one of them is gone.
    """
    return {files.real_path(path): files.size_and_time(path) for path in paths}


def entry_of(names: list[str], made_of: Stamp | None, *, tile: int | None = None) -> dict[str, Any]:
    """Returns what the list says of files.

    Args:
        names: their paths from the folder.
        made_of: the stamp of the picture and its mask; None before they are there.
        tile: side of the windows where memory made it smaller than the settings say.
    """
    return {"files": names, "made_of": made_of} | ({} if tile is None else {"tile": tile})


class ResultsList:
    """The list of a folder.

    Attributes:
        exists: whether the folder has one; one that was made before there were lists has not.
    """

    def __init__(self, folder: epath.Path):
        """Reads the list of `folder`; a line that a stopped job left unfinished is none."""
        self._folder, self._file = folder, folder / RESULTS
        self._seen = self._size_and_time()  # before it is read: what comes later shows
        self.exists = self._seen is not None
        self._made: dict[str, Any] = {}  # path from the folder -> stamp; None: not finished
        self._lines: list[str] = []
        for line in self._file.read_text().splitlines() if self.exists else ():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._note(line)

    def __contains__(self, name: str) -> bool:
        """Whether a file, by its path from the folder, is one that a job has written or begun."""
        return name in self._made

    def made_of(self, name: str) -> Any:
        """The stamp of what a file was made of, as JSON has it; None if it is not finished."""
        return self._made.get(name)

    def clear(self) -> None:
        """Begins anew, with an empty list."""
        self._made, self._lines = {}, []
        files.write_atomically(self._file, b"")
        self.exists = True

    def add(self, names: list[str], made_of: Stamp | None, *, tile: int | None = None) -> None:
        """Notes files; the arguments are those of `entry_of`."""
        line = json.dumps(entry_of(names, made_of, tile=tile))
        self._note(line)
        if files.is_remote(self._file):  # what lies in a bucket cannot be added to
            self._write()
        else:
            with self._file.open("ab") as file:
                file.write(f"{line}\n".encode("utf-8", "surrogateescape"))
        self.exists = True

    def extend(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Notes finished results, as `entry_of` tells of them, all at once."""
        for entry in entries:
            self._note(json.dumps(entry))
        self._write()
        self.exists = True

    def renewed(self) -> "ResultsList":
        """Returns the list as it is now, where other processes may have written it."""
        return self if self._size_and_time() == self._seen else ResultsList(self._folder)

    def _note(self, line: str) -> None:
        entry = json.loads(line)
        self._made.update(dict.fromkeys(entry["files"], entry["made_of"]))
        self._lines.append(line)

    def _write(self) -> None:
        text = "".join(f"{line}\n" for line in self._lines)
        files.write_atomically(self._file, text.encode("utf-8", "surrogateescape"))

    def _size_and_time(self) -> tuple[int, int] | None:
        try:
            with self._file.open("rb"):  # until then NFS tells what it remembers
                return files.size_and_time(self._file)
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Takes the list away."""
        self._file.unlink(missing_ok=True)


def is_same(made_of: Any, stamp: Stamp) -> bool:
    """Whether a stamp of the list is that of files as they are now."""
    return made_of == json.loads(json.dumps(stamp))
