"""Pairs: a source (X_1) and a target (X_0) of the same scene, from two folders or side by side.

Before training starts the folders are matched, some hundred files are looked at, and what their
values become is fixed. All of that lies in the run's folder from then on.
"""

import concurrent.futures
import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from etils import epath

from i2sb_jax.config import DataConfig
from i2sb_jax.data import scaling
from i2sb_jax.data.folder import wait_for
from i2sb_jax.data.matching import Matching, held_out_of_pairs, match_names, split_pairs
from i2sb_jax.data.name_list import listed, read_name_list
from i2sb_jax.data.record import MissingPicture, Record, Source
from i2sb_jax.data.scaling import ValueRanges
from i2sb_jax.data.side import (
    file_nodata,
    mask_nodata,
    read_side,
    side_header,
    valid_pixels,
)
from i2sb_jax.files import is_remote, list_images, real_path, require_apart, write_atomically
from i2sb_jax.finite import is_finite
from i2sb_jax.pictures import ARRAY_SUFFIXES, ArrayHeader, UnreadableImage

# So many pairs, evenly chosen, are looked at before training, and give the percentiles.
SAMPLE = 256
# Of so many local ones the headers are, lest training stop at a file unlike the others.
_MOST_HEADERS = 2**14
_READERS = 8  # threads


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairFiles:
    """Pairs as their files hold them.

    Attributes:
        folder: of the sources.
        target_folder: of the targets; None where each picture holds both sides.
        pairs: names of the source's and the target's file.
        source_side: "left" or "right", of pictures that hold both.
        channels: of the source and of the target.
        nodata: values of the source and of the target that are no data.
    """

    folder: epath.Path
    target_folder: epath.Path | None
    pairs: Sequence[tuple[str, str]]
    source_side: str
    channels: tuple[int, int]
    nodata: tuple[Sequence[float], Sequence[float]] = ((), ())

    def __len__(self) -> int:
        return len(self.pairs)

    def paths(self, index: int) -> tuple[epath.Path, ...]:
        """The file of both sides, or those of the source and the target."""
        source, target = self.pairs[index]
        if self.target_folder is None:
            return (self.folder / source,)
        return self.folder / source, self.target_folder / target

    def load(self, index: int) -> tuple[np.ma.MaskedArray, np.ma.MaskedArray]:
        """(source, target), native arrays [h, w, c] of equal height and width, see `read_side`.

        Raises:
            MissingPicture: a side cannot be read, or they differ in size.
        """
        try:
            paths = self.paths(index)
            if len(paths) == 1:
                both = read_side(paths[0], channels=self.channels[0])
                sides = [
                    mask_nodata(half, values)
                    for half, values in zip(
                        halves(both, self.source_side), self.nodata, strict=True
                    )
                ]
            else:
                sides = [
                    read_side(path, channels=channels, nodata=values)
                    for path, channels, values in zip(
                        paths, self.channels, self.nodata, strict=True
                    )
                ]
            sizes = [f"{side.shape[1]}×{side.shape[0]}" for side in sides]
            if sizes[0] != sizes[1]:
                raise UnreadableImage(f"the source has {sizes[0]} pixels, the target {sizes[1]}")
        except (UnreadableImage, OSError) as error:
            raise MissingPicture(self.pairs[index][0], error) from error
        return sides[0], sides[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairsSource:
    """Pairs as the bridge wants them: both sides in one array, so that every cut is of both.

    Attributes:
        files: the pairs.
        ranges: what becomes -1 and 1.
    """

    files: PairFiles
    ranges: ValueRanges

    def __len__(self) -> int:
        return len(self.files)

    @property
    def names(self) -> Sequence[str]:
        return tuple(source for source, _ in self.files.pairs)

    def read(self, index: int) -> Record:
        name = self.files.pairs[index][0]
        source, target = self.files.load(index)
        sides = (self.ranges.target, target), (self.ranges.source, source)
        for range_, array in sides:
            if misfit := range_.misfit(array):
                raise MissingPicture(name, ValueError(misfit))
        valid = valid_pixels(source, target)
        if not valid.any():
            raise MissingPicture(name, ValueError("no pixel of it has data in source and target"))
        units = [range_.to_unit(array.data) for range_, array in sides]
        for (range_, array), unit in zip(sides, units, strict=True):
            if not is_finite(unit[valid]):
                most = f"{np.abs(array.data[valid]).max():.4g}"
                far = f"{most} is too far from {range_.low} to {range_.high}"
                raise MissingPicture(name, ValueError(far))
        image = np.concatenate(units, axis=-1)
        image[~valid] = np.nan
        return Record(name=name, image=image)


def make_pairs(
    config: DataConfig,
    workdir: epath.PathLike,
    *,
    process_index: int = 0,
    report: Callable[[str], None],
) -> tuple[Source, Source]:
    """Opens both sides of the split; see `make_sources`.

    Process 0 matches the folders and fixes the value ranges unless the run has them already, and
    writes nothing unless all is well; the others wait for what it writes.

    Raises:
        ValueError: folders that do not match, a group on both sides of the split, or files that
            are not as the configuration says; one line.
    """
    wanted = read_name_list(config.eval_list) if config.eval_list else None
    folders = [(config.path, config.target_path)]
    if config.eval_path:
        require_apart(config.path, config.eval_path, what="data.eval_path")
        folders.append((config.eval_path, config.eval_target_path))
    indices = [_index(workdir, *both) for both in folders]
    if process_index:
        for file in (*indices, epath.Path(workdir) / scaling.FILE):  # the last to be written
            wait_for(file)
    matchings = [_matching(i, *both) for i, both in zip(indices, folders, strict=True)]
    sides = split_pairs(config, matchings[0], matchings[1] if config.eval_path else None)
    train, held_out = (
        _pair_files(config, matching, pairs)
        for matching, pairs in zip((matchings[0], matchings[-1]), sides, strict=True)
    )
    speak = report if process_index == 0 else lambda line: None
    ranges = _value_ranges(config, workdir, train, held_out, speak)
    for_eval = PairsSource(files=held_out, ranges=ranges)
    if wanted is not None:
        for_eval = listed(for_eval, wanted, origin=config.eval_list)
    if process_index == 0:
        for index, matching in zip(indices, matchings, strict=True):
            for line in matching.unmatched():
                report(line)
            if not index.exists():
                write_atomically(index, json.dumps(dataclasses.asdict(matching)).encode())
        if not (epath.Path(workdir) / scaling.FILE).exists():
            scaling.save_value_ranges(workdir, ranges)
    return PairsSource(files=train, ranges=ranges), for_eval


def held_out_pairs(
    config: DataConfig,
    workdir: epath.PathLike,
    *,
    moved: DataConfig,
    report: Callable[[str], None],
) -> Source:
    """Returns `sources.held_out_source` of pairs."""
    ranges = scaling.load_value_ranges(workdir)
    folders = config.path, config.target_path
    if config.eval_path:
        folders = config.eval_path, config.eval_target_path
    here = moved.path, moved.target_path
    if config.eval_path:
        here = moved.eval_path, moved.eval_target_path
    index = _index(workdir, *folders)
    is_moved = here != folders
    listed_pairs = _matching(index, *folders) if index.exists() else None
    matching = listed_pairs if listed_pairs and not is_moved else _matching(index, *here, new=True)
    for line in matching.unmatched():
        report(line)
    pairs = matching.pairs
    if not config.eval_path:
        known = matching if listed_pairs is None else listed_pairs
        held_out = {source for source, _ in held_out_of_pairs(config, known)}
        pairs = [pair for pair in pairs if pair[0] in held_out]
        if not pairs:
            raise ValueError(
                f"none of the {len(held_out)} pairs that the run held out, such as "
                f"{min(held_out)}, lies in {here[0]}"
            )
    found = PairsSource(files=_pair_files(config, matching, pairs), ranges=ranges)
    if not moved.eval_list:
        return found
    return listed(found, read_name_list(moved.eval_list), origin=moved.eval_list)


def whole_pairs(
    config: DataConfig, ranges: ValueRanges, *, report: Callable[[str], None]
) -> PairsSource:
    """All pairs of `config.path` and `config.target_path`, with the value ranges of a run.

    Raises:
        ValueError: folders that do not match.
    """
    sources = list_images(config.path, suffixes=ARRAY_SUFFIXES)
    matching = _matched(sources, config.path, config.target_path)
    for line in matching.unmatched():
        report(line)
    return PairsSource(files=_pair_files(config, matching, matching.pairs), ranges=ranges)


def _pair_files(config: DataConfig, matching: Matching, pairs) -> PairFiles:
    target = epath.Path(matching.target_path).expanduser() if matching.target_path else None
    return PairFiles(
        folder=epath.Path(matching.path).expanduser(),
        target_folder=target,
        pairs=pairs,
        source_side=config.source_side,
        channels=(config.source_channels, config.target_channels),
        nodata=(config.source_nodata, config.target_nodata),
    )


def _index(workdir: epath.PathLike, path: str, target_path: str) -> epath.Path:
    """Returns the file that keeps the matching of these folders."""
    folders = "\0".join(real_path(folder) for folder in (path, target_path) if folder)
    digest = hashlib.sha256(folders.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    return epath.Path(workdir) / "index" / f"pairs-{digest}.json"


def _matching(index: epath.Path, path: str, target_path: str, *, new: bool = False) -> Matching:
    """The matching of an index that is there, else (or of `new` ones) of the folders themselves."""
    if not new and index.exists():
        try:
            values = json.loads(index.read_text())
            values["pairs"] = [(source, target) for source, target in values["pairs"]]
            return dataclasses.replace(Matching(**values), path=path, target_path=target_path)
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{index} is no index of pairs: delete it to match again") from None
    return _matched(list_images(path, suffixes=ARRAY_SUFFIXES), path, target_path)


def _matched(sources: list[str], path: str, target_path: str) -> Matching:
    if not target_path:
        pairs = [(name, name) for name in sources]
        return Matching(path=path, target_path="", pairs=pairs)
    targets = list_images(target_path, suffixes=ARRAY_SUFFIXES)
    return match_names(sources, targets, path=path, target_path=target_path)


def _value_ranges(
    config: DataConfig,
    workdir: epath.PathLike,
    train: PairFiles,
    held_out: PairFiles,
    report: Callable[[str], None],
) -> ValueRanges:
    """Those of the run, else new ones, fitted on the training side alone."""
    file = epath.Path(workdir) / scaling.FILE
    if file.exists():
        ranges = scaling.load_value_ranges(workdir)
        here = scaling.describe_scaling(config)
        if ranges.scaling != here:
            raise ValueError(
                f"{file} is of {ranges.scaling}, and the configuration asks for {here}: delete it, "
                "or choose another workdir"
            )
        return ranges
    _check_headers(config, train, held_out, report)
    suffixes = [path.suffix.lower() for path in train.paths(0)]
    sampled, tagged = _sample(train), _tagged(train)
    nodata = tuple(
        tuple(dict.fromkeys([*configured, *found]))
        for configured, found in zip(train.nodata, tagged, strict=True)
    )
    readable = _readable(train, sampled)
    if config.scaling == "dtype":  # integers, none of which can lie outside
        readable = itertools.islice(readable, 1)
    surveys = scaling.survey_pairs(readable, count=len(sampled), nodata=nodata)
    ranges = scaling.fit_value_ranges(surveys, config, suffixes=(suffixes[0], suffixes[-1]))
    for line in scaling.check_values(surveys, ranges):
        report(line)
    return ranges


def _tagged(files: PairFiles) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the no-data values that the first pair's files name: results name them, too."""
    if files.target_folder is None:  # a picture of two sides is no map
        return (), ()
    found = []
    for path, channels in zip(files.paths(0), files.channels, strict=True):
        try:
            side_header(path, channels=channels)
            values = file_nodata(path.read_bytes(), suffix=path.suffix)
        except (UnreadableImage, OSError):
            values = ()
        found.append(tuple(value for value in values if math.isfinite(value)))
    return found[0], found[1]


def _check_headers(
    config: DataConfig, train: PairFiles, held_out: PairFiles, report: Callable[[str], None]
) -> None:
    """Raises ValueError where files are not as the configuration says; tells of broken ones."""
    paths, trained = [], 0
    for files in (train, held_out):
        most = SAMPLE if is_remote(files.folder) else _MOST_HEADERS
        paths += [files.paths(index) for index in _evenly(len(files), most)]
        trained = trained or len(paths)

    def header(number: int) -> list[ArrayHeader | Exception]:
        found = []
        for path, wanted in zip(paths[number], train.channels, strict=False):
            try:
                found.append(side_header(path, channels=wanted))
            except (UnreadableImage, OSError) as error:
                found.append(error)
        return found

    broken: dict[int, str] = {}  # number of the pair -> file and reason
    dtypes: dict[str, tuple[np.dtype, epath.Path]] = {}
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        for number, headers in enumerate(pool.map(header, range(len(paths)))):
            sides = zip(("source", "target"), paths[number], headers, strict=False)
            for side, path, found in sides:
                if isinstance(found, Exception):
                    reason = getattr(found, "strerror", None) or " ".join(str(found).split())
                    broken[number] = f"{path} ({reason})"
                else:
                    _check_header(config, side, path, found, dtypes)
    if not broken or len(broken) == len(paths):  # with no pair at all, `_readable` says so
        return
    more = ", …" if len(broken) > 1 else ""
    told = next(iter(broken.values()))
    line = f"{len(broken)} of the {len(paths)} pairs cannot be read: {told}{more}"
    if sum(number < trained for number in broken) > config.max_unreadable:
        raise ValueError(f"{line}; data.max_unreadable={config.max_unreadable}")
    report(line)


def _check_header(
    config: DataConfig,
    side: str,
    path: epath.Path,
    header: ArrayHeader,
    dtypes: dict[str, tuple[np.dtype, epath.Path]],
) -> None:
    """`dtypes` remembers the type of each side, and one file that has it."""
    channels = getattr(config, f"{side}_channels")
    if header.channels != channels:
        raise ValueError(
            f"{path} has {header.channels} channels, and data.{side}_channels={channels}"
        )
    dtype, other = dtypes.setdefault(side, (header.dtype, path))
    if header.dtype != dtype:
        raise ValueError(f"{path} holds {header.dtype}, and {other} {dtype}: make them alike")


def _sample(files: PairFiles) -> list[int]:
    """Numbers of the pairs whose values are looked at before training."""
    return _evenly(len(files), SAMPLE)


def _evenly(count: int, most: int) -> list[int]:
    """So many numbers of 0 … count - 1, evenly chosen."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int)).tolist()


def _readable(
    files: PairFiles, indices: Sequence[int]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(name, source, target) of pairs but for broken ones, which training will count."""
    found, reason = False, ""
    for index in indices:
        try:
            pair = files.load(index)
        except MissingPicture as error:
            reason = f"{error.name}: {error}"
            continue
        found = True
        yield files.pairs[index][0], *pair
    if not found:
        raise ValueError(f"no pair of {files.folder} can be read; the last of them {reason}")


def halves(both: np.ndarray, source_side: str) -> tuple[np.ndarray, np.ndarray]:
    """(source, target), each [h, w / 2, c], of a picture [h, w, c] that holds them side by side.

    Raises:
        UnreadableImage: the width is odd.
    """
    width = _half(both.shape[1])
    left, right = both[:, :width], both[:, width:]
    return (left, right) if source_side == "left" else (right, left)


def half_header(header: ArrayHeader) -> ArrayHeader:
    """Returns the header of one of the `halves`; raises as they do."""
    return header._replace(width=_half(header.width))


def _half(width: int) -> int:
    if width % 2:
        raise UnreadableImage(f"a width of {width} pixels cannot be halved into two sides")
    return width // 2
