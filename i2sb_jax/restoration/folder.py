"""Restoring every picture of a folder."""

import errno
import functools
import hashlib
import itertools
import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax import files, interop
from i2sb_jax.accelerators.processes import Place
from i2sb_jax.accelerators.program import Memory
from i2sb_jax.bridge import Samples
from i2sb_jax.files import IMAGE_SUFFIXES
from i2sb_jax.finite import NonFiniteWeights
from i2sb_jax.pictures import ARRAY_SUFFIXES, Notes, UnreadableImage, decode_rgb
from i2sb_jax.progress import duration
from i2sb_jax.restoration.claims import Claims, Taken, is_shared
from i2sb_jax.restoration.clock import Calls, Clock
from i2sb_jax.restoration.degraded import DegradedPictures
from i2sb_jax.restoration.given import GivenPictures, given_suffixes
from i2sb_jax.restoration.inputs import Subject
from i2sb_jax.restoration.memory import bytes_on_device, bytes_to_come, peak_bytes
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_file import OutputFile, check_output_file, names_file
from i2sb_jax.restoration.output_folder import OutputFolder, check_output
from i2sb_jax.restoration.outputs import Job, own_picture, strip
from i2sb_jax.restoration.pairs import PairSources, open_pairs
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.results_list import Stamp, stamp_of
from i2sb_jax.restoration.tiles import Grid
from i2sb_jax.sampling import OutOfMemory, Window
from i2sb_jax.sampling.noise import BLOCK
from i2sb_jax.types import NonFiniteError

T = TypeVar("T")

_MOST_PIXELS = 2**24  # of pictures that wait for their windows, before a batch goes without more
# errors of the place that results go to, and not of one picture
_OF_THE_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_MOST_TOLD = 4  # processes
_STATES = 5  # of a trajectory, beside its end


class Outcome(NamedTuple):
    """The outcome of restoring a folder.

    Attributes:
        restored: number of pictures written.
        skipped: number of those that had been restored before.
        unreadable: name -> reason of those that could not be restored.
        scores: title -> (PSNR in dB, SSIM), means over the pictures; empty without originals.
        written: names relative to the output folder, or to that of the output file, of what else is
            worth looking at.
        elsewhere: number of pictures that other processes have written meanwhile.
    """

    restored: int
    skipped: int
    unreadable: dict[str, str]
    scores: dict[str, tuple[float, float]]
    written: tuple[str, ...] = ()
    elsewhere: int = 0


