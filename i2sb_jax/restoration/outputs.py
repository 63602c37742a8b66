"""Results of restored windows: pixels, statistics of several samples, a strip of states."""

import io
import math
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath
from PIL import Image

from i2sb_jax.bridge import Samples
from i2sb_jax.pictures import encode_png, read_text, with_text
from i2sb_jax.restoration.inputs import Subject
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.tiles import Canvas, Grid

# settings that tell no results apart: the weights do, wherever they lie
UNCOMPARED = ("model", "results")
KEYWORD = "i2sb-restore"  # of the text in a PNG by which one of ours is known again
_STRIP_SIDE = 512  # pixels; larger states are reduced


class Pixels:
    """The picture itself, in the type of its file: rows are converted as they are finished.

    Attributes:
        array: without the rows and columns that lead to it.
    """

    def __init__(self, subject: Subject, height: int):
        """Begins the picture of `subject`, so many rows with those that lead to it."""
        self.array: np.ndarray | None = None
        self._subject, self._height = subject, height - subject.lead[0]

    def write_rows(self, top: int, rows: np.ndarray) -> None:
        """Takes finished rows float32 [n, w, c], not clipped."""
        above, left = self._subject.lead
        rows, top = rows[max(above - top, 0) :, left:], max(top - above, 0)
        converted = self._subject.from_unit(self._subject.merge(rows))
        if self.array is None:
            shape = (self._height, *converted.shape[1:])
            self.array = np.empty(shape, converted.dtype)
        self.array[top : top + len(rows)] = converted


class Moments:
    """Mean and standard deviation of each pixel over samples, by Welford's recurrence.

    Channels are as in the file: where it is grey, of the grey that each sample would be saved as.
    """

    def __init__(self, subject: Subject, height: int):
        """Begins with no sample of the picture of `subject`, so many rows."""
        self.count = 0
        self.mean: np.ndarray | None = None
        self._squares: np.ndarray | None = None
        self._subject, self._height = subject, height

    def write_rows(self, top: int, rows: np.ndarray) -> None:
        """Takes finished rows of one sample, float32 [n, w, c], not clipped."""
        rows = self._subject.merge(rows)
        if self.mean is None:
            self.mean = np.zeros((self._height, *rows.shape[1:]), np.float32)
            self._squares = np.zeros_like(self.mean)
        self.count += top == 0  # a new sample
        part = slice(top, top + len(rows))
        difference = rows - self.mean[part]
        self.mean[part] += difference / self.count
        self._squares[part] += difference * (rows - self.mean[part])

    def std(self) -> np.ndarray:
        """The samples' standard deviation, unbiased, float32 [h, w, c] in [-1, 1]'s units."""
        return np.sqrt(self._squares / (self.count - 1))


