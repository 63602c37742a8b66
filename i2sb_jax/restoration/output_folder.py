"""The folder that results go to: what each picture is written as, and what is there already.

One folder holds results of one kind. What shapes the pixels is written beside them, so that the
same command goes on where it was stopped, and another one is told apart before it mixes in. Only
what is listed beside them (`results_list`) is a result that may be written over. Where processes
share a folder, what they finish is noted in their claims (`claims`) and listed at the end.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from i2sb_jax import files
from i2sb_jax.pictures import UnreadableImage
from i2sb_jax.restoration.claims import Claims, Taken
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.outputs import (
    UNCOMPARED,
    check_own,
    files_of,
    std_file,
    strip_file,
)
from i2sb_jax.restoration.results_list import RESULTS, ResultsList, Stamp, entry_of, is_same

SETTINGS = "restore.json"
PREVIEW = "preview.png"
SHEET = "comparison_sheet.png"


def check_output(source: epath.PathLike, output: epath.PathLike) -> None:
    """Raises ValueError where the folder `output` lies in the folder `source`."""
    source, output = (epath.Path(path).expanduser() for path in (source, output))
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        # a second run would take the first one's results for pictures
        raise ValueError(f"--output {output} lies in the input folder: choose another")


class OutputFolder:
    """The folder for the results of one job.

    Attributes:
        path: the folder; it need not exist.
        targets: name of a picture -> the file that it becomes.
        preview: where a preview goes.
        sheet: where the sheet of a measurement goes.
    """

    def __init__(
        self,
        path: epath.Path,
        source: epath.Path,
        names: Iterable[str],
        *,
        suffix: Callable[[str], str],
        options: Options,
        claims: Claims | None = None,
    ):
        """Finds a place for every picture.

        Args:
            path: the folder.
            source: folder of the pictures.
            names: of the pictures, relative to it.
            suffix: of what a picture becomes, by its name.
            options: which decide what else is written.
            claims: of the processes that share the folder; None: this one is alone.

        Raises:
            ValueError: two results would be written to one file, or one over a picture.
        """
        self.path, self._options, self._claims = path, options, claims
        self.preview, self.sheet = path / PREVIEW, path / SHEET
        self._source = source
        self._is_new: bool | None = None  # the folder; None before `begin`
        self._list = ResultsList(path)
        self._adopted: dict[str, Stamp] = {}  # results of before there were lists
        self.targets = {name: (path / name).with_suffix(suffix(name)) for name in names}
        own = [PREVIEW] if options.preview else [SHEET] if options.degrade else []
        seen = {path / name: f"the job's own {name}" for name in own}
        for name, target in self.targets.items():
            for file in files_of(target, self._options):
                if file in seen:
                    raise ValueError(f"{name} and {seen[file]} would both be written to {file}")
                if files.is_there(file) and file.resolve() == (source / name).resolve():
                    raise ValueError(f"{name} would be overwritten: choose another --output")
                seen[file] = name

    def is_done(self, name: str, stamp: Stamp) -> bool:
        """Whether the result of a picture is there, made of what the picture and its mask are now.

        Args:
            name: of the picture.
            stamp: of the two.
        """
        if self._options.overwrite or self._options.preview or not self.is_made(name):
            return False
        if self._claims is not None and self._claims.is_done(name, stamp):
            return True
        if not self._list.exists:
            self._adopted[name] = stamp
            return True
        return self._lists(name, stamp)

    def is_made(self, name: str) -> bool:
        """Whether a result of a picture is there, whatever it was made of."""
        return files.is_there(self.targets[name])

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises ValueError, in one line, where the folder holds what this job may not touch.

        That is files of the results' names that are no results, and results of other settings; with
        `overwrite` only those of them that this job would leave standing.
        """
        if self._claims is not None and self._options.overwrite:
            raise ValueError(
                f"overwrite: several processes restore into {self.path}, or were stopped when they "
                "did, and would overwrite each other's results: choose another --output"
            )
        own = self.preview if self._options.preview else self.sheet
        if self._options.preview or self._options.degrade:
            check_own(own)
        if self._options.preview:
            return
        noted = self._is_noted()
        for name, target in self.targets.items():
            for file in files_of(target, self._options):
                if files.is_there(file) and not (
                    (noted and self._is_result(file)) or self._is_of_others(name, file)
                ):
                    why = f"is not listed in {RESULTS}" if noted else f"there is no {SETTINGS}"
                    raise ValueError(
                        f"{file} is there already, and no result of i2sb-restore as "
                        f"{'it ' if noted else ''}{why}: choose another --output"
                    )
        if not noted:
            return
        differences = self._differences(settings)
        if not differences:
            return
        if not self._options.overwrite:
            raise self._is_otherwise(differences)
        if others := self._others():
            raise ValueError(
                f"{self.path} holds {others[0]}{' and others' * (len(others) > 1)} too, which this "
                f"job would leave as they are, restored otherwise: {differences}; choose another "
                "--output"
            )

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Notes the settings; results of others, which are to be overwritten, go first.

        Otherwise a job that is stopped half way would leave old results that look like its own.
        """
        if self._claims is not None:  # as `together` did
            return
        noted = self._is_noted()
        is_other = noted and bool(self._differences(settings))
        if is_other:
            for target in self.targets.values():
                for file in (target, std_file(target), strip_file(target)):
                    if files.is_there(file) and self._is_result(file):
                        file.unlink()
        self._is_new = not self.path.exists()
        files.write_atomically(self.path / SETTINGS, _as_text(settings))
        if not noted or is_other:
            self._list.clear()
        elif not self._list.exists:
            self._list.clear()
            for name, stamp in self._adopted.items():
                self._list.add(self._listed_files(name), stamp)

    @contextlib.contextmanager
    def together(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """A part in the work of several processes, if this one is not alone.

        Settings are noted, or compared with those of the process that came first, at its beginning;
        at its end what all have finished is listed, as one process would have listed it.
        """
        if self._claims is None:
            yield
            return
        is_new = not self.path.exists()
        with self._claims:
            if not self._is_noted():
                self._is_new = is_new
            self._begin_together(settings)
            try:
                yield
            except BaseException:
                self.abandon()
                raise
            self._begin_together(settings)
            self._list_all()
            self._claims.sweep(self.targets)

    def _begin_together(self, settings: Mapping[str, Any]) -> None:
        if not self._is_noted():
            # first: a folder with settings and no list would be one of before there were lists
            files.write_new(self.path / RESULTS, b"")
            files.write_new(self.path / SETTINGS, _as_text(settings))
        if differences := self._differences(settings):
            raise self._is_otherwise(differences)
        self._list = self._list.renewed()

    def _list_all(self) -> None:
        done = {
            name: entry_of(self._listed_files(name), stamp) for name, stamp in self._adopted.items()
        } | self._claims.done
        new = [
            done[name]
            for name in self.targets
            if name in done and not self._lists(name, done[name]["made_of"])
        ]
        if new:
            self._list.extend(new)

    def take(self, name: str, stamp: Stamp) -> Taken:
        """Whether a picture is this process's to restore; alone, each is.

        Args:
            name: of the picture.
            stamp: of the picture and its mask as they are now.
        """
        if self._claims is None:
            return Taken.MINE
        taken = self._claims.take(name, stamp, is_made=self.is_made(name))
        if taken is Taken.FAILED:
            raise UnreadableImage(self._claims.failures[name])
        if taken is Taken.MINE:  # as it is where all was done, and claims were taken away
            self._list = self._list.renewed()
            if self._lists(name, stamp) and self.is_made(name):
                return Taken.DONE
        return taken

    def claim(self, name: str) -> None:
        """Says that the result of a picture is going to be written."""
        if self._claims is None:
            self._list.add(self._listed_files(name), None)

    def finish(self, name: str, stamp: Stamp, *, tile: int | None = None) -> None:
        """Says that it is there, and what it was made of; in smaller tiles if `tile` is given."""
        if self._claims is None:
            self._list.add(self._listed_files(name), stamp, tile=tile)
        else:
            self._claims.finish(name, entry_of(self._listed_files(name), stamp, tile=tile))

    def fail(self, name: str, stamp: Stamp, reason: str) -> None:
        """Says that there will be none."""
        if self._claims is not None:
            self._claims.fail(name, stamp, reason)

    def release(self, name: str) -> None:
        """Says that another process may try."""
        if self._claims is not None:
            self._claims.release(name)

    def marked(
        self, file: epath.Path, parts: Iterable[bytes], stamp: Stamp, *, tile: int | None = None
    ) -> Iterable[bytes]:
        """The parts of a file to be written, as they are: the folder's list tells of them."""
        del file, stamp, tile
        return parts

    def abandon(self) -> None:
        """Takes back what this process has noted, where no result has come of it."""
        if self._is_new is None or any(files.is_there(file) for file in self.targets.values()):
            return
        if self._claims is not None:
            if self._claims.has_company():
                return
            self._claims.sweep(self.targets)
        (self.path / SETTINGS).unlink(missing_ok=True)
        self._list.remove()
        is_new, self._is_new = self._is_new, None
        if is_new and not files.is_remote(self.path) and not any(self.path.iterdir()):
            self.path.rmdir()

    def _listed(self, file: epath.Path) -> str:
        return file.relative_to(self.path).as_posix()

    def _listed_files(self, name: str) -> list[str]:
        return [self._listed(file) for file in files_of(self.targets[name], self._options)]

    def _lists(self, name: str, stamp: Stamp) -> bool:
        """Whether the list has a result of a picture as it is now."""
        return is_same(self._list.made_of(self._listed(self.targets[name])), stamp)

    def _is_noted(self) -> bool:
        return (self.path / SETTINGS).exists()

    def _is_otherwise(self, differences: str) -> ValueError:
        line = (
            f"{self.path} holds pictures restored otherwise: {differences}; choose another --output"
        )
        return ValueError(line if self._claims is not None else f"{line}, or --overwrite")

    def _is_of_others(self, name: str, file: epath.Path) -> bool:
        """Whether a process that shares the folder has written a file since this one began."""
        if self._claims is None:
            return False
        if self._claims.is_known(name):
            return True
        self._list = self._list.renewed()
        return self._list.exists and self._is_noted() and self._is_result(file)

    def _is_result(self, file: epath.Path) -> bool:
        """Whether a file of a folder with settings is listed; without a list, no input is one."""
        if self._list.exists:
            return self._listed(file) in self._list
        inside = files.real_path(file.parent), files.real_path(self._source)
        return not f"{inside[0]}/".startswith(f"{inside[1].rstrip('/')}/")

    def _others(self) -> list[str]:
        """Pictures in the folder that are not this job's."""
        suffixes = tuple({target.suffix.lower() for target in self.targets.values()})
        ours = {
            file for target in self.targets.values() for file in files_of(target, self._options)
        }
        ours |= {self.path / name for name in (PREVIEW, SHEET)}
        # what goes with a picture goes when the picture does
        ours |= {f(t) for t in self.targets.values() for f in (std_file, strip_file)}
        try:
            found = files.list_images(self.path, suffixes=suffixes)
        except ValueError:  # none at all
            return []
        return [name for name in found if self.path / name not in ours]

    def _differences(self, settings: Mapping[str, Any]) -> str:
        """In words, what other settings are noted in the folder; "" where they are the same."""
        file = self.path / SETTINGS
        try:
            theirs = files.read_json(file)
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict):
            return f"{file} is broken"
        return ", ".join(
            f"{key} is {theirs.get(key)!r} there, {value!r} here"
            for key, value in json.loads(json.dumps(settings)).items()
            if key not in UNCOMPARED and theirs.get(key) != value
        )


def _as_text(settings: Mapping[str, Any]) -> bytes:
    return (json.dumps({**settings, "results": RESULTS}, indent=2) + "\n").encode()
