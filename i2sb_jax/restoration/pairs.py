"""Sources of paired data: any number of channels in, files of the targets' type and units out."""

import dataclasses
import functools
import sys
from collections.abc import Callable

import numpy as np
from etils import epath

from i2sb_jax.config import Config
from i2sb_jax.data.pairs import half_header, halves
from i2sb_jax.data.scaling import ValueRanges, load_value_ranges
from i2sb_jax.data.side import mask_nodata, read_side, side_header, valid_pixels
from i2sb_jax.data.windows import window_at
from i2sb_jax.pictures import ArrayHeader, Place, UnreadableImage, encode_array, place_of
from i2sb_jax.restoration.inputs import Subject
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.tiles import Grid, Tiling
from i2sb_jax.sampling import Window, picture_key


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSubject(Subject):
    """The source of a pair; `cut` has the source's channels, 0 where it holds no data.

    Attributes:
        cut_valid: as `cut`, where it holds data, bool [side, side, 1]; None: everywhere.
    """

    cut_valid: Callable[[int, int, int], np.ndarray] | None

    def shown(self, restorer: Restorer, origin: tuple[int, int], side: int) -> np.ndarray:
        """X_1, which has the target's channels."""
        x1, _ = restorer.corruption.inputs(self.cut(*origin, side)[None])
        return x1[0]

    def window(
        self,
        restorer: Restorer,
        origin: tuple[int, int],
        *,
        side: int,
        seed: int,
        sample: int = 0,
    ) -> Window:
        """X_1 and the condition, both made of the source."""
        x1, cond = restorer.corruption.inputs(self.cut(*origin, side)[None])
        key = picture_key(seed, self.name, sample=sample)
        cond = cond if cond is None else cond[0]
        mask = None
        if self.cut_valid is not None:
            mask = self.cut_valid(*origin, side).astype(np.float32)
        return Window(key, x1[0], mask, cond, np.asarray(origin, np.int32))


class PairSources:
    """Source files of a folder, for a run on pairs."""

    def __init__(self, config: Config, folder: epath.Path, options: Options, ranges: ValueRanges):
        """Takes the run, the folder, resolved options, and the run's value ranges.

        Raises:
            ValueError: an option that pairs do not know.
        """
        if options.degrade:
            raise ValueError("--degrade: paired data comes degraded, leave it out")
        if options.masks is not None:
            raise ValueError(f"--masks {options.masks}: pairs have no holes")
        if options.member is not None:
            raise ValueError(f"--member {options.member}: pairs are no mixture")
        self._folder, self._options, self._ranges = folder, options, ranges
        self._channels, self._nodata = config.data.source_channels, config.data.source_nodata
        self._source_side = config.data.source_side
        self._noted_nodata = False
        self._suspects = not config.data.target_path and not options.side_by_side
        self._tiling = options.tiling(config)

    def made_of(self, name: str) -> list[epath.Path]:
        """The file that a result is made of."""
        return [self._folder / name]

    def suffix(self, name: str) -> str:
        """Returns the suffix of a file's result: that of the targets."""
        del name
        return self._ranges.target.output_suffix

    def cut_into(self, tiling: Tiling) -> None:
        """Cuts files into other windows from now on; those that are open stay as they are."""
        self._tiling = tiling

    def grid(self, name: str) -> Grid:
        """The windows of one file, from its header.

        Raises:
            UnreadableImage: it is none, too large, or unlike what the run was trained on.
        """
        header = side_header(self._folder / name, channels=self._channels)
        if self._options.side_by_side:
            header = half_header(header)
        self._suspect(name, header)
        self._check(np.empty((0, 0, header.channels), header.dtype))
        lead = self._tiling.lead
        return self._tiling.grid(header.height + lead, header.width + lead)

    def open(self, name: str) -> PairSubject:
        """Reads one file.

        Raises:
            UnreadableImage: it cannot be decoded.
        """
        path, nodata = self._folder / name, self._nodata
        side_by_side = self._options.side_by_side  # what is no data may differ between the sides
        array = read_side(path, channels=self._channels, nodata=() if side_by_side else nodata)
        if side_by_side:
            array = mask_nodata(halves(array, self._source_side)[0], nodata)
        self._check(array)
        source, target, lead = self._ranges.source, self._ranges.target, self._tiling.lead
        valid = valid_pixels(array)
        if not valid.any():
            raise UnreadableImage("no pixel of it holds data")
        is_whole, values = bool(valid.all()), array.data
        elsewhere = target.nodata_value(otherwise=(*nodata, *source.nodata))
        if not is_whole:
            self._note_nodata(name, elsewhere)

        def cut(row: int, column: int, side: int) -> np.ndarray:
            window = window_at(values, row - lead, column - lead, image_size=side)
            unit = source.to_unit(window)
            return unit if is_whole else np.where(cut_valid(row, column, side), unit, 0)

        def cut_valid(row: int, column: int, side: int) -> np.ndarray:
            return window_at(valid[..., None], row - lead, column - lead, image_size=side)

        return PairSubject(
            name=name,
            cut=cut,
            cut_hole=None,
            merge=lambda rows: rows,
            from_unit=target.from_unit,
            unit=(np.asarray(target.high) - np.asarray(target.low)) / 2,
            encode=functools.partial(
                encode_array, suffix=self.suffix(name), place=self._place(path, elsewhere)
            ),
            lead=(lead, lead),
            valid=None if is_whole else valid,
            nodata=elsewhere,
            cut_valid=None if is_whole else cut_valid,
        )

    def _note_nodata(self, name: str, value: float) -> None:
        """Says once what results hold where nobody may expect it: a value that is none's own."""
        target = self._ranges.target
        if self._noted_nodata or np.dtype(target.dtype).kind == "f" or value in target.nodata:
            return
        self._noted_nodata = True
        print(
            f"note: {name} has pixels without data, which are {value:g} in the result: "
            f"{target.dtype} has no NaN, and the targets named no value",
            file=sys.stderr,
        )

    def _place(self, path: epath.Path, nodata: float) -> Place:
        """Returns the place of the source's pixels, which is the result's; of a half none."""
        if self._options.side_by_side:
            return Place()
        return place_of(path.read_bytes()).with_nodata(nodata)

    def _suspect(self, name: str, header: ArrayHeader) -> None:
        """Warns once of what looks like the training data, where sources alone are expected."""
        if not self._suspects or header.width != 2 * header.height:
            return
        self._suspects = False
        print(
            f"warning: {name} is twice as wide as high, and is taken for a source: if it holds "
            "source and target as the run's data did, add --side-by-side",
            file=sys.stderr,
        )

    def _check(self, array: np.ndarray) -> None:
        if misfit := self._ranges.source.misfit(array):
            raise UnreadableImage(misfit)


def open_pairs(
    config: Config, workdir: epath.PathLike, folder: epath.Path, options: Options
) -> PairSources:
    """The sources in `folder` for the run in `workdir`, whose configuration is `config`.

    Raises:
        ValueError: the run lacks its value ranges, or an option does not fit.
    """
    return PairSources(config, folder, options, load_value_ranges(workdir))