class Job:
    """Collects the restored windows of one picture, sample by sample and row by row.

    Those without a hole where others have some are not restored: it fills them in by itself.

    Attributes:
        subject: the picture.
        grid: its windows.
        to_restore: origins of those that `add` is given, of every sample.
    """

    def __init__(
        self, subject: Subject, grid: Grid, *, samples: int, states: int, strength: float = 1.0
    ):
        """Begins a picture.

        Args:
            subject: the picture.
            grid: its windows.
            samples: restorations of it; their statistics are kept if more than one.
            states: recorded states a window, for the strip.
            strength: how much of the change is taken.
        """
        self.subject, self.grid, self._strength = subject, grid, strength
        self._result = (Pixels if samples == 1 else Moments)(subject, grid.height)
        self._states = [Pixels(subject, grid.height) for _ in range(states)]
        origins = list(grid.origins())
        self.to_restore = [at for at in origins if not subject.is_known(at, grid.side)]
        self._places = deque(origins * samples)
        self._begin()
        self._fill_in()

    def _begin(self) -> None:
        self._canvases = [
            Canvas(self.grid, self._write_result),
            *(Canvas(self.grid, state.write_rows) for state in self._states),
        ]

    def _write_result(self, top: int, rows: np.ndarray) -> None:
        self._result.write_rows(top, self.subject.settled(top, rows))

    def add(self, samples: Samples) -> bool:
        """Adds the next restored window; True when the last sample is complete."""
        origin = self._places[0]
        window = self.subject.mixed(samples.x0, origin, self._strength)
        self._put([self.subject.keep_known(window, origin), *samples.xt_path])
        self._fill_in()
        return not self._places

    def _fill_in(self) -> None:
        """Windows that come next and have nothing to be restored."""
        side = self.grid.side
        while self._places and self.subject.is_known(self._places[0], side):
            window = self.subject.cut(*self._places[0], side)
            self._put([window] * len(self._canvases))

    def _put(self, windows: list[np.ndarray]) -> None:
        self._places.popleft()
        finished = [c.add(x) for c, x in zip(self._canvases, windows, strict=True)]
        if finished[0] and self._places:
            self._begin()

    def restored(self) -> np.ndarray:
        """The result (the mean of several samples) in the type of its file."""
        if isinstance(self._result, Pixels):
            return self.subject.with_nodata(self._result.array)
        return self.subject.with_nodata(self._trim(self.subject.from_unit(self._result.mean)))

    def _trim(self, array: np.ndarray) -> np.ndarray:
        rows, columns = self.subject.lead
        return array[rows:, columns:]

    def files(self, target: epath.Path) -> dict[epath.Path, Iterable[bytes]]:
        """Path -> contents, in parts, of all that is to be written.

        `target` comes last: it tells that all is there.
        """
        files: dict[epath.Path, Iterable[bytes]] = {}
        if isinstance(self._result, Moments):
            buffer = io.BytesIO()
            std = self._trim(self._result.std()) * self.subject.unit
            np.save(buffer, self.subject.with_nodata(std.astype(np.float32), math.nan))
            files[std_file(target)] = [buffer.getvalue()]
        if self._states:
            states = [state.array for state in self._states]
            files[strip_file(target)] = [strip([*states, self.restored()])]
        encoded = self.subject.encode(self.restored())
        return files | {target: [encoded] if isinstance(encoded, bytes) else encoded}


def files_of(target: epath.Path, options: Options) -> list[epath.Path]:
    """All that is written of one picture, its result first."""
    extra = [strip_file(target)] if options.trajectory else []
    extra += [std_file(target)] if options.samples > 1 else []
    return [target, *extra]


def own_picture(data: bytes) -> bytes:
    """A PNG to be looked at (a preview, a sheet), marked so that another job may write over it."""
    return b"".join(with_text([data], KEYWORD, "to look at"))


def check_own(file: epath.Path) -> None:
    """Raises ValueError, in one line, where such a picture would be written over another one."""
    if not file.exists():
        return
    with file.open("rb") as opened:
        if read_text(opened, KEYWORD) is None:
            raise ValueError(
                f"{file} is there already, and not of i2sb-restore: choose another --output"
            )


def std_file(target: epath.Path) -> epath.Path:
    """Returns the file for the standard deviation of a picture's samples."""
    return target.with_name(f"{target.stem}_std.npy")


def strip_file(target: epath.Path) -> epath.Path:
    """Returns the file for a picture's trajectory."""
    return target.with_name(f"{target.stem}_trajectory.png")


def strip(states: Sequence[np.ndarray]) -> bytes:
    """PNG of pictures side by side, each reduced where it is large; for looking at.

    Args:
        states: [h, w, c] of any integer type; of channels other than one or three the first shows.
    """
    cells = [Image.fromarray(_eight_bit(state)) for state in states]
    scale = min(1.0, _STRIP_SIDE / max(cells[0].size))
    size = tuple(max(1, round(side * scale)) for side in cells[0].size)
    row = [np.asarray(cell.resize(size, Image.Resampling.LANCZOS)) for cell in cells]
    return encode_png(np.concatenate(row, axis=1))


def _eight_bit(array: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3]."""
    shown = array if array.shape[2] == 3 else array[..., :1].repeat(3, axis=2)
    if shown.dtype == np.uint8:
        return shown
    if np.issubdtype(shown.dtype, np.unsignedinteger):
        low, high = 0.0, float(np.iinfo(shown.dtype).max)
    else:
        low, high = float(shown.min()), float(shown.max())
    return np.uint8(np.clip((shown - low) / max(high - low, 1e-12) * 255, 0, 255))
