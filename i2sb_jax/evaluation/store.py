"""Pictures and scores of an evaluation on disk, in shards that do not depend on the devices.

A shard is `size` consecutive pictures of the data, what one device computes at once. Each is a file
that is there whole or not at all, so a job that was stopped goes on with the shards that are
missing, on any number of devices and processes.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from i2sb_jax.files import read_json, write_atomically

PICTURES, SCORES = "pictures", "scores"
_SETTINGS = "settings.json"
_MOST_SHOWN = 3  # differences in a line


class ShardStore:
    """Arrays of `count` pictures by kind and shard, as .npz files in a folder.

    A kind is a path such as "pictures/nfe-10"; the arrays of one have a row a picture.

    Attributes:
        folder: local or gs://; it need not exist.
        count: of all pictures.
        size: pictures in a shard; the last may have fewer.
        floats: whether pictures are kept as float32 and not in 8 bits, with their valid pixels.
        limits: that values are clipped to, scalars or one a channel.
    """

    def __init__(
        self,
        folder: epath.PathLike,
        *,
        count: int,
        size: int,
        floats: bool = False,
        limits: tuple[Any, Any] = (-1.0, 1.0),
    ):
        self.folder, self.count, self.size = epath.Path(folder).expanduser(), count, size
        self.floats, self.limits = floats, limits

    def __len__(self) -> int:
        return -(-self.count // self.size)

    def numbers(self, shard: int) -> range:
        """The pictures of a shard."""
        return range(shard * self.size, min((shard + 1) * self.size, self.count))

    def missing(self, kind: str, *, arrays: Sequence[str] = ()) -> list[int]:
        """Shards that are not there, or lack one of some arrays."""
        folder = self.folder / kind
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        absent = [shard for shard in range(len(self)) if _file(shard) not in names]
        if not arrays:
            return absent
        present = set(range(len(self))) - set(absent)
        lacking = [n for n in present if not set(arrays) <= set(self._names(kind, n))]
        return sorted([*absent, *lacking])

    def write(self, kind: str, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a shard; rows beyond its pictures are padding and left out."""
        rows = len(self.numbers(shard))
        buffer = io.BytesIO()
        np.savez(buffer, **{name: values[:rows] for name, values in arrays.items()})
        write_atomically(self.folder / kind / _file(shard), buffer.getvalue())

    def remove(self, shard: int) -> None:
        """Removes a shard of all kinds."""
        for group in (PICTURES, SCORES):
            if (self.folder / group).is_dir():
                for kind in (self.folder / group).iterdir():
                    (kind / _file(shard)).unlink(missing_ok=True)

    def read(
        self, kind: str, shard: int, *, arrays: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The arrays of a shard; only some of them, the rest unread, if they are named.

        Raises:
            ValueError: it cannot be read; one line that says what to do.
        """
        path = self.folder / kind / _file(shard)
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return {name: file[name] for name in (file.files if arrays is None else arrays)}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            reason = getattr(error, "strerror", None) or "it is damaged"
            raise ValueError(
                f"{path} cannot be read ({reason}): remove it, and the same command makes it anew"
            ) from error

    def whole(self, kind: str, *, arrays: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The arrays of all shards, one after the other; see `read`."""
        shards = [self.read(kind, shard, arrays=arrays) for shard in range(len(self))]
        return {name: np.concatenate([each[name] for each in shards]) for name in shards[0]}

    def row(self, kind: str, number: int, name: str) -> np.ndarray:
        """One picture of one array."""
        shard, place = divmod(number, self.size)
        return self.read(kind, shard)[name][place]

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError, in one line, where the folder holds an evaluation of other settings.

        Also where it holds files and none of an evaluation.
        """
        path = self.folder / _SETTINGS
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"{self.folder} is a file: choose another --output")
        if not path.exists():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise ValueError(f"{self.folder} holds no evaluation: choose another --output")
            return
        try:
            theirs = read_json(path)
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict):
            raise ValueError(f"{path} is broken: remove {self.folder}, or choose another --output")
        ours = json.loads(json.dumps(settings))
        changed = [key for key in ours if theirs.get(key) != ours[key]]
        if changed:
            shown = ", ".join(
                f"{key} is {theirs.get(key)!r} there, {ours[key]!r} here"
                for key in changed[:_MOST_SHOWN]
            )
            raise ValueError(
                f"{self.folder} holds an evaluation of other settings: {shown}; choose another "
                "--output"
            )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Notes the settings."""
        text = json.dumps(settings, indent=2) + "\n"
        write_atomically(self.folder / _SETTINGS, text.encode())

    def _names(self, kind: str, shard: int) -> Iterator[str]:
        """Returns the names of a shard's arrays; none where it is damaged."""
        try:
            with (self.folder / kind / _file(shard)).open("rb") as file:
                return [name.removesuffix(".npy") for name in zipfile.ZipFile(file).namelist()]
        except (OSError, zipfile.BadZipFile):
            return []


def pictures_of(method: str) -> str:
    """The kind under which the pictures of a method lie."""
    return f"{PICTURES}/{_slug(method)}"


def scores_of(method: str) -> str:
    """The kind under which the scores of a method lie."""
    return f"{SCORES}/{_slug(method)}"


def _slug(method: str) -> str:
    return re.sub(r"[^\w.-]+", "-", method)


def _file(shard: int) -> str:
    return f"{shard:06d}.npz"
