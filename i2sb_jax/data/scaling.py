"""Values of files of any dtype as [-1, 1] and back, channel by channel.

The ranges are found once, on the training side alone, and lie in the run's folder: a model without
them cannot say what its outputs mean.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from i2sb_jax.config import DataConfig
from i2sb_jax.config.checks import check_text
from i2sb_jax.data.side import fits
from i2sb_jax.files import read_json, write_atomically
from i2sb_jax.pictures import ARRAY_SUFFIXES

FILE = "value_ranges.json"
_SIDES = ("source", "target")
_FAR = 100.0  # times the spread of all others, or the range: orders of magnitude
_LOST = 0.02  # of the range's length 2: what all other values are left with
# what people and formats write where there is nothing
_CUSTOMARY = (-9999.0, -99999.0, -32768.0, *(float(np.float32(s * 3.4028235e38)) for s in (-1, 1)))
# Percentiles are of at most so many values a channel, drawn evenly from all pairs that are read.
MAX_VALUES = 2**22


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueRange:
    """One side of the pairs: what its files hold, and what of it becomes -1 and 1.

    Attributes:
        channels: of each file.
        dtype: NumPy's name, of each file.
        low: the value of each channel that becomes -1.
        high: the value of each channel that becomes 1.
        suffix: of the files, such as ".tif".
        nodata: values that are no data in them, beside NaN and those that a file itself names.
    """

    channels: int
    dtype: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    suffix: str
    nodata: tuple[float, ...] = ()

    @property
    def output_suffix(self) -> str:
        """The suffix of results: the files' own, but PNG where JPEG would lose something."""
        return ".png" if self.suffix in (".jpg", ".jpeg") else self.suffix

    def to_unit(self, array: np.ndarray) -> np.ndarray:
        """Values of a file, [..., channels], as float32 in [-1, 1].

        Nothing is clipped: what lies outside of the range (a hot pixel beyond the percentiles)
        lies outside of [-1, 1] by the same measure, so `from_unit` gives it back.
        """
        low, span = self._low_and_span()
        with np.errstate(over="ignore"):  # what no float32 can be becomes infinite
            return ((array - low) * (2 / span) - 1).astype(np.float32)

    def from_unit(self, x: np.ndarray) -> np.ndarray:
        """The inverse: [..., channels] of `dtype`; integers are rounded, and clipped to dtype."""
        low, span = self._low_and_span()
        values = (np.asarray(x, np.float64) + 1) * (span / 2) + low
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return values.astype(dtype)
        limits = np.iinfo(dtype)
        return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)

    @property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The ends of what files can hold by `to_unit`, [channels]; of floats they are infinite."""
        if np.dtype(self.dtype).kind == "f":
            return np.full(self.channels, -np.inf), np.full(self.channels, np.inf)
        ends = np.iinfo(self.dtype)
        low, high = (self.to_unit(np.full(self.channels, end)) for end in (ends.min, ends.max))
        return low, high

    def nodata_value(self, *, otherwise: Sequence[float] = ()) -> float:
        """Returns the value that is written where there are no data.

        Its own value for that; NaN of floats; of integers the first of `otherwise` that they can
        be, or 0.
        """
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return self.nodata[0] if self.nodata else math.nan
        return next((v for v in (*self.nodata, *otherwise) if fits(v, dtype)), 0.0)

    def misfit(self, array: np.ndarray) -> str:
        """Why `array` is none of these files, in words; "" where it is one."""
        if array.shape[-1] != self.channels:
            return f"it has {array.shape[-1]} channels, the others {self.channels}"
        return "" if array.dtype == self.dtype else f"it is {array.dtype}, the others {self.dtype}"

    def _low_and_span(self) -> tuple[np.ndarray, np.ndarray]:
        low = np.asarray(self.low, np.float64)
        return low, np.asarray(self.high, np.float64) - low


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValueRanges:
    """Both sides, and how their ranges were found.

    Attributes:
        source: of X_1's files.
        target: of X_0's files; outputs are written as these.
        scaling: the configuration's wish, in words.
    """

    source: ValueRange
    target: ValueRange
    scaling: str


def describe_scaling(config: DataConfig) -> str:
    """The configuration's wish in words; two that differ in it find other ranges."""
    match config.scaling:
        case "fixed":
            return f"fixed {config.source_range} {config.target_range}"
        case "percentiles":
            return f"percentiles {config.percentiles}"
    return config.scaling


class Survey(NamedTuple):
    """The survey of one side of some pairs.

    Attributes:
        dtype: of its files.
        values: of each channel, some of all that are data.
        extremes: of each file its name, and the lowest and the highest value of each channel; files
            without data are not among them.
        nodata: values that are no data.
    """

    dtype: np.dtype
    values: list[np.ndarray]
    extremes: list[tuple[str, np.ndarray, np.ndarray]]
    nodata: tuple[float, ...] = ()


