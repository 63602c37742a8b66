"""bucket://…, a store that behaves as buckets do at their worst, on a disk.

Objects lie flat in a folder that BUCKET_ROOT names, so that processes share them. They are there as
a whole, when what writes them is closed, and read as they are from then on; lists show them later,
after BUCKET_LATE seconds. There is no renaming, no adding to an object, no writing that must be the
first, and there are no folders.
"""

import contextlib
import io
import os
import pathlib
import secrets
import time
import types
import urllib.parse

from etils import epath

SCHEME = "bucket://"


def _root():
    return pathlib.Path(os.environ["BUCKET_ROOT"])


def fill(prefix, folder):
    """Puts the files of a folder into a bucket, long ago."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            path = epath.Path(prefix) / file.relative_to(folder).as_posix()
            path.write_bytes(file.read_bytes())
            os.utime(path.object, (1e9, 1e9))


def contents(prefix):
    """Name from a prefix -> bytes of all that is there."""
    start = urllib.parse.quote(f"{prefix}/".removeprefix(SCHEME), safe="")
    found = {}
    for file in _root().iterdir():
        with contextlib.suppress(FileNotFoundError):  # it is gone by now
            if file.name.startswith(start):
                found[urllib.parse.unquote(file.name.removeprefix(start))] = file.read_bytes()
    return found


@epath.register_path_cls(SCHEME)
class BucketPath(epath.Path):
    """As much of a path as the library asks for."""

    def __str__(self):
        return super().__str__().replace("bucket:/", SCHEME, 1)

    def __fspath__(self):
        return str(self)

    @property
    def object(self):
        """Where it lies."""
        return _root() / urllib.parse.quote(str(self).removeprefix(SCHEME), safe="")

    def _listed(self):
        """What lists show below, as paths from here."""
        start = urllib.parse.quote(f"{self}/".removeprefix(SCHEME), safe="")
        late = time.time() - float(os.environ.get("BUCKET_LATE", "0"))
        for file in sorted(_root().iterdir()):
            with contextlib.suppress(FileNotFoundError):  # it is gone by now
                if file.name.startswith(start) and file.stat().st_mtime <= late:
                    yield urllib.parse.unquote(file.name.removeprefix(start))

    def exists(self):
        return self.object.exists() or self.is_dir()

    def is_dir(self):
        return any(True for _ in self._listed())

    def iterdir(self):
        for name in dict.fromkeys(name.partition("/")[0] for name in self._listed()):
            yield self / name

    def walk(self):
        names = list(self._listed())
        folders = dict.fromkeys(name.partition("/")[0] for name in names if "/" in name)
        yield self, list(folders), [name for name in names if "/" not in name]
        for folder in folders:
            yield from (self / folder).walk()

    def mkdir(self, mode=None, parents=False, exist_ok=False):
        del mode, parents, exist_ok

    def expanduser(self):
        return self

    def resolve(self, strict=False):
        del strict
        return self

    def stat(self):
        found = self.object.stat()
        return types.SimpleNamespace(length=found.st_size, mtime=int(found.st_mtime))

    def unlink(self, missing_ok=False):
        self.object.unlink(missing_ok=missing_ok)

    def rmtree(self, missing_ok=False):
        del missing_ok
        for name in self._listed():
            (self / name).unlink(missing_ok=True)

    def replace(self, target):
        raise NotImplementedError(f"{self} cannot become {target}: a bucket does not rename")

    rename = replace

    @contextlib.contextmanager
    def open(self, mode="r", **kwargs):
        del kwargs
        if mode.strip("bt") not in ("r", "w"):
            raise ValueError(f"mode={mode!r} is not one of r, w")
        if mode.startswith("r"):
            with self.object.open(mode) as file:
                yield file
            return
        buffer = io.BytesIO()
        file = buffer if "b" in mode else io.TextIOWrapper(buffer, write_through=True)
        try:
            yield file
        finally:  # an error leaves half an object, as clients of buckets do
            whole = _root() / f".{secrets.token_hex(8)}"
            whole.write_bytes(buffer.getvalue())
            whole.replace(self.object)
