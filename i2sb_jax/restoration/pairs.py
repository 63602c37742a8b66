"""Sources of paired data: any number of channels in, files of the targets' type and units out."""

import dataclasses
import functools
import sys

import numpy as np
from etils import epath

from i2sb_jax.bridge.noise import picture_key
from i2sb_jax.config import Config
from i2sb_jax.data.pairs import half_header, halves
from i2sb_jax.data.scaling import ValueRanges, load_value_ranges
from i2sb_jax.data.windows import window_at
from i2sb_jax.pictures import ArrayHeader, UnreadableImage, array_header, decode_array, encode_array
from i2sb_jax.restoration.inputs import Subject
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.restorer import Restorer, Window
from i2sb_jax.restoration.tiles import Grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSubject(Subject):
    """The source of a pair; `cut` has the source's channels."""

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
        return Window(key, x1[0], None, cond, np.asarray(origin, np.int32))


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
        self._source_side = config.data.source_side
        self._suspects = not config.data.target_path and not options.side_by_side
        self._tiling = options.tiling(config)

    def made_of(self, name: str) -> list[epath.Path]:
        """The file that a result is made of."""
        return [self._folder / name]

    def suffix(self, name: str) -> str:
        """Of what a file becomes: that of the targets."""
        del name
        return self._ranges.target.output_suffix

    def grid(self, name: str) -> Grid:
        """The windows of one file, from its header.

        Raises:
            UnreadableImage: it is none, too large, or unlike what the run was trained on.
        """
        header = array_header(self._folder / name)
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
        path = self._folder / name
        array = decode_array(path.read_bytes(), suffix=path.suffix)
        if self._options.side_by_side:
            array, _ = halves(array, self._source_side)
        self._check(array)
        source, target, lead = self._ranges.source, self._ranges.target, self._tiling.lead

        def cut(row: int, column: int, side: int) -> np.ndarray:
            return source.to_unit(window_at(array, row - lead, column - lead, image_size=side))

        return PairSubject(
            name=name,
            cut=cut,
            cut_hole=None,
            merge=lambda rows: rows,
            from_unit=target.from_unit,
            unit=(np.asarray(target.high) - np.asarray(target.low)) / 2,
            encode=functools.partial(encode_array, suffix=self.suffix(name)),
            lead=(lead, lead),
        )

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