def survey_pairs(
    pairs: Iterable[tuple[str, np.ndarray, np.ndarray]],
    *,
    count: int,
    nodata: tuple[Sequence[float], Sequence[float]] = ((), ()),
) -> tuple[Survey, Survey]:
    """Looks at pairs before training.

    Args:
        pairs: (name, source, target), one at least: native arrays [h, w, c], masked where they hold
            no data; of a side, all have the same dtype and channels.
        count: how many pairs there are; of each so many random values are kept that all of them
            are `MAX_VALUES` a channel.
        nodata: of the source's and the target's files, to be remembered.

    Returns:
        Of the source and of the target.
    """
    share, surveys = max(1, MAX_VALUES // count), None
    for number, (name, *sides) in enumerate(pairs):
        if surveys is None:
            surveys = tuple(
                Survey(side.dtype, [[] for _ in range(side.shape[-1])], [], tuple(values))
                for side, values in zip(sides, nodata, strict=True)
            )
        rng = np.random.default_rng(number)
        for survey, side in zip(surveys, sides, strict=True):
            flat = np.ma.asarray(side).reshape(-1, side.shape[-1])
            drawn = flat if len(flat) <= share else flat[rng.integers(0, len(flat), share)]
            for channel, kept in enumerate(survey.values):
                kept.append(drawn[:, channel].compressed())
            ends = flat.min(axis=0), flat.max(axis=0)
            if not any(np.ma.getmaskarray(end).any() for end in ends):
                survey.extremes.append((name, *(np.ma.getdata(end) for end in ends)))
    source, target = (
        survey._replace(values=[np.concatenate(kept) for kept in survey.values])
        for survey in surveys
    )
    return source, target


def fit_value_ranges(
    surveys: tuple[Survey, Survey], config: DataConfig, *, suffixes: tuple[str, str]
) -> ValueRanges:
    """Finds the ranges that `config.scaling` asks for.

    Args:
        surveys: of training files; of percentiles they make the ranges.
        config: the run's data section.
        suffixes: of the source's and the target's files.

    Raises:
        ValueError: a dtype without a range of its own, a channel without contrast or data, or
            values far from all others that the range of the others is lost in; one line.
    """
    match config.scaling:
        case "dtype":
            ends = [_dtype_ends(survey) for survey in surveys]
        case "fixed":
            wanted = (config.source_range, config.target_range)
            ends = [
                [[end] * len(survey.values) for end in w]
                for w, survey in zip(wanted, surveys, strict=True)
            ]
        case "percentiles":
            ends = [
                _percentiles(survey, config.percentiles, what=what)
                for what, survey in zip(_SIDES, surveys, strict=True)
            ]
    for what, (low, high) in zip(_SIDES, ends, strict=True):
        for channel in np.flatnonzero(~(np.asarray(high) > np.asarray(low))):
            raise ValueError(
                f"data.percentiles={config.percentiles} of channel {channel} of the {what} are "
                f"{low[channel]:g} and {high[channel]:g}: take others, or data.scaling='fixed'"
            )
    source, target = (
        ValueRange(
            channels=len(survey.values),
            dtype=survey.dtype.name,
            low=tuple(float(value) for value in low),
            high=tuple(float(value) for value in high),
            suffix=suffix,
            nodata=survey.nodata,
        )
        for survey, (low, high), suffix in zip(surveys, ends, suffixes, strict=True)
    )
    return ValueRanges(source=source, target=target, scaling=describe_scaling(config))


def check_values(surveys: tuple[Survey, Survey], ranges: ValueRanges) -> list[str]:
    """Looks for values that training had better not meet.

    Args:
        surveys: of training files.
        ranges: of these files.

    Returns:
        A line for each channel with values that become no float32, that lie outside of the range or
        away from the others by orders of magnitude, or that people write for no data.

    Raises:
        ValueError: such values made the range (of percentiles), and all others are one in it.
    """
    told = []
    for what, survey, range_ in zip(_SIDES, surveys, (ranges.source, ranges.target), strict=True):
        for channel in range(range_.channels):
            if found := _suspect(survey, range_, channel, what=what):
                line, is_fatal = found
                if is_fatal and ranges.scaling.startswith("percentiles"):
                    raise ValueError(line)
                told.append(line)
    return told


def _suspect(
    survey: Survey, range_: ValueRange, channel: int, *, what: str
) -> tuple[str, bool] | None:
    """A line about the worst value of a channel, and whether the others are lost in its range."""
    values = np.unique(survey.values[channel].astype(np.float64))
    if not len(values):
        return None
    # of different values: what stands for no data is one of them, however often it comes
    core = np.percentile(values, (5, 95))
    span = core[1] - core[0]
    ends = [(float(end[channel]), name) for name, *both in survey.extremes for end in both]
    worst, name = max(ends, key=lambda end: max(core[0] - end[0], end[0] - core[1]))
    low, high = range_.low[channel], range_.high[channel]
    unit = (worst - low) * (2 / (high - low)) - 1
    place = f"{name}: {worst:.7g} in channel {channel} of the {what}"
    remedy = f"if it stands for no data, set data.{what}_nodata=({worst!r},)"
    if abs(unit) > float(np.finfo(np.float32).max):
        return f"{place} is too far from {low:g} to {high:g} to be a float32; {remedy}", False
    distance = max(core[0] - worst, worst - core[1])
    if span > 0 and distance > _FAR * span:
        is_lost = 2 * span / (high - low) < _LOST
        lost = f", which all but vanish in the range {low:g} to {high:g}" if is_lost else ""
        others = f"the others ({core[0]:g} to {core[1]:g}{lost})"
        return f"{place} lies far from {others}: {remedy}", is_lost
    if abs(unit) > _FAR:
        return f"{place} lies far outside of {low:g} to {high:g}: {remedy}", False
    count = int((survey.values[channel] == worst).sum())
    if worst in _CUSTOMARY and distance > span and count > 1:
        return f"{place} is customary for no data: {remedy}", False
    return None


def to_json(ranges: ValueRanges, *, indent: int | None = None) -> str:
    """Value ranges as text, for a file of their own or to travel in a file of weights."""
    return json.dumps(dataclasses.asdict(ranges), indent=indent)


def from_json(values: Any) -> ValueRanges:
    """The inverse of `to_json`, from what the text holds.

    Raises:
        ValueError: they are no value ranges; the line says why.
    """
    try:
        sides = {side: _range_of(values[side]) for side in ("source", "target")}
        scaling = str(values["scaling"])
        check_text("scaling", scaling)
        return ValueRanges(**sides, scaling=scaling)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"holds no value ranges: {error}") from None


