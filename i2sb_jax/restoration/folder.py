"""Restoring every picture of a folder."""

import itertools
import json
import sys
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax import files, interop
from i2sb_jax.array_io import ARRAY_SUFFIXES
from i2sb_jax.files import IMAGE_SUFFIXES
from i2sb_jax.image_io import UnreadableImage
from i2sb_jax.restoration.clock import Clock, duration
from i2sb_jax.restoration.degraded import SHEET, DegradedPictures
from i2sb_jax.restoration.given import GivenPictures
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.outputs import Job, std_file, strip, strip_file
from i2sb_jax.restoration.pairs import PairSources, open_pairs
from i2sb_jax.restoration.restorer import Restorer, Window
from i2sb_jax.restoration.tiles import Grid

SETTINGS = "restore.json"
PREVIEW = "preview.png"
_STATES = 5  # of a trajectory, beside its end


class Outcome(NamedTuple):
    """What became of a folder.

    Attributes:
        restored: number of pictures written.
        skipped: number of those that had been restored before.
        unreadable: name -> reason of those that could not be restored.
        scores: title -> (PSNR in dB, SSIM), means over the pictures; empty without originals.
        written: names relative to the output folder of what else is worth looking at.
    """

    restored: int
    skipped: int
    unreadable: dict[str, str]
    scores: dict[str, tuple[float, float]]
    written: tuple[str, ...] = ()


def restore_folder(
    workdir: epath.PathLike,
    source: epath.PathLike,
    output: epath.PathLike,
    options: Options | None = None,
    *,
    quiet: bool = False,
) -> Outcome:
    """Restores all pictures below a folder, or one picture, into files of the same names.

    Each is written as soon as it is finished, and what the output folder has already is left
    alone, so that the same command goes on where it was stopped.

    Args:
        workdir: the run, or a model folder.
        source: folder of pictures, or one picture.
        output: another folder.
        options: how; the run's choices if None.
        quiet: no plan and no progress.

    Returns:
        The outcome.

    Raises:
        ValueError: a folder, name or option that does not fit, or the output folder holds results
            of other settings; one line.
    """
    model = interop.local_folder(workdir)
    config = config_lib.load(model)
    folder, names = _pictures(source, ARRAY_SUFFIXES if config.has_pairs else IMAGE_SUFFIXES)
    _check_output(source, output)
    output = epath.Path(output).expanduser()
    clock = Clock()
    options = Options() if options is None else options
    restorer = Restorer.from_workdir(model, dtype=options.dtype, on_evaluation=clock.one_more)
    options = options.resolve(restorer.config, side_unit=restorer.side_unit)
    pictures = _open(restorer, model, folder, names, options)
    targets = _targets(folder, output, names, pictures.suffix, options)
    _check_settings(output, options, workdir)
    work = _Work(restorer, pictures, options, targets)
    work.plan(quiet=quiet)
    if not quiet and (provenance := interop.read_provenance(model)) is not None:
        print(provenance, file=sys.stderr)
    if options.preview:
        return work.preview(output, clock, quiet=quiet)
    if work.grids:
        settings = json.dumps(options.settings(workdir), indent=2) + "\n"
        files.write_atomically(output / SETTINGS, settings.encode())
        work.run(clock, quiet=quiet)
    return work.outcome(output)


