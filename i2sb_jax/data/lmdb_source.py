"""LMDB databases whose values are encoded pictures, as many restoration data sets lie."""

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Sequence

import lmdb
from etils import epath

from i2sb_jax.data.record import MissingPicture, Record
from i2sb_jax.data.shards import USUAL, Columns
from i2sb_jax.files import decode_text, is_remote, real_path
from i2sb_jax.pictures import UnreadableImage, picture_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class LmdbSource:
    """The pictures of a database, in the order of its keys or of a list.

    Attributes:
        database: the environment, open for reading alone.
        keys: of the pictures.
    """

    database: lmdb.Environment
    keys: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.keys)

    @functools.cached_property
    def names(self) -> Sequence[str]:
        """The keys as text."""
        return tuple(map(_name, self.keys))

    def read(self, index: int) -> Record:
        key = self.keys[index]
        try:
            with self.database.begin() as transaction:
                value = transaction.get(key)
            if value is None:
                raise ValueError("no such key")
        except (lmdb.Error, ValueError) as error:
            raise MissingPicture(_name(key), error) from error
        return Record(name=_name(key), image=value)


def lmdb_source(
    path: epath.PathLike,
    *,
    columns: Columns = USUAL,
    tell: Callable[[str], None] | None = None,
) -> LmdbSource:
    """Opens a database; without a list of keys looks at the beginning of every value.

    Args:
        path: of its folder, or of a database that is a file; local, since it is mapped.
        columns: the list of keys; all whose value begins as a picture does where there is none.
        tell: told in a line of values that are no pictures.

    Raises:
        ValueError: there is no database, it has no picture, or not a key of the list; one line.
    """
    if is_remote(path):
        raise ValueError(f"{path}: a database is mapped into memory, so copy it to a local disk")
    place = epath.Path(path).expanduser()
    if not (place / "data.mdb" if place.is_dir() else place).is_file():
        raise ValueError(f"{place} is no LMDB: name its folder, with data.mdb in it")
    try:
        database = _opened(real_path(place))
    except lmdb.Error as error:
        raise ValueError(f"{place} is no LMDB that can be read: {error}") from None
    keys = _listed(database, columns.keys) if columns.keys else _pictures(database, place, tell)
    return LmdbSource(database=database, keys=keys)


@functools.cache
def _opened(path: str) -> lmdb.Environment:
    """A database; a process cannot open one twice, and both sides of a run may lie in it."""
    return lmdb.open(path, subdir=os.path.isdir(path), readonly=True, lock=False, readahead=False)


def _listed(database: lmdb.Environment, path: str) -> list[bytes]:
    try:
        text = decode_text(epath.Path(path).expanduser().read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"keys={path!r} cannot be read: {error}") from None
    keys = [line.encode("utf-8", "surrogateescape") for line in text.splitlines() if line.strip()]
    if not keys:
        raise ValueError(f"keys={path!r} has no keys: one a line")
    with database.begin() as transaction:
        missing = [_name(key) for key in keys if transaction.get(key) is None]
    if missing:
        raise ValueError(f"keys={path!r}: the database lacks {len(missing)}, such as {missing[0]}")
    if len(set(keys)) < len(keys):
        raise ValueError(f"keys={path!r} has a key twice")
    return keys


def _pictures(
    database: lmdb.Environment, place: epath.Path, tell: Callable[[str], None] | None
) -> list[bytes]:
    keys, others = [], []
    with database.begin() as transaction, transaction.cursor() as cursor:
        for key, value in cursor.iternext():
            (keys if _is_picture(value) else others).append(key)
    if not keys:
        raise ValueError(f"{place} has no value that is an encoded picture, of {len(others)}")
    if others and tell is not None:
        shown = ", ".join(map(_name, others[:3])) + (" …" if len(others) > 3 else "")
        tell(f"{len(others)} of {len(keys) + len(others)} values are no pictures: {shown}")
    return keys


def _is_picture(value: bytes) -> bool:
    try:
        picture_size(io.BytesIO(value))
    except UnreadableImage:
        return False
    return True


def _name(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")
