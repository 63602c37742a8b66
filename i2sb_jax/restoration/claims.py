"""Claims of processes that restore one folder together, each by itself and joining no group.

The folder of results has, until all is done,

    .claims/open        says that it is shared, to whoever comes without having been told
    .claims/OWNER       a process's beat: other bytes three times a lease
    .claims/PICTURE-N   the N-th claim to a picture, and later what came of it

A claim is written by the process that was the first to write it, and by no other. One whose owner's
beat has not changed for a lease, by the clock of the process that looks, or is gone, is lost: the
next number is free. Nothing is told by lists of files, which buckets may give late, nor by the
clocks of other machines. Where two restore a picture nevertheless (a machine that slept, two claims
to a bucket at the same moment) both write the same bytes: that is waste and no harm.
"""

import contextlib
import enum
import hashlib
import itertools
import json
import os
import random
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from etils import epath

from i2sb_jax import files
from i2sb_jax.accelerators.processes import Place
from i2sb_jax.restoration.results_list import Stamp, is_same

FOLDER = ".claims"
LEASE = 60.0  # seconds
_OPEN, _SOMEBODY = "open", "somebody"
_NOBODY = "nobody"  # has no beat
_CLAIM = re.compile(r"[0-9a-f]{32}-\d+")
_BEATS = 3  # of a lease
_LOOKS = 30  # of a lease, at what others hold


class Taken(enum.Enum):
    """Answers to a process that wants to restore a picture."""

    MINE = enum.auto()
    HELD = enum.auto()  # another process is at it
    DONE = enum.auto()  # by another process
    FAILED = enum.auto()


