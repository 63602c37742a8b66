"""Files and folders, local or in a bucket: lists of pictures, and writes all at once."""

import codecs
import contextlib
import errno
import importlib.util
import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from etils import epath

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpf", ".avif", ".jxl"),
)
if importlib.util.find_spec("pillow_heif") is not None:
    IMAGE_SUFFIXES += (".heic", ".heif")
# Folders that NAS systems, desktops and archives of Macs put copies and thumbnails into.
_SIDE_FOLDERS = ("@eaDir", ".thumbnails", "__MACOSX")
_MOST_TOLD = 6  # suffixes

_MAX_JSON = 1 << 22  # bytes: settings of all kinds take some thousand


def read_json(path: epath.PathLike) -> Any:
    """Returns the values of a small JSON file, a stranger's too.

    Raises:
        ValueError: it is larger than any settings, no JSON, nests too deep, or says a thing twice;
            a few words.
    """
    with epath.Path(path).open("rb") as file:
        raw = file.read(_MAX_JSON + 1)
    if len(raw) > _MAX_JSON:
        raise ValueError(f"it has more than {_MAX_JSON} bytes")
    try:
        return json.loads(decode_text(raw), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it nests too deep") from None


def decode_text(data: bytes) -> str:
    """UTF-8, or what a byte-order mark says, without the mark: editors and shells write them.

    Raises:
        UnicodeDecodeError: it is neither.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses two values of one key: Python would take the last, and others the first."""
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"it has {twice[:80]!r} twice")
    return table


def read_if_there(path: epath.PathLike) -> bytes | None:
    """Returns what a file holds; None where there is none."""
    try:
        return epath.Path(path).read_bytes()
    except FileNotFoundError:
        return None


def write_new(path: epath.PathLike, data: bytes) -> bool:
    """Writes a file unless one is there; makes the folder if needed.

    Of several processes that try at the same time one succeeds, on NFS too. In a bucket, of which
    epath asks no such thing, what was written is read again: of two that write within that moment
    both may be told that they were the first.

    Returns:
        Whether this process has written it.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_remote(path):
        if path.exists():
            return False
        path.write_bytes(data)
        return read_if_there(path) == data
    temporary = _beside(path)
    try:
        temporary.write_bytes(data)
        os.link(temporary, path)  # all of it at once
    except FileExistsError:  # NFS may say so of a link that it has made
        return os.stat(temporary).st_nlink == 2
    except FileNotFoundError:  # somebody has just taken the folder away
        return write_new(path, data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _write_first(path, data)  # a file system without links
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _write_first(path: epath.Path, data: bytes) -> bool:
    """Does the same, but others may see a part of the file for a moment."""
    # epath knows no such mode
    try:
        file = open(path, "xb")  # noqa: SIM115
    except FileExistsError:
        return False
    try:
        with file:
            file.write(data)
    except OSError:
        os.unlink(path)
        raise
    return True


def write_atomically(path: epath.PathLike, data: bytes) -> None:
    """Writes a file that nobody sees a part of; makes the folder if needed."""
    with open_atomically(path) as file:
        file.write(data)


@contextlib.contextmanager
def open_atomically(path: epath.PathLike) -> Iterator[BinaryIO]:
    """Opens a file that is there, as a whole, once the block has ended well.

    It has a temporary name beside `path` until then. In a bucket, where renaming is copying and an
    object is there when all of it has come, it waits on this machine.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_remote(path):
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with path.open("wb") as written:
                shutil.copyfileobj(file, written)
        return
    temporary = _beside(path)
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _beside(path: epath.Path) -> epath.Path:
    """A name for what is not finished yet."""
    # In containers every run is process 1. The name is short: that of `path` may be the longest.
    return path.parent / f".{os.getpid()}-{secrets.token_hex(4)}.tmp"


def list_images(
    folder: epath.PathLike,
    *,
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES,
    tell: Callable[[str], None] | None = None,
) -> list[str]:
    """Names of all pictures below a folder, told by their suffix.

    Args:
        folder: local or gs://. Hidden files and folders and those of thumbnails are skipped, links
            are followed.
        suffixes: in lower case; of either case are found.
        tell: told in a line of files with other suffixes, if there are any.

    Returns:
        Sorted names relative to `folder`, with '/' between parts.

    Raises:
        ValueError: the folder is missing or holds no picture; one line that names it.
    """
    names, others = [], []
    for name in _walk(require_folder(folder)):
        (names if name.lower().endswith(suffixes) else others).append(name)
    line = _left_out(others)
    if not names:
        raise ValueError(
            f"no pictures in {folder} (suffixes: {' '.join(suffixes)})" + (line and f"; {line}")
        )
    if tell is not None and line:
        tell(line)
    return sorted(names)