def restore_folder(
    workdir: epath.PathLike,
    source: epath.PathLike,
    output: epath.PathLike,
    options: Options | None = None,
    *,
    quiet: bool = False,
    on_evaluation: Callable[[int, int], None] | None = None,
    place: Place | None = None,
) -> Outcome:
    """Restores all pictures below a folder, or one picture, into files of the same names.

    Each is written as soon as it is finished, and what the output folder has already is left
    alone, so that the same command goes on where it was stopped.

    Processes that are told so share a folder: each restores what no other is at, and all return
    when all of it is there. What one that is lost was at goes to others after a while.

    Args:
        workdir: the run, or a model folder.
        source: folder of pictures, or one picture.
        output: another folder; of one picture also the file that it is to become.
        options: how; the run's choices if None.
        quiet: no plan and no progress.
        on_evaluation: called after each network evaluation of a batch, in another thread, with how
            many are done and how many there are in all; for progress elsewhere.
        place: among processes that share the folder; None: this one is alone, unless others are
            at work in it.

    Returns:
        The outcome.

    Raises:
        ValueError: a folder, name or option that does not fit, or the output folder holds results
            of other settings; one line.
        NonFiniteError: the network gave NaN or infinity; names picture and weights. What was
            finished before stays, and nothing of this picture is written.
    """
    model = interop.local_folder(workdir)
    config = config_lib.load(model)
    options = Options() if options is None else options
    folder, names = _pictures(source, _suffixes(config, options))
    to_file = names_file(output)
    (check_output_file if to_file else check_output)(source, output)
    clock = Clock(on_evaluation)
    is_watched = on_evaluation is not None or not quiet
    nfe = config.sampling.nfe if options.nfe is None else options.nfe
    nfe += config.start_evaluations
    try:
        restorer = Restorer.from_workdir(
            model,
            checkpoint=options.checkpoint,
            dtype=options.dtype,
            # where batches tell as much, without: JAX keeps no program with a callback on disk
            on_evaluation=clock.one_more if is_watched and nfe > 1 else None,
        )
    except NonFiniteWeights as error:  # the network could give nothing else
        raise NonFiniteError(f"{names[0]} cannot be restored: {error}") from None
    is_tile_free = options.tile is None
    options = options.resolve(restorer.config)
    if options.seed and options.is_seed_idle(restorer.config):
        print(f"note: seed={options.seed} changes nothing: nothing is drawn here", file=sys.stderr)
    notes = Notes(functools.partial(print, file=sys.stderr))
    pictures = _open(restorer, model, folder, names, options, notes)
    target, suffix = epath.Path(output).expanduser(), pictures.suffix
    claims = None
    if to_file:
        results = OutputFile(target, folder, names[0], suffix=suffix(names[0]), options=options)
    else:
        if not options.preview and (place is not None or is_shared(target)):
            claims = Claims(target, Place() if place is None else place)
        results = OutputFolder(target, folder, names, suffix=suffix, options=options, claims=claims)
    settings = {
        "model": str(workdir),
        "weights": restorer.weights_digest(),
        "input": files.real_path(folder),
        **options.settings(),
    }
    if isinstance(pictures, GivenPictures):
        settings |= pictures.settings()
    if options.degrade:
        # masks and members of the mixture go by a picture's number among all
        listing = "\0".join(names).encode("utf-8", "surrogateescape")
        settings["pictures"] = hashlib.sha256(listing).hexdigest()[:16]
    results.check_settings(settings)
    work = _Work(restorer, pictures, options, results, is_tile_free=is_tile_free, claims=claims)
    with results.together(settings):
        work.plan(quiet=quiet)
        if not quiet and (provenance := interop.read_provenance(model)) is not None:
            print(provenance, file=sys.stderr)
        if options.preview:
            return work.preview(clock, quiet=quiet)
        if work.grids:
            work.run(clock, settings, quiet=quiet)
    notes.finish()
    return work.outcome()