class Claims:
    """One process's view of a shared folder; as a context manager it takes part.

    Attributes:
        owner: the process's name: host, number, and what tells it from those before it.
        done: name -> entry of `results_list`, of pictures that are known to be finished.
        holders: name -> owner, of pictures that were held by others when last looked at.
        failures: name -> why a picture cannot be restored, as another process found.
    """

    def __init__(
        self,
        output: epath.PathLike,
        place: Place,
        *,
        lease: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Writes nothing yet.

        Args:
            output: the folder of results.
            place: among the processes, if somebody counted them.
            lease: seconds; `LEASE` if None.
            clock: seconds, of this process alone.
        """
        host = re.sub(r"[^\w.-]", "-", socket.gethostname())
        self.owner = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.done: dict[str, Any] = {}
        self.holders: dict[str, str] = {}
        self._folder, self._place = epath.Path(output) / FOLDER, place
        self._lease, self._clock = LEASE if lease is None else lease, clock
        self._mine: dict[str, epath.Path] = {}
        self.failures: dict[str, str] = {}
        self._first: dict[str, int] = {}  # the first claim to a picture that still counts
        self._seen: dict[epath.Path, tuple[bytes, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on_beating, daemon=True)

    def __enter__(self) -> "Claims":
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Lets go of what is not finished: others need not wait for a lease."""
        self._stop()
        with contextlib.suppress(Exception):
            self._beat_file.unlink(missing_ok=True)

    def in_turn(self, names: Sequence[str]) -> Iterator[str]:
        """Each name once, from where this process begins, which is elsewhere for others.

        Where a picture turns out to be another's it goes on anywhere, and not beside the other.
        """
        draw = random.Random(self.owner)
        index, count = self._place
        if index is None or count is None:
            index, count = draw.random(), 1
        at, is_left = int(len(names) * index / count), bytearray(b"1" * len(names))
        for _ in names:
            after = is_left.find(b"1", at)
            at = after if after >= 0 else is_left.find(b"1")
            is_left[at] = 0
            yield names[at]
            if names[at] in self.holders:
                at = draw.randrange(len(names))

    def is_done(self, name: str, stamp: Stamp) -> bool:
        """Whether somebody has noted a result of a picture and its mask as they are now."""
        for number in itertools.count():
            if (data := files.read_if_there(self._file(name, number))) is None:
                return False
            record = _parsed(data)
            if _is_result(record) and is_same(record["made_of"], stamp):
                self._note(name, record)
                return True

    def is_known(self, name: str) -> bool:
        """Whether anybody has claimed a picture, so that files of its result are ours."""
        return files.read_if_there(self._file(name, 0)) is not None

    def has_company(self) -> bool:
        """Whether another process is at work, or was lost; one that has just begun may not show."""
        if not self._folder.exists():  # the last one has gone
            return False
        names = {path.name for path in self._folder.iterdir()} - {_OPEN, self.owner}
        return any(not _CLAIM.fullmatch(name) and not name.startswith(".") for name in names)

    def take(self, name: str, stamp: Stamp, *, is_made: bool) -> Taken:
        """Claims a picture, unless another process has it, or had.

        What is noted of it is believed, but for what is found at the first look and was made of
        something else, or is gone: that is restored again.

        Args:
            name: of the picture.
            stamp: of the picture and its mask.
            is_made: whether its result is there.
        """
        is_first_look = name not in self._first
        self.holders.pop(name, None)
        for number in itertools.count(self._first.setdefault(name, 0)):
            file = self._file(name, number)
            if (data := files.read_if_there(file)) is None:
                if not files.write_new(file, self._record(name, {})):
                    self.holders[name] = _SOMEBODY
                    return Taken.HELD
                self._mine[name] = file
                return Taken.MINE
            record = _parsed(data)
            if "made_of" in record:
                gone = _is_result(record) and not is_made
                if not is_first_look or (is_same(record["made_of"], stamp) and not gone):
                    if _is_result(record):
                        self._note(name, record)
                        return Taken.DONE
                    self.failures[name] = record["failed"]
                    return Taken.FAILED
                self._first[name] = number + 1
            elif record.get("owner") == self.owner:
                self._mine[name] = file
                return Taken.MINE
            elif not self._is_lost(file, data, record.get("owner")):
                self.holders[name] = record.get("owner", _SOMEBODY)
                return Taken.HELD

    def finish(self, name: str, entry: dict[str, Any]) -> None:
        """Notes that the result of a picture of this process is there; `entry` is of the list."""
        self.done[name] = entry
        files.write_atomically(self._mine[name], self._record(name, entry))

    def fail(self, name: str, stamp: Stamp, reason: str) -> None:
        """Notes that a picture cannot be restored, so that no other process tries."""
        if name in self._mine and not _is_result(self._read_mine(name)):
            record = self._record(name, {"made_of": stamp, "failed": reason})
            files.write_atomically(self._mine[name], record)

    def release(self, name: str) -> None:
        """Lets another process try a picture that this one could not restore."""
        if name in self._mine and not _is_result(self._read_mine(name)):
            record = json.dumps({"picture": name, "owner": _NOBODY}).encode()
            files.write_atomically(self._mine[name], record)

    def wait(self) -> None:
        """Waits a little for others."""
        time.sleep(self._lease / _LOOKS)

    def sweep(self, names: Collection[str]) -> None:
        """Takes away the claims to pictures for which nothing is left to do.

        Who still looks finds the list of results. The folder goes with the last claim: another
        process may be at pictures of which this one was not told.
        """
        self._stop()
        with contextlib.suppress(Exception):  # what stays is no harm
            mine = {_digest(name) for name in names}
            for digest in mine:  # lists may not show the newest
                for number in itertools.count():
                    file = self._folder / f"{digest}-{number}"
                    if files.read_if_there(file) is None:
                        break
                    file.unlink(missing_ok=True)
            self._beat_file.unlink(missing_ok=True)
            found = [path for path in self._folder.iterdir() if _CLAIM.fullmatch(path.name)]
            others = [path for path in found if path.name.rpartition("-")[0] not in mine]
            # one by one, since others are sweeping too
            for file in {*found} - {*others}:
                file.unlink(missing_ok=True)
            if not others:
                for file in (self._folder / _OPEN, *self._folder.iterdir()):
                    file.unlink(missing_ok=True)
                self._folder.rmtree(missing_ok=True)

    @property
    def _beat_file(self) -> epath.Path:
        return self._folder / self.owner

    def _beat(self) -> None:
        files.write_new(self._folder / _OPEN, b"several processes restore into this folder\n")
        files.write_atomically(self._beat_file, secrets.token_hex(8).encode())

    def _go_on_beating(self) -> None:
        while not self._ended.wait(self._lease / _BEATS):
            with contextlib.suppress(Exception):  # of a storage that does not answer for a moment
                self._beat()

    def _stop(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _file(self, name: str, number: int) -> epath.Path:
        return self._folder / f"{_digest(name)}-{number}"

    def _record(self, name: str, what: dict[str, Any]) -> bytes:
        return json.dumps({"picture": name, "owner": self.owner, **what}).encode()

    def _read_mine(self, name: str) -> dict[str, Any]:
        return _parsed(files.read_if_there(self._mine[name]) or b"")

    def _note(self, name: str, record: dict[str, Any]) -> None:
        self.done[name] = {k: v for k, v in record.items() if k not in ("picture", "owner")}

    def _is_lost(self, file: epath.Path, data: bytes, owner: str | None) -> bool:
        """Whether the one who wrote `data` into a claim has ended, by its beat if it has a name."""
        if owner is not None:
            file = self._folder / owner
            if (data := files.read_if_there(file)) is None:
                return True
        before, since = self._seen.get(file, (None, 0.0))
        if data != before:
            self._seen[file] = data, self._clock()
            return False
        return self._clock() - since > self._lease


def is_shared(output: epath.PathLike) -> bool:
    """Whether processes share a folder of results, or were stopped while they did."""
    return (epath.Path(output).expanduser() / FOLDER / _OPEN).exists()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _parsed(data: bytes) -> dict[str, Any]:
    """Returns what a claim says; nothing where it is not all there yet."""
    try:
        record = json.loads(data)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _is_result(record: dict[str, Any]) -> bool:
    return "made_of" in record and "failed" not in record