def _left_out(names: list[str]) -> str:
    """That files are left out, with their suffixes; "" where there are none."""
    suffixes = sorted({os.path.splitext(name)[1].lower() or "none" for name in names})
    more = " …" if len(suffixes) > _MOST_TOLD else ""
    shown = f"({' '.join(suffixes[:_MOST_TOLD])}{more})"
    if len(names) == 1:
        return f"1 file with another suffix {shown} is left out"
    return f"{len(names)} files with other suffixes {shown} are left out" if names else ""


def require_pictures(folder: epath.PathLike, *, at_least: int = 1) -> None:
    """Raises ValueError, in one line, unless a folder holds so many pictures; stops counting there.

    For those who want to know before they list a tree of a million.
    """
    names = (n for n in _walk(require_folder(folder)) if n.lower().endswith(IMAGE_SUFFIXES))
    found = len(list(itertools.islice(names, at_least)))
    if found < at_least:
        what = "no pictures" if not found else f"only {found} of the {at_least} pictures needed"
        raise ValueError(f"{what} in {folder} (suffixes: {' '.join(IMAGE_SUFFIXES)})")


def require_folder(folder: epath.PathLike) -> epath.Path:
    """`folder` as a path, ~ expanded; ValueError in one line if it is no directory."""
    path = epath.Path(folder).expanduser()
    if not path.is_dir():
        kind = "is not a folder" if path.exists() else "does not exist"
        raise ValueError(f"{path} {kind}: name a directory of pictures")
    return path


def require_new_folder(folder: epath.PathLike) -> epath.Path:
    """`folder` as a path, ~ expanded; ValueError in one line if anything is there already."""
    path = epath.Path(folder).expanduser()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path} is not empty: name a new directory")
    return path


def require_writable(folder: epath.PathLike) -> None:
    """Raises ValueError, in one line, where nothing can be written into a local folder.

    It is tried, and nothing stays; of a folder that is not there yet, into the nearest above it.
    """
    path = epath.Path(folder)
    if is_remote(path):
        return
    path = path.expanduser().absolute()
    while not path.exists():
        path = path.parent
    if not path.is_dir():
        raise ValueError(f"{path} is a file, and no folder")
    probe = path / f".{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        probe.write_bytes(b"0")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"{path} cannot be written into: {reason}") from None
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def require_apart(folder: epath.PathLike, other: epath.PathLike, *, what: str) -> None:
    """Raises ValueError, in one line that begins with `what`, where a folder lies in another."""
    real = [real_path(path) for path in (folder, other)]
    for one, two in (real, real[::-1]):
        if two == one or two.startswith(one.rstrip("/") + "/"):
            raise ValueError(f"{what}: {two} lies in {one}; name folders that share no picture")


def is_there(path: epath.PathLike) -> bool:
    """Whether something is at a path; False of one that is longer than any can be."""
    try:
        return epath.Path(path).exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def size_and_time(path: epath.PathLike) -> tuple[int, int]:
    """Bytes of a file, and when it was changed last (nanoseconds; seconds in a bucket)."""
    if is_remote(path):
        found = epath.Path(path).stat()
        return found.length, int(found.mtime)
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is a bucket's, such as gs://…"""
    return "://" in str(path)


def real_path(path: epath.PathLike) -> str:
    """A path that says the same wherever a process stands: ~ expanded, links followed."""
    path = epath.Path(path).expanduser()
    return str(path) if is_remote(path) else os.path.realpath(path)


def _walk(folder: epath.Path) -> Iterator[str]:
    """Names of files below a folder, in no order."""
    return _walk_remote(folder) if is_remote(folder) else _walk_local(folder)


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in _SIDE_FOLDERS


def _walk_local(folder: epath.Path) -> Iterator[str]:
    # scandir knows a directory without asking for each file: minutes on a tree of a million.
    pending = [("", ())]
    while pending:
        prefix, above = pending.pop()
        real = os.path.realpath(folder / prefix)
        if real in above:  # a link that leads back up
            continue
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                if _is_passed_over(entry.name):
                    continue
                if entry.is_dir():
                    pending.append((f"{prefix}{entry.name}/", (*above, real)))
                else:
                    yield prefix + entry.name


def _walk_remote(folder: epath.Path) -> Iterator[str]:
    for root, _, files in folder.walk():
        for file in files:
            name = (root / file).relative_to(folder).as_posix()
            if not any(_is_passed_over(part) for part in name.split("/")):
                yield name