def save_value_ranges(workdir: epath.PathLike, ranges: ValueRanges) -> None:
    """Writes them into a run's or a model's folder."""
    write_atomically(epath.Path(workdir) / FILE, (to_json(ranges, indent=2) + "\n").encode())


def load_value_ranges(workdir: epath.PathLike) -> ValueRanges:
    """Reads them from a run's or a model's folder.

    Raises:
        ValueError: the file is missing or is none.
    """
    path = epath.Path(workdir) / FILE
    if not path.exists():
        raise ValueError(f"{workdir} has no {FILE}: copy it from the run that the weights are of")
    try:
        return from_json(read_json(path))
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def _range_of(values: dict[str, Any]) -> ValueRange:
    ends = {end: tuple(float(value) for value in values[end]) for end in ("low", "high")}
    nodata = tuple(float(value) for value in values.get("nodata", ()))
    side = ValueRange(**{**values, **ends, "nodata": nodata})
    if not all(map(math.isfinite, nodata)):
        raise ValueError(f"nodata {list(nodata)} are not finite numbers")
    if np.dtype(side.dtype).kind not in "uif":
        raise ValueError(f"{side.dtype!r} is no type of a file's numbers")
    if {side.channels} != {len(side.low), len(side.high)}:
        raise ValueError(f"{side.channels!r} channels with {len(side.low)} ranges")
    ends = zip(side.low, side.high, strict=True)
    if not all(-math.inf < low < high < math.inf for low, high in ends):
        raise ValueError("a range is not two finite numbers, the lower one first")
    if side.suffix not in ARRAY_SUFFIXES:
        raise ValueError(f"{side.suffix!r} is none of {' '.join(ARRAY_SUFFIXES)}")
    return side


def _dtype_ends(survey: Survey) -> tuple[np.ndarray, np.ndarray]:
    if survey.dtype.kind not in "ui":
        raise ValueError(
            f"data.scaling='dtype': {survey.dtype.name} files have no range of their own; use "
            "'fixed' with data.source_range and data.target_range, or 'percentiles'"
        )
    limits, channels = np.iinfo(survey.dtype), len(survey.values)
    return np.full(channels, limits.min), np.full(channels, limits.max)


def _percentiles(survey: Survey, percentiles: tuple[float, ...], *, what: str) -> np.ndarray:
    """[2, channels]."""
    for channel, values in enumerate(survey.values):
        if not len(values):
            raise ValueError(f"channel {channel} of the {what} holds no data in any file")
    return np.stack([np.percentile(values, percentiles) for values in survey.values], axis=-1)