class _Work:
    """The pictures that are left to do.

    Attributes:
        grids: name -> windows of each.
    """

    def __init__(
        self,
        restorer: Restorer,
        pictures: GivenPictures | PairSources | DegradedPictures,
        options: Options,
        results: OutputFolder | OutputFile,
        *,
        is_tile_free: bool = False,
        claims: Claims | None = None,
    ):
        """Takes what `restore_folder` has made.

        Args:
            restorer: of the run.
            pictures: to be restored.
            options: resolved.
            results: where they go.
            is_tile_free: nobody chose the tile, so it may be as large as the device's free memory
                allows, where that is known.
            claims: of the processes that share them; None: this one is alone.
        """
        self.grids: dict[str, Grid] = {}
        self._is_tile_free = is_tile_free
        # what is degraded here is one window, as it was in training
        self._tiling = None if options.degrade else options.tiling(restorer.config)
        self._planned: dict[str, Grid] = {}  # the windows before memory ran out
        self._begun = False
        self._finished: set[str] = set()
        self._restorer, self._pictures, self._options = restorer, pictures, options
        self._results, self._claims = results, claims
        self._elsewhere: list[str] = []
        self._skipped: list[str] = []
        self._unreadable: dict[str, str] = {}
        self._restored = 0
        self._stale = 0  # pictures with a result of what they were once
        self._stamps: dict[str, Stamp] = {}
        self._tiles: Counter[int] = Counter()  # side -> tiles that are to do
        self._sampling = options.sampling(restorer.config)
        self._record = _record(options)
        self._more = restorer.config.start_evaluations

    def plan(self, *, quiet: bool) -> None:
        """Looks at every header, and says what there is to do."""
        for name in self._results.targets:
            if self._is_done(name):
                self._skipped.append(name)
            elif (grid := self._tried(name, self._pictures.grid)) is not None:
                self.grids[name] = grid
        self._planned = dict(self.grids)
        self._count_tiles()
        if quiet:
            return
        config, options = self._restorer.config, self._options
        line = "1 picture" if len(self.grids) == 1 else f"{len(self.grids)} pictures"
        if self._skipped:
            line += f" ({len(self._skipped)} already there)"
        if self._stale and not options.overwrite:
            line += f", {self._stale} of them again, for they have changed"
        if options.samples > 1:
            line += f", {options.samples} samples each"
        if self._claims is not None:
            line += ", together with other processes"
        nfe = options.nfe + self._more
        count = nfe * sum(calls.count for calls in self._calls)
        of_start = f" + {self._more} of the start" if self._more else ""
        print(
            f"{line}, {self._tiles_in_words()}, nfe {options.nfe}{of_start} each: "
            f"{count} network calls; {options.sampler} on a grid "
            f"even in {options.spacing}, {options.dtype}, "
            f"matmul precision {config.matmul_precision}",
            file=sys.stderr,
        )

    def _count_tiles(self) -> None:
        """Brings pictures whose windows are of one size together, and counts these."""
        self.grids = dict(sorted(self.grids.items(), key=lambda item: item[1].side))
        self._tiles.clear()
        for grid in self.grids.values():
            self._tiles[grid.side] += len(grid) * self._options.samples

    def _is_done(self, name: str) -> bool:
        """Whether there is a result of a picture and its mask as they are now."""
        if not self._results.is_made(name):
            return False
        try:
            stamp = stamp_of(self._pictures.made_of(name))
        except (UnreadableImage, OSError):  # looking at the picture will say what is wrong
            return False
        is_done = self._results.is_done(name, stamp)
        self._stale += not is_done
        return is_done

    def _tiles_in_words(self) -> str:
        """How many there are, of which sizes, and how many of them are computed at once."""
        at_once = self._restorer.engine.windows_a_call
        parts = [
            f"{count} tiles of {side}×{side} (at once {at_once(side, side)})"
            for side, count in self._tiles.items()
        ]
        return ", ".join(parts) or "no tiles"

    @property
    def _calls(self) -> list[Calls]:
        """The network calls of each size of tiles, in their order."""
        at_once = {side: self._restorer.engine.windows_a_call(side, side) for side in self._tiles}
        return [
            Calls(-(-count // at_once[side]), at_once[side] * side**2)
            for side, count in self._tiles.items()
        ]

    def run(self, clock: Clock, settings: dict[str, Any], *, quiet: bool) -> None:
        """Restores and writes everything; where memory runs out what is left, by smaller calls."""
        self._by_smaller_calls(lambda: self._run(clock, settings, quiet=quiet))

    def _by_smaller_calls(self, act: Callable[[], T]) -> T:
        """`act`, again and again while a device has not the memory for it.

        Raises:
            ValueError: it has not for the smallest call either; one line.
        """
        while True:
            try:
                return act()
            except OutOfMemory as error:
                found = OutOfMemory(error.windows, error.shape, error.reason)
            # only now are the arrays gone that the error has seen
            if not self._go_smaller(found):
                self._results.abandon()
                less = ", or choose --dtype bfloat16" if self._options.dtype == "float32" else ""
                raise ValueError(
                    f"no memory for {found}, and nothing smaller is tried: free the device of "
                    f"other programs{less}"
                )

    def _go_smaller(self, error: OutOfMemory, *, fits: float = 0.5) -> bool:
        """Has fewer windows computed at once, or where it is one, halves the tile; says so.

        Args:
            error: of a call that there is no memory for.
            fits: about the share of it that there is.

        Returns:
            Whether there is anything smaller.
        """
        height, width = error.shape
        count = max(1, min(error.windows - 1, int(error.windows * fits)))
        change = f"{count} at once from here"
        if error.windows == 1:
            tiling = self._tiling
            while tiling is not None and tiling.side >= max(error.shape):
                tiling = tiling.halved()
            if tiling is None:
                return False
            self._pictures.cut_into(tiling)
            self._tiling, height, width = tiling, tiling.side, tiling.side
            change = f"what is not finished is restored in tiles of {height}×{width}"
        self._restorer.engine.restrict(count * height * width)
        print(f"note: no memory for {error}; {change}", file=sys.stderr, flush=True)
        done = (*self._finished, *self._unreadable)
        left, self.grids = [name for name in self.grids if name not in done], {}
        for name in left:
            if (grid := self._tried(name, self._pictures.grid)) is not None:
                self.grids[name] = grid
        self._count_tiles()
        return True

    def _is_left(self) -> bool:
        """Whether others hold pictures, once this process has done what it can."""
        done = {*self._finished, *self._unreadable}
        self.grids = {name: grid for name, grid in self.grids.items() if name not in done}
        self._count_tiles()
        return bool(self.grids)

    def _fit(self) -> None:
        """Makes calls small enough for the memory that is free, where that is known.

        Not where somebody chose the tile; and what is found is the compiler's word, so that the
        smallest call is tried whatever it says.
        """
        engine, fits = self._restorer.engine, not self._is_tile_free
        while not fits and self._tiles and (free := engine.free_bytes()) is not None:
            side = max(self._tiles)
            program = self._restorer.prepare(side, self._sampling, record=self._record)
            need = bytes_on_device(program, weights=self._restorer.weight_bytes)
            count = engine.windows_a_call(side, side) // jax.device_count()
            reason = f"{need / 2**30:.2f} GiB are needed, {free / 2**30:.2f} are free"
            short = OutOfMemory(count, (side, side), reason)
            fits = need <= free or not self._go_smaller(short, fits=free / need)

    def _run(self, clock: Clock, settings: dict[str, Any], *, quiet: bool) -> None:
        self._fit()
        self._go_through(clock, settings, quiet=quiet)
        is_told = quiet
        while self._claims is not None and self._is_left():
            if not is_told and (holders := sorted(set(self._claims.holders.values()))):
                more = f" and {len(holders) - _MOST_TOLD} more" * (len(holders) > _MOST_TOLD)
                who = ", ".join(holders[:_MOST_TOLD]) + more
                print(f"waiting for pictures that are at {who}", file=sys.stderr, flush=True)
                is_told = True
            self._claims.wait()
            self._go_through(clock, settings, quiet=quiet)

    def _go_through(self, clock: Clock, settings: dict[str, Any], *, quiet: bool) -> None:
        """Restores all pictures that are left and that no other process is at."""
        jobs: deque[Job] = deque()
        windows = self._windows(jobs, clock)
        if (first := next(windows, None)) is None:
            return  # compiling takes a while, and no picture needs it
        if first.measurement is None:
            prepare = functools.partial(self._restorer.prepare, record=self._record)
            needs = [prepare(side, self._sampling) for side, n in self._tiles.items() if n]
        else:  # its arrays are of each picture's own shapes: other programs when they are needed
            prepare = self._restorer.engine.prepare
            needs = [prepare(first, self._sampling, record=self._record)]
        quiet = quiet or self._begun  # what a lost process leaves needs no more words
        if not quiet:
            self._tell_memory(max(needs, key=lambda need: need.total))
        windows = itertools.chain([first], windows)
        nfe = self._options.nfe + self._more
        with clock.start(self._calls, nfe=nfe, quiet=quiet):
            # windows are cut as they are asked for; results come in the same order
            for samples in self._stream(windows, clock):
                try:
                    self._restorer.check_finite(samples.x0, jobs[0].subject.name)
                except NonFiniteError:
                    self._results.abandon()
                    raise
                if not self._begun:  # the network works: a folder that takes nothing is told early
                    self._results.begin(settings)
                    self._begun = True
                if jobs[0].add(samples):
                    job = jobs.popleft()
                    self._tried(job.subject.name, lambda _, job=job: self._write(job))

    def _tell_memory(self, program: Memory) -> None:
        """Says what a CPU will need; an accelerator keeps most of it elsewhere."""
        if jax.default_backend() != "cpu":
            return
        to_come = bytes_to_come(
            program,
            pixels=max(grid.height * grid.width for grid in self.grids.values()),
            samples=self._options.samples,
            states=len(self._record),
        )
        print(f"about {peak_bytes(to_come) / 1e9:.2f} GB of memory", file=sys.stderr, flush=True)

    def _stream(self, windows: Iterable[Window | None], clock: Clock) -> Iterator[Samples]:
        """The windows' samples; of one evaluation batches are counted, of more each evaluation."""
        return self._restorer.engine.stream(
            windows,
            self._sampling,
            record=self._record,
            on_batch=clock.one_more if self._sampling.nfe + self._more == 1 else None,
        )

    def preview(self, clock: Clock, *, quiet: bool) -> Outcome:
        """Restores the middle of the first picture that can be: before | after."""
        return self._by_smaller_calls(lambda: self._preview(clock, quiet=quiet))

    def _preview(self, clock: Clock, *, quiet: bool) -> Outcome:
        self._fit()
        options, written = self._options, ()
        for name, grid in self.grids.items():
            side = grid.side
            if (subject := self._tried(name, self._pictures.open)) is None:
                continue
            origin = _middle(subject, grid)
            window = subject.window(self._restorer, origin, side=side, seed=options.seed)
            self._restorer.engine.prepare(window, self._sampling, record=self._record)
            call = Calls(1, self._restorer.engine.windows_a_call(side, side) * side**2)
            with clock.start([call], nfe=options.nfe + self._more, quiet=True):
                (samples,) = self._stream([window], clock)
            self._restorer.check_finite(samples.x0, name)
            inside = tuple(
                slice(max(lead - at, 0), n - at)
                for lead, at, n in zip(subject.lead, origin, grid[:2], strict=True)
            )
            panels = subject.shown(self._restorer, origin, side), samples.x0
            panels = panels[0], subject.mixed(panels[1], origin, options.strength)
            panels = panels[0], subject.keep_known(panels[1], origin)
            panels = [subject.from_unit(subject.merge(panel[inside])) for panel in panels]
            files.write_atomically(self._results.preview, own_picture(strip(panels)))
            written = (self._results.preview.name,)
            if not quiet:
                whole = duration(clock.estimate(self._calls))
                print(f"all pictures would take about {whole}", file=sys.stderr)
            break
        return Outcome(0, 0, self._unreadable, {}, written)

    def outcome(self) -> Outcome:
        """Returns the outcome; writes the sheet of a measurement."""
        scores, written = {}, ()
        if isinstance(self._pictures, DegradedPictures):
            for name in (*self._skipped, *self._elsewhere):
                self._tried(name, self._measure_again)
            scores = self._pictures.gallery.scores()
        if scores and (sheet := self._results.sheet) is not None:
            self._pictures.gallery.write_sheet(sheet)
            written = (sheet.name,)
        return Outcome(
            self._restored, len(self._skipped), self._unreadable, scores, written,
            elsewhere=len(self._elsewhere),
        )  # fmt: skip

    def _windows(self, jobs: deque[Job], clock: Clock) -> Iterator[Window | None]:
        options, restorer, count, side = self._options, self._restorer, 0, None
        names = list(self.grids)
        for name in names if self._claims is None else self._claims.in_turn(names):
            grid = self.grids[name]
            if grid.side != side:
                count, side = 0, grid.side
            if count and sum(job.grid.height * job.grid.width for job in jobs) > _MOST_PIXELS:
                # pictures of few windows to restore: a batch of them would fill the memory
                yield None
                self._tiles[side] += -count % restorer.engine.windows_a_call(side, side)
                count = 0
            job = self._tried(name, self._job)
            origins = () if job is None else job.to_restore
            # only now is it known how much of the plan there is to do
            self._tiles[side] -= (len(grid) - len(origins)) * options.samples
            clock.revise(self._calls)
            if job is None:
                continue
            jobs.append(job)
            count += len(origins) * options.samples
            for sample, origin in itertools.product(range(options.samples), origins):
                yield job.subject.window(
                    restorer, origin, side=grid.side, seed=options.seed, sample=sample
                )

    def _job(self, name: str) -> Job | None:
        """A picture with its windows; None where it is another process's."""
        states = len(self._record)
        # before it is read: what changes from now on shows
        self._stamps[name] = stamp_of(self._pictures.made_of(name))
        taken = self._results.take(name, self._stamps[name])
        if taken is Taken.DONE:
            self._elsewhere.append(name)
            self._finished.add(name)
        if taken is not Taken.MINE:
            return None
        subject, grid = self._pictures.open(name), self.grids[name]
        options = self._options
        return Job(subject, grid, samples=options.samples, states=states, strength=options.strength)

    def _write(self, job: Job) -> None:
        name = job.subject.name
        target, stamp = self._results.targets[name], self._stamps[name]
        tile = job.grid.side if job.grid != self._planned[name] else None
        self._results.claim(name)
        for path, parts in job.files(target).items():
            with files.open_atomically(path) as file:
                file.writelines(self._results.marked(path, parts, stamp, tile=tile))
        self._results.finish(name, stamp, tile=tile)
        if isinstance(self._pictures, DegradedPictures):
            self._pictures.gallery.add(job.subject, job.restored())
        self._restored += 1
        self._finished.add(name)

    def _measure_again(self, name: str) -> None:
        """Scores a picture that was restored earlier."""
        subject, target = self._pictures.open(name), self._results.targets[name]
        restored = decode_rgb(target.read_bytes())
        if restored.shape != subject.clean.shape:
            raise UnreadableImage(f"{target} is no result of it: delete that file")
        self._pictures.gallery.add(subject, restored)

    def _tried(self, name: str, act: Callable[[str], T]) -> T | None:
        """`act` of a picture; None, and a line, where the picture does not allow it."""
        try:
            return act(name)
        except (UnreadableImage, OSError, MemoryError) as error:
            if isinstance(error, OSError) and error.errno in _OF_THE_PLACE:
                raise
            reason = "not enough memory" if isinstance(error, MemoryError) else str(error)
            print(f"warning: {name} is left out: {reason}", file=sys.stderr)
            self._unreadable[name] = reason
            if name in self._stamps:
                if isinstance(error, UnreadableImage):
                    self._results.fail(name, self._stamps[name], reason)
                else:  # another process may have the memory, or the file
                    self._results.release(name)
            return None


def _middle(subject: Subject, grid: Grid) -> tuple[int, int]:
    """Returns the start of a picture's most telling window: near its middle, with a hole."""
    middle = tuple(max(0, n - grid.side) // 2 // BLOCK * BLOCK for n in grid[:2])
    telling = (at for at in (middle, *grid.origins()) if not subject.is_known(at, grid.side))
    return min(telling, key=lambda at: math.dist(at, middle))


def _pictures(source: epath.PathLike, suffixes: tuple[str, ...]) -> tuple[epath.Path, list[str]]:
    """The folder and the names in it; of one picture its folder and its name."""
    path = epath.Path(source).expanduser()
    if path.exists() and not path.is_dir():
        return path.parent, [path.name]
    folder = files.require_folder(path)
    return folder, files.list_images(folder, suffixes=suffixes, tell=_note)


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


def _suffixes(config: config_lib.Config, options: Options) -> tuple[str, ...]:
    if config.has_pairs:
        return ARRAY_SUFFIXES
    return IMAGE_SUFFIXES if options.degrade else given_suffixes(config.corruption)


def _open(
    restorer: Restorer,
    model: epath.PathLike,
    folder: epath.Path,
    names: list[str],
    options: Options,
    notes: Notes,
) -> DegradedPictures | GivenPictures | PairSources:
    if restorer.config.has_pairs:
        return open_pairs(restorer.config, model, folder, options)
    if options.degrade:
        return DegradedPictures(
            restorer.config, folder, names, seed=options.seed, mask_file=options.masks, notes=notes
        )
    return GivenPictures(restorer, folder, options, notes)


def _record(options: Options) -> tuple[int, ...]:
    """Positions of a trajectory's states in the sampler's grid, from X_1 on."""
    if not options.trajectory:
        return ()
    if options.nfe < 2:
        raise ValueError(f"trajectory needs states on the way: nfe={options.nfe} has none, use 2")
    count = min(_STATES, options.nfe - 1)
    positions = np.linspace(options.nfe - 1, 1, count).round().astype(int)
    return tuple(int(position) for position in positions)