class _Work:
    """The pictures that are left to do.

    Attributes:
        grids: name -> windows of each.
    """

    def __init__(self, restorer, pictures, options: Options, targets: dict[str, epath.Path]):
        self.grids: dict[str, Grid] = {}
        self._restorer, self._pictures, self._options = restorer, pictures, options
        self._targets = targets
        self._unreadable: dict[str, str] = {}
        self._restored = self._skipped = 0
        self._sampling = {
            "nfe": options.nfe,
            "sampler": options.sampler,
            "clip": options.clip,
            "record": _record(options),
        }

    def plan(self, *, quiet: bool) -> None:
        """Looks at every header, and says what there is to do."""
        for name, target in self._targets.items():
            if not self._options.overwrite and target.exists():
                self._skipped += 1
                continue
            try:
                self.grids[name] = self._pictures.grid(name)
            except (UnreadableImage, OSError) as error:
                self._leave_out(name, error)
        if quiet:
            return
        config, options = self._restorer.config, self._options
        line = "1 picture" if len(self.grids) == 1 else f"{len(self.grids)} pictures"
        if self._skipped:
            line += f" ({self._skipped} already there)"
        if options.samples > 1:
            line += f", {options.samples} samples each"
        print(
            f"{line}, {self._tiles} tiles of {self._pictures.side}×{self._pictures.side}, "
            f"nfe {options.nfe} each: {self._batches * options.nfe} network calls of "
            f"{self._restorer.batch_size} tiles; {options.sampler}, {options.dtype}, "
            f"matmul precision {config.matmul_precision}",
            file=sys.stderr,
        )

    @property
    def _tiles(self) -> int:
        return sum(map(len, self.grids.values())) * self._options.samples

    @property
    def _batches(self) -> int:
        return -(-self._tiles // self._restorer.batch_size)

    def run(self, clock: Clock, *, quiet: bool) -> None:
        """Restores and writes everything."""
        jobs: deque[Job] = deque()
        windows = self._windows(jobs)
        if (first := next(windows, None)) is None:
            return  # compiling takes a while, and no picture needs it
        self._restorer.prepare(self._pictures.side, **self._sampling)
        windows = itertools.chain([first], windows)
        with clock.start(batches=self._batches, nfe=self._options.nfe, quiet=quiet):
            # windows are cut as they are asked for; results come in the same order
            for samples in self._restorer.stream(windows, **self._sampling):
                if jobs[0].add(samples):
                    self._write(jobs.popleft())

    def preview(self, output: epath.Path, clock: Clock, *, quiet: bool) -> Outcome:
        """Restores the middle of the first picture that can be: before | after."""
        side, options = self._pictures.side, self._options
        for name, grid in self.grids.items():
            origin = tuple(max(0, (n - side) // 2) // 16 * 16 for n in (grid.height, grid.width))
            try:
                subject = self._pictures.open(name)
            except (UnreadableImage, OSError) as error:
                self._leave_out(name, error)
                continue
            window = subject.window(self._restorer, origin, side=side, seed=options.seed)
            self._restorer.prepare(side, **self._sampling)
            with clock.start(batches=1, nfe=options.nfe, quiet=True):
                (samples,) = self._restorer.stream([window], **self._sampling)
            height, width = (
                min(side, n - at) for n, at in zip((grid.height, grid.width), origin, strict=True)
            )
            panels = [subject.shown(self._restorer, origin, side), samples.x0]
            panels = [subject.from_unit(panel[:height, :width]) for panel in panels]
            files.write_atomically(output / PREVIEW, strip(panels))
            if not quiet:
                whole = duration(clock.estimate(self._batches * options.nfe))
                print(f"all pictures would take about {whole}", file=sys.stderr)
            break
        return Outcome(0, self._skipped, self._unreadable, {}, (PREVIEW,))

    def outcome(self, output: epath.Path) -> Outcome:
        """What became of it; writes the sheet of a measurement."""
        scores, written = {}, ()
        if isinstance(self._pictures, DegradedPictures) and self._restored:
            self._pictures.gallery.write_sheet(output)
            scores, written = self._pictures.gallery.scores(), (SHEET,)
        return Outcome(self._restored, self._skipped, self._unreadable, scores, written)

    def _windows(self, jobs: deque[Job]) -> Iterator[Window]:
        options, restorer = self._options, self._restorer
        for name, grid in self.grids.items():
            try:
                subject = self._pictures.open(name)
            except (UnreadableImage, OSError) as error:
                self._leave_out(name, error)
                continue
            states = len(self._sampling["record"])
            jobs.append(Job(subject, grid, samples=options.samples, states=states))
            for sample in range(options.samples):
                for origin in grid.origins():
                    yield subject.window(
                        restorer, origin, side=grid.side, seed=options.seed, sample=sample
                    )

    def _write(self, job: Job) -> None:
        target = self._targets[job.subject.name]
        for path, data in job.files(target).items():
            files.write_atomically(path, data)
        if isinstance(self._pictures, DegradedPictures):
            self._pictures.gallery.add(job.subject, job.restored())
        self._restored += 1

    def _leave_out(self, name: str, error: Exception) -> None:
        print(f"warning: {name} is left out: {error}", file=sys.stderr)
        self._unreadable[name] = str(error)


def _pictures(source: epath.PathLike, suffixes: tuple[str, ...]) -> tuple[epath.Path, list[str]]:
    """The folder and the names in it; of one picture its folder and its name."""
    path = epath.Path(source).expanduser()
    if path.exists() and not path.is_dir():
        return path.parent, [path.name]
    folder = files.require_folder(path)
    return folder, files.list_images(folder, suffixes=suffixes)


def _open(
    restorer: Restorer,
    model: epath.PathLike,
    folder: epath.Path,
    names: list[str],
    options: Options,
) -> DegradedPictures | GivenPictures | PairSources:
    if restorer.config.has_pairs:
        return open_pairs(model, folder, options)
    if options.degrade:
        return DegradedPictures(
            restorer.config, folder, names, seed=options.seed, mask_file=options.masks
        )
    return GivenPictures(restorer, folder, options)


def _record(options: Options) -> tuple[int, ...]:
    """Positions of a trajectory's states in the sampler's grid, from X_1 on."""
    if not options.trajectory:
        return ()
    if options.nfe < 2:
        raise ValueError(f"trajectory needs states on the way: nfe={options.nfe} has none, use 2")
    count = min(_STATES, options.nfe - 1)
    positions = np.linspace(options.nfe - 1, 1, count).round().astype(int)
    return tuple(int(position) for position in positions)


def _check_output(source: epath.PathLike, output: epath.PathLike) -> None:
    source, output = (epath.Path(path).expanduser() for path in (source, output))
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file: name a folder")
    if source.is_dir() and output.resolve().is_relative_to(source.resolve()):
        # a second run would take the first one's results for pictures
        raise ValueError(f"--output {output} lies in the input folder: choose another")


def _targets(
    folder: epath.Path, output: epath.Path, names: list[str], suffix: str, options: Options
) -> dict[str, epath.Path]:
    """Where each picture goes; refuses to overwrite anything that was given."""
    targets = {name: (output / name).with_suffix(suffix) for name in names}
    seen: dict[epath.Path, str] = {output / name: name for name in (SHEET, PREVIEW)}
    for name, target in targets.items():
        written = [target]
        written += [strip_file(target)] if options.trajectory else []
        written += [std_file(target)] if options.samples > 1 else []
        for path in written:
            if path in seen:
                raise ValueError(f"{name} and {seen[path]} would both be written to {path}")
            if path.exists() and path.resolve() == (folder / name).resolve():
                raise ValueError(f"{name} would be overwritten: choose another --output")
            seen[path] = name
    return targets


def _check_settings(output: epath.Path, options: Options, workdir: epath.PathLike) -> None:
    """Refuses to mix results of different settings in one folder."""
    path = output / SETTINGS
    if options.overwrite or options.preview or not path.exists():
        return
    try:
        theirs = json.loads(path.read_text())
    except ValueError:
        raise ValueError(f"{path} is broken: choose another --output, or --overwrite") from None
    ours = json.loads(json.dumps(options.settings(workdir)))
    differences = [
        f"{key} is {theirs.get(key)!r} there, {value!r} here"
        for key, value in ours.items()
        if theirs.get(key) != value
    ]
    if differences:
        raise ValueError(
            f"{output} holds pictures restored otherwise: {', '.join(differences)}; choose another "
            "--output, or --overwrite"
        )
