"""Whose a run's folder is, where no lock outlives a machine and buckets have none.

The run that started last has it: it writes its name into running.json. Any other finds that out
before it writes again, and stops. A run that was killed leaves its claim, which hinders nobody.
"""

import contextlib
import datetime
import json
import os
import secrets
import socket
from typing import Any

import jax
from etils import epath

from i2sb_jax.accelerators.agreement import agreed
from i2sb_jax.files import read_json, write_atomically

_FILE = "running.json"


class Claim:
    """A run's claim to its folder; a context manager that gives it up at its end."""

    def __init__(self, workdir: epath.PathLike):
        """Takes the folder over from whoever has it; process 0 does, for all."""
        self._workdir, self._path = workdir, epath.Path(workdir) / _FILE
        self._primary = jax.process_index() == 0
        self._mine = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "token": secrets.token_hex(8),
        }
        if self._primary:
            write_atomically(self._path, json.dumps(self._mine).encode())

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self._primary:
            return
        holder = self._holder()
        if holder == self._mine:
            with contextlib.suppress(OSError):  # what stays hinders nobody
                self._path.unlink()
        elif isinstance(error, OSError):  # the other removed what this one was about to save
            raise self._taken_over(holder) from error

    def check(self) -> None:
        """Raises ValueError, on all processes, if another run has taken the folder over."""
        holder = self._holder() if self._primary else None
        if not agreed(holder == self._mine):
            raise self._taken_over(holder)

    def _taken_over(self, holder: Any) -> ValueError:
        other = "another run"
        if isinstance(holder, dict):
            host, process, since = (holder.get(key) for key in ("host", "process", "since"))
            other += f" ({host}, process {process}, since {since})"
        return ValueError(
            f"{other} has taken over {self._workdir}: this one stops and writes nothing more"
        )

    def _holder(self) -> Any:
        try:
            return read_json(self._path) if self._path.exists() else None
        except FileNotFoundError:
            return None
        except Exception:  # a storage that does not answer for a moment is no rival
            return self._mine
