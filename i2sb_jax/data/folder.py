"""Any tree of pictures, listed once.

Walking a tree of a million files takes minutes, and every process of every restart would do it. So
the sorted listing is written once as an index, and from then on the index is all that is read. It
is not compared with the folder: pictures that come later are not seen (delete the index to list
again), and those that are gone count as unreadable.
"""

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath

from i2sb_jax.data.record import IMAGENET_CLASSES, MissingPicture, Record
from i2sb_jax.files import list_images, real_path, require_folder, write_atomically

# How long a process waits for the index that process 0 writes.
INDEX_WAIT_SECONDS = 1800.0
_POLL_SECONDS = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderSource:
    """Pictures of a tree; labels are known of ImageNet's layout alone.

    That is a thousand folders, one a class; sorted, they are numbered as classifiers number them.

    Attributes:
        folder: local or gs://.
        names: relative to `folder`.
    """

    folder: epath.Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Record:
        name = self.names[index]
        try:
            image = (self.folder / name).read_bytes()
        except OSError as error:
            raise MissingPicture(name, error) from error
        return Record(name=name, image=image, label=self._labels.get(name.partition("/")[0], -1))

    @functools.cached_property
    def _labels(self) -> dict[str, int]:
        """Class folder -> label; empty where the tree has another layout."""
        folders = sorted({name.partition("/")[0] for name in self.names if "/" in name})
        whole = len(folders) == IMAGENET_CLASSES and all("/" in name for name in self.names)
        return {folder: label for label, folder in enumerate(folders)} if whole else {}


def folder_source(
    path: epath.PathLike,
    *,
    index_dir: epath.PathLike | None = None,
    process_index: int = 0,
    read_only: bool = False,
    tell: Callable[[str], None] | None = None,
) -> FolderSource:
    """All pictures below `path`, sorted by name.

    Args:
        path: local or gs://.
        index_dir: where the listing is kept, best in the run's folder, which all processes see.
            Without it every call walks the tree.
        process_index: process 0 writes the index, the others wait for it.
        read_only: where there is no index the tree is walked, and nothing written.
        tell: told of files with other suffixes, by whoever lists the folder.

    Raises:
        ValueError: the folder is missing or has no pictures, or the index cannot be used.
    """
    folder = require_folder(path)
    index = None if index_dir is None else epath.Path(index_dir) / index_name(folder)

    def list_folder() -> dict[str, Any]:
        return {"folder": real_path(folder), "names": list_images(folder, tell=tell)}

    kept = kept_index(index, list_folder, process_index=process_index, read_only=read_only)
    return FolderSource(folder=folder, names=tuple(kept["names"]))


def kept_index(
    index: epath.Path | None,
    make: Callable[[], dict[str, Any]],
    *,
    process_index: int = 0,
    read_only: bool = False,
) -> dict[str, Any]:
    """Returns what an index holds; where there is none, what it will hold.

    Args:
        index: the file; None: nothing is kept.
        make: lists what is to be kept.
        process_index: process 0 writes the index, the others wait for it.
        read_only: where there is no index nothing is written.

    Raises:
        ValueError: the index cannot be used, or never comes; and as `make`.
    """
    if index is None or (read_only and not index.exists()):
        return make()
    if not index.exists():
        if process_index == 0:
            write_atomically(index, json.dumps(make()).encode())
        else:
            wait_for(index)
    return read_index(index)


def index_name(folder: epath.PathLike) -> str:
    """The file name of a folder's index; folders that differ do not share one."""
    digest = hashlib.sha256(real_path(folder).encode("utf-8", "surrogateescape"))
    return f"folder-{digest.hexdigest()[:16]}.json"


def read_index(index: epath.Path) -> dict[str, Any]:
    """Returns what an index holds; ValueError, in one line, where it is none."""
    try:
        kept = json.loads(index.read_text())
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not isinstance(kept.get("names"), list):
        raise ValueError(f"{index} is no folder index: delete it to list again")
    return kept


def wait_for(index: epath.Path) -> None:
    """Returns once process 0 has written `index`; ValueError if it never does."""
    deadline = time.monotonic() + INDEX_WAIT_SECONDS
    while not index.exists():
        if time.monotonic() > deadline:
            raise ValueError(
                f"process 0 wrote no {index} within {INDEX_WAIT_SECONDS:g} s: is this directory "
                "shared by all processes?"
            )
        time.sleep(_POLL_SECONDS)
