"""Values of files of any dtype as [-1, 1] and back, channel by channel.

The ranges are found once, on the training side alone, and lie in the run's folder: a model without
them cannot say what its outputs mean.
"""

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from etils import epath

from i2sb_jax.config import DataConfig
from i2sb_jax.config.checks import check_text
from i2sb_jax.files import read_json, write_atomically
from i2sb_jax.pictures import ARRAY_SUFFIXES

FILE = "value_ranges.json"
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
    """

    channels: int
    dtype: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    suffix: str

    @property
    def output_suffix(self) -> str:
        """Of what is written: the files' own, but PNG where JPEG would lose what was restored."""
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


def fit_value_ranges(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    config: DataConfig,
    *,
    count: int,
    suffixes: tuple[str, str],
) -> ValueRanges:
    """Finds the ranges that `config.scaling` asks for.

    Args:
        pairs: (source, target) of training files, native arrays [h, w, c]; of a side, all have the
            same dtype and channels. Only the first is looked at unless percentiles are wanted.
        config: the run's data section.
        count: how many pairs there are.
        suffixes: of the source's and the target's files.

    Raises:
        ValueError: a dtype without a range of its own, or a channel without contrast; one line.
    """
    pairs = iter(pairs)
    first = next(pairs)
    match config.scaling:
        case "dtype":
            ends = [_dtype_ends(side) for side in first]
        case "fixed":
            wanted = (config.source_range, config.target_range)
            ends = [
                [[end] * side.shape[-1] for end in w] for w, side in zip(wanted, first, strict=True)
            ]
        case "percentiles":
            whole = itertools.chain([first], pairs)
            ends = _percentiles(whole, config.percentiles, share=max(1, MAX_VALUES // count))
    for what, (low, high) in zip(("source", "target"), ends, strict=True):
        for channel in np.flatnonzero(~(np.asarray(high) > np.asarray(low))):
            raise ValueError(
                f"data.percentiles={config.percentiles} of channel {channel} of the {what} are "
                f"{low[channel]:g} and {high[channel]:g}: take others, or data.scaling='fixed'"
            )
    source, target = (
        ValueRange(
            channels=side.shape[-1],
            dtype=side.dtype.name,
            low=tuple(float(value) for value in low),
            high=tuple(float(value) for value in high),
            suffix=suffix,
        )
        for side, (low, high), suffix in zip(first, ends, suffixes, strict=True)
    )
    return ValueRanges(source=source, target=target, scaling=describe_scaling(config))


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
    side = ValueRange(**{**values, **ends})
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


def _dtype_ends(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if side.dtype.kind not in "ui":
        raise ValueError(
            f"data.scaling='dtype': {side.dtype.name} files have no range of their own; use "
            "'fixed' with data.source_range and data.target_range, or 'percentiles'"
        )
    limits, channels = np.iinfo(side.dtype), side.shape[-1]
    return np.full(channels, limits.min), np.full(channels, limits.max)


def _percentiles(pairs, percentiles: tuple[float, ...], *, share: int) -> list[np.ndarray]:
    """For each side [2, channels], from `share` random values of every channel of every pair."""
    kept = ([], [])
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng(number)
        for values, side in zip(kept, pair, strict=True):
            flat = side.reshape(-1, side.shape[-1])
            whole = len(flat) <= share
            values.append(flat.copy() if whole else flat[rng.integers(0, len(flat), share)])
    return [np.percentile(np.concatenate(values), percentiles, axis=0) for values in kept]
