"""The one file that the result of one picture goes to: no folder, and no settings beside it.

What shaped the pixels is noted in a PNG as a text, a digest of the settings and one of what the
picture was, so that the same command given twice is told apart from one that would write over
somebody's file, and a result of a picture that has changed is no longer its result.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from i2sb_jax import files
from i2sb_jax.pictures import ARRAY_SUFFIXES, format_of, read_text, with_text
from i2sb_jax.restoration.claims import Taken
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.outputs import KEYWORD, UNCOMPARED, check_own, files_of
from i2sb_jax.restoration.results_list import Stamp


def names_file(output: epath.PathLike) -> bool:
    """Whether a path is that of a picture to be written, and not of a folder for them."""
    path = epath.Path(output).expanduser()
    if path.exists():
        return not path.is_dir()
    return path.suffix.lower() in (*files.IMAGE_SUFFIXES, *ARRAY_SUFFIXES)


def check_output_file(source: epath.PathLike, output: epath.PathLike) -> None:
    """Raises ValueError where the file `output` cannot take what becomes of `source`."""
    source, output = (epath.Path(path).expanduser() for path in (source, output))
    if source.is_dir():
        raise ValueError(f"--output {output} names a file, and {source} is a folder: name a folder")
    if output.exists() and source.exists() and output.resolve() == source.resolve():
        raise ValueError(f"{source.name} would be overwritten: choose another --output")


class OutputFile:
    """The file for the result of one picture, and beside it what else was asked for.

    Attributes:
        path: of the folder; it need not exist.
        targets: name of the picture -> the file.
        preview: where a preview goes.
        sheet: None: a single file is no place for a sheet.
    """

    sheet = None

    def __init__(
        self, file: epath.Path, source: epath.Path, name: str, *, suffix: str, options: Options
    ):
        """Takes the file.

        Args:
            file: as the user named it.
            source: folder of the picture.
            name: of the picture, in it.
            suffix: that results have.
            options: which decide what else is written.

        Raises:
            ValueError: results are of another kind than the file's suffix says.
        """
        given = file.suffix.lower()
        same = format_of(given) == format_of(suffix) if format_of(given) else given == suffix
        if not same:
            raise ValueError(
                f"--output {file}: the result is a {suffix} file, name it "
                f"{file.with_suffix(suffix).name}, or name a folder"
            )
        self.path, self._options, self._digest = file.parent, options, ""
        self.targets = {name: file}
        self.preview = file.with_name(f"{file.stem}_preview.png")
        for other in files_of(file, options)[1:]:
            if other.exists() and other.resolve() == (source / name).resolve():
                raise ValueError(f"{name} would be overwritten: choose another --output")

    def is_done(self, name: str, stamp: Stamp) -> bool:
        """Whether the result is there, made of what the picture and its mask are now."""
        chosen = self._options
        if chosen.overwrite or chosen.preview or not self.is_made(name):
            return False
        return " ".join((self._text() or "").split(" ")[:2]) == self._mark(stamp)

    def is_made(self, name: str) -> bool:
        """Whether a result is there, whatever it was made of."""
        return self.targets[name].exists()

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError, in one line, where a file is there that this job did not write."""
        ((name, file),) = self.targets.items()
        compared = {key: value for key, value in settings.items() if key not in UNCOMPARED}
        self._digest = _digest(compared | {"picture": name})
        if self._options.preview:
            check_own(self.preview)
            return
        if self._options.overwrite:
            return
        if file.exists() and (self._text() or "").partition(" ")[0] == self._digest:
            return
        for each in files_of(file, self._options):
            if each.exists():
                raise ValueError(
                    f"{each} is there already, and no result of this command: choose another "
                    "--output, or --overwrite"
                )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Nothing is written but results."""
        del settings

    def abandon(self) -> None:
        """Nothing has been noted that could be taken back."""

    def together(self, settings: Mapping[str, Any]) -> contextlib.AbstractContextManager[None]:
        """Nothing is shared."""
        del settings
        return contextlib.nullcontext()

    def take(self, name: str, stamp: Stamp) -> Taken:
        """The picture is this process's."""
        del name, stamp
        return Taken.MINE

    def claim(self, name: str) -> None:
        """The file itself tells all there is to tell."""

    def finish(self, name: str, stamp: Stamp, *, tile: int | None = None) -> None:
        """The same."""

    def fail(self, name: str, stamp: Stamp, reason: str) -> None:
        """The same."""

    def release(self, name: str) -> None:
        """The same."""

    def marked(
        self, file: epath.Path, parts: Iterable[bytes], stamp: Stamp, *, tile: int | None = None
    ) -> Iterable[bytes]:
        """The parts of a file to be written, by which it is known again.

        Args:
            file: the result, or what goes with it.
            parts: of it.
            stamp: of the picture and its mask.
            tile: side of the windows where memory made it smaller than was chosen.
        """
        is_result = file in self.targets.values() and file.suffix.lower() == ".png"
        mark = self._mark(stamp) + ("" if tile is None else f" tile={tile}")
        return with_text(parts, KEYWORD, mark) if is_result else parts

    def _text(self) -> str | None:
        ((_, file),) = self.targets.items()
        with file.open("rb") as opened:
            return read_text(opened, KEYWORD)

    def _mark(self, stamp: Stamp) -> str:
        return f"{self._digest} {_digest(sorted(stamp.items()))}"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
