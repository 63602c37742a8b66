"""Clean pictures under the run's own corruption: what is restored can be measured."""

import dataclasses
import functools
import sys
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from etils import epath

from i2sb_jax import metrics
from i2sb_jax.config import Config
from i2sb_jax.corruptions import Corrupted, Corruption
from i2sb_jax.data.preprocess import prepare
from i2sb_jax.data.windows import central_window, window_corruption
from i2sb_jax.files import write_atomically
from i2sb_jax.pictures import Notes, decode_rgb, encode_png, from_uint8, picture_size, to_uint8
from i2sb_jax.restoration.baselines import Baseline, baseline_for
from i2sb_jax.restoration.inputs import Subject
from i2sb_jax.restoration.outputs import own_picture
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.sheet import MAX_ROWS, comparison_sheet
from i2sb_jax.restoration.tiles import Grid, make_grid
from i2sb_jax.run import Run
from i2sb_jax.sampling import Window
from i2sb_jax.sampling.noise import name_hash, picture_key


@dataclasses.dataclass(frozen=True, kw_only=True)
class DegradedSubject(Subject):
    """A square that was degraded here; one window.

    Attributes:
        clean: the original, float32 [h, w, 3] in [-1, 1].
        degraded: as a person sees it.
        corrupted: X_1, mask and condition of this one picture.
    """

    clean: np.ndarray
    degraded: np.ndarray
    corrupted: Corrupted

    def window(
        self,
        restorer: Restorer,
        origin: tuple[int, int],
        *,
        side: int,
        seed: int,
        sample: int = 0,
    ) -> Window:
        """The whole square; X_1 is the corruption's, whatever the sample."""
        del restorer, origin, side
        return Window(picture_key(seed, self.name, sample=sample), *self.corrupted)


class DegradedPictures:
    """Clean pictures of a folder, cut as the run's evaluation does, and degraded.

    What is drawn depends on the seed and the name; a mask or member of the mixture on the picture's
    number in the folder.
    """

    def __init__(
        self,
        config: Config,
        folder: epath.Path,
        names: list[str],
        *,
        seed: int,
        mask_file: str | None,
        notes: Notes | None = None,
    ):
        """Takes the run and the pictures.

        Args:
            config: of the run.
            folder: of the pictures.
            names: relative to it; a picture's number is its place here.
            seed: of what the corruption draws.
            mask_file: the paper's freeform masks, in place of the run's own.
            notes: told of what files hold that is not read.
        """
        if mask_file is not None:
            config = dataclasses.replace(config, mask_file=mask_file)
        self._config, self._folder, self._seed = config, folder, seed
        self._notes = notes
        self._numbers = {name: number for number, name in enumerate(names)}
        corruption = Run(config).corruption
        self.side = config.image_size
        self._windows = window_corruption(corruption, image_size=self.side, crop=config.data.crop)
        self._shows_x1 = corruption.facts.is_photographic
        self.gallery = Gallery(corruption, names)

    def made_of(self, name: str) -> list[epath.Path]:
        """The files that a result is made of."""
        masks = self._config.mask_file
        return [self._folder / name, *([epath.Path(masks).expanduser()] if masks else [])]

    def suffix(self, name: str) -> str:
        """Returns the suffix of a picture's result."""
        del name
        return ".png"

    def grid(self, name: str) -> Grid:
        """One window."""
        picture_size(self._folder / name)  # told before the work starts if it is broken
        return make_grid(self.side, self.side, side=self.side, overlap=0)

    def open(self, name: str) -> DegradedSubject:
        """Reads, cuts and degrades one picture."""
        tell = None if self._notes is None else functools.partial(self._notes.tell, name)
        image = decode_rgb((self._folder / name).read_bytes(), tell=tell)
        picture = prepare(image, image_size=self.side, crop=self._config.data.crop)
        windows = self._windows
        square = central_window(
            picture, image_size=self.side, margin=windows.margin, grid=windows.grid
        )
        squares = from_uint8(square)[None]
        number = np.array([self._numbers[name]])
        rng = np.random.default_rng([self._seed, name_hash(name)])
        clean, corrupted = windows(rng, squares, index=number)
        shown = corrupted.image
        if not self._shows_x1:
            shown = windows.degrade(squares, corrupted.mask, index=number)
        return DegradedSubject(
            name=name,
            cut=lambda row, column, side: shown[0],
            cut_hole=None,  # known pixels are measured as the sampler leaves them
            merge=lambda rows: rows,
            from_unit=to_uint8,
            unit=127.5,
            encode=encode_png,
            clean=clean[0],
            degraded=shown[0],
            corrupted=Corrupted(*(None if x is None else x[0] for x in corrupted)),
        )


class Gallery:
    """Scores of all pictures, and the first few for the sheet.

    What is scored is what is saved, in 8 bits, so a picture restored earlier scores the same.
    """

    def __init__(self, corruption: Corruption, names: Sequence[str]):
        """Begins empty; the baseline is the corruption's, and the first names make the sheet."""
        self._rows: dict[str, dict[str, np.ndarray] | None] = dict.fromkeys(names[:MAX_ROWS])
        self._baseline = _baseline(corruption)
        self._scores: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def add(self, subject: DegradedSubject, restored: np.ndarray) -> None:
        """Takes a restored picture, uint8 [h, w, 3]."""
        columns = {"degraded": subject.degraded}
        if self._baseline is not None:
            mask = subject.corrupted.mask
            mask = None if mask is None else mask[None]
            columns[self._baseline.name] = self._baseline.repair(subject.degraded[None], mask)[0]
        columns = {title: to_uint8(image) for title, image in columns.items()}
        columns["restored"] = restored
        for title, image in columns.items():
            pair = from_uint8(image)[None], subject.clean[None]
            self._scores[title].append(
                (float(metrics.capped_psnr(*pair)[0]), float(metrics.ssim(*pair)[0]))
            )
        if subject.name in self._rows:
            self._rows[subject.name] = columns | {"clean": to_uint8(subject.clean)}

    def write_sheet(self, file: epath.Path) -> None:
        """Writes the first pictures side by side, if there are any."""
        if rows := [row for row in self._rows.values() if row is not None]:
            write_atomically(file, own_picture(encode_png(comparison_sheet(rows))))

    def scores(self) -> dict[str, tuple[float, float]]:
        """Title -> (PSNR in dB, SSIM), means over the pictures."""
        return {
            title: tuple(float(x) for x in np.mean(values, axis=0))
            for title, values in self._scores.items()
        }


def _baseline(corruption: Corruption) -> Baseline | None:
    try:
        return baseline_for(corruption)
    except ModuleNotFoundError as error:
        print(f"warning: the baseline is left out: {error}", file=sys.stderr)
        return None
