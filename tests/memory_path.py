"""memory://…, a file system for tests: what a run writes there went through epath."""

import contextlib
import io
import pathlib
import types

from etils import epath

FILES: dict[str, bytes] = {}  # path -> contents
_FOLDERS: set[str] = set()


def clear():
    FILES.clear()
    _FOLDERS.clear()


@epath.register_path_cls("memory://")
class MemoryPath:
    """As much of a path as the library asks for."""

    def __init__(self, path):
        self._path = str(path).rstrip("/")

    def __str__(self):
        return self._path

    def __fspath__(self):
        return self._path

    def __truediv__(self, part):
        return MemoryPath(f"{self._path}/{part}")

    def joinpath(self, *parts):
        return MemoryPath("/".join([self._path, *map(str, parts)]))

    @property
    def name(self):
        return self._path.rpartition("/")[2]

    @property
    def parent(self):
        return MemoryPath(self._path.rpartition("/")[0])

    def exists(self):
        return self._path in FILES or self.is_dir()

    def is_file(self):
        return self._path in FILES

    def is_dir(self):
        inside = any(name.startswith(f"{self._path}/") for name in FILES)
        return self._path in _FOLDERS or inside

    def mkdir(self, *, parents=False, exist_ok=False):
        if self.exists() and not exist_ok:
            raise FileExistsError(self._path)
        _FOLDERS.add(self._path)

    def stat(self):
        return types.SimpleNamespace(length=len(self.read_bytes()), mtime=1.0)

    def walk(self):
        """All that lies below, as of the folder itself."""
        inside = [name for name in FILES if name.startswith(f"{self._path}/")]
        yield self, [], [name.removeprefix(f"{self._path}/") for name in inside]

    def relative_to(self, folder):
        return pathlib.PurePosixPath(self._path).relative_to(pathlib.PurePosixPath(str(folder)))

    def expanduser(self):
        return self

    def unlink(self, *, missing_ok=False):
        if FILES.pop(self._path, None) is None and not missing_ok:
            raise FileNotFoundError(self._path)

    def replace(self, target):
        FILES[str(target)] = FILES.pop(self._path)
        return MemoryPath(target)

    def read_bytes(self):
        if self._path not in FILES:
            raise FileNotFoundError(self._path)
        return FILES[self._path]

    def read_text(self):
        return self.read_bytes().decode()

    @contextlib.contextmanager
    def open(self, mode="r"):
        buffer = io.BytesIO(b"" if "w" in mode else FILES.get(self._path, b""))
        if mode.startswith("r"):
            self.read_bytes()  # raises where there is none
        if "a" in mode:
            buffer.seek(0, io.SEEK_END)
        file = buffer if "b" in mode else io.TextIOWrapper(buffer, write_through=True)
        yield file
        if not mode.startswith("r"):
            FILES[self._path] = buffer.getvalue()
