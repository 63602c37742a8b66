"""The data section: where pictures or pairs come from, and how they are cut and scaled."""

import dataclasses
import re

from i2sb_jax.config.checks import (
    check_at_least,
    check_at_most,
    check_choice,
    check_within,
)
from i2sb_jax.fields import documented, field, path_field
from i2sb_jax.files import real_path

PAIRS = "pairs"  # the source of X_0 and X_1, and of the corruption that is none
SOURCES = ("photos", "folder", "records", "tfds", "webdataset", "lmdb", "synthetic", PAIRS)
WITH_NAMES = ("folder", "records", "webdataset", "lmdb")  # of which some are held out by name
CROPS = ("resize", "window")
SIDES = ("left", "right")
SCALINGS = ("dtype", "fixed", "percentiles")

_MAX_GRAIN = 128  # levels: half of the range
_MAX_CHANNELS = 4096  # of a file: several times what spectrometers deliver


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The source of the clean pictures, or of both sides of pairs, and how they are cut."""

    source: str = field(
        "folder",
        "where pictures come from: photos | folder | records | tfds | webdataset | lmdb | synthetic"
        " | pairs",
    )
    path: str = path_field(
        "directory of pictures, records, tars, a database, or sources (X_1) of pairs; data_dir of "
        "tfds; may be gs://"
    )
    eval_path: str = path_field('held-out pictures; "" holds out eval_fraction of path by name')
    eval_fraction: float = field(0.02, "share of path that is held out, in [0, 1)")
    eval_list: str = path_field(
        "file of names, one a line, with a label or not: the held-out pictures to take"
    )
    tfds_name: str = field("", "builder, e.g. imagenet2012")
    tfds_split: str = field("train", "TFDS split for training")
    tfds_eval_split: str = field("validation", "TFDS split for evaluation")
    crop: str = field(
        "resize", "resize: short side to image_size | window: cut at native resolution"
    )
    flip: bool = field(True, "horizontal flips in training")
    quarter_turns: bool = field(False, "turns by 90° in training (windows without an up or down)")
    shuffle_channels: bool = field(
        False, "RGB in any order in training: more colours from few pictures"
    )
    scales: tuple[float, ...] = field(
        (1.0,),
        "sizes of a picture that training windows are cut from, one drawn a visit; in (0, 1]",
    )
    grain: tuple[float, ...] = field(
        (0.0, 0.0), "lowest and highest σ of noise added to clean training windows, levels; 0 … 128"
    )
    max_unreadable: int = field(100, "training stops when more pictures than this cannot be read")
    target_path: str = path_field(
        'pairs: directory of the targets (X_0), matched by name; "": side by side'
    )
    eval_target_path: str = path_field("pairs: targets of eval_path")
    source_side: str = field(
        "left", "pairs: side of the source in pictures that hold both, as in pix2pix: left | right"
    )
    source_channels: int = field(3, "pairs: channels of every source file")
    target_channels: int = field(
        3, "pairs: channels of every target file, which the bridge works on"
    )
    scaling: str = field(
        "dtype", "pairs: what becomes -1 and 1: dtype (its range) | fixed | percentiles"
    )
    source_range: tuple[float, ...] = field(
        (0.0, 1.0), "scaling fixed: values of the source files that become -1 and 1"
    )
    target_range: tuple[float, ...] = field((0.0, 1.0), "the same of the targets")
    source_nodata: tuple[float, ...] = field(
        (), "pairs: values that are no data, beside NaN and what GDAL_NODATA names"
    )
    target_nodata: tuple[float, ...] = field((), "the same of the targets")
    percentiles: tuple[float, ...] = field(
        (0.1, 99.9), "scaling percentiles: percent, of each channel over the training side"
    )
    group_pattern: str = field(
        "", 'pairs: regex on a name, whose group 1 (a patient, …) is never split; "": the name'
    )
    cond_x1: bool = field(False, "pairs: the network sees X_t and, beside it, the whole source")

    def __post_init__(self):
        if self.source == "parquet":
            raise ValueError(
                "data.source='parquet' has no random access, as training needs: write records by "
                f"i2sb-prepare --source parquet --path {self.path or 'FOLDER'} --output RECORDS"
            )
        check_choice("data.source", self.source, SOURCES)
        check_choice("data.crop", self.crop, CROPS)
        check_choice("data.source_side", self.source_side, SIDES)
        check_choice("data.scaling", self.scaling, SCALINGS)
        check_within("data.eval_fraction", self.eval_fraction, 0.0, 1.0)
        check_at_least("data.max_unreadable", self.max_unreadable, 0)
        self._check_scales()
        self._check_grain()
        self._check_path()
        if self.source == PAIRS:
            self._check_pairs()
        else:
            self._check_no_pairs()

    @property
    def has_grain(self) -> bool:
        """Whether training windows get any."""
        return self.grain[1] > 0

    def _check_scales(self):
        if not self.scales or not all(0 < scale <= 1 for scale in self.scales):
            raise ValueError(
                f"data.scales={self.scales} must be one factor or more in (0, 1], e.g. (1.0, 0.5)"
            )
        if set(self.scales) == {1.0}:
            return
        if self.source == PAIRS:
            raise ValueError(
                f"data.scales={self.scales} would reduce what is lost between the sides of pairs: "
                "use (1.0,)"
            )
        if self.crop != "window":
            raise ValueError(
                f"data.scales={self.scales} is for data.crop='window': {self.crop!r} scales each "
                "picture to image_size, use (1.0,)"
            )

    def _check_grain(self):
        if len(self.grain) != 2 or not 0 <= self.grain[0] <= self.grain[1] <= _MAX_GRAIN:
            raise ValueError(
                f"data.grain={self.grain} must be two standard deviations in levels, the lower one "
                f"first, in 0…{_MAX_GRAIN}"
            )
        if self.has_grain and self.source == PAIRS:
            raise ValueError(f"data.grain={self.grain} is not for pairs: use (0.0, 0.0)")

    def _check_path(self):
        if self.source in ("photos", "synthetic"):
            for key in ("path", "eval_path"):
                if value := getattr(self, key):
                    raise ValueError(
                        f"data.{key}={value!r}: data.source={self.source!r} brings its own "
                        "pictures; use data.source='folder', or leave it ''"
                    )
        in_folders = self.source in (*WITH_NAMES, PAIRS)
        if in_folders and not self.path:
            raise ValueError(
                f"data.path='' must name a directory of pictures for data.source={self.source!r}"
            )
        if in_folders and not (self.eval_path or self.eval_fraction):
            raise ValueError(
                "data.eval_fraction=0.0 leaves no picture to evaluate: use e.g. 0.02, or name "
                "other pictures by data.eval_path"
            )
        if in_folders and _same_folder(self.eval_path, self.path):
            raise ValueError(
                f"data.eval_path={self.eval_path!r} is data.path: name other pictures, or leave it "
                "'' to hold some of these out"
            )
        if self.source == "tfds" and not self.tfds_name:
            raise ValueError("data.tfds_name='' must name a builder, e.g. 'imagenet2012'")
        if self.source in ("photos", "synthetic") and self.eval_list:
            raise ValueError(
                f"data.eval_list={self.eval_list!r}: data.source={self.source!r} has no list"
            )

    def _check_no_pairs(self):
        for key in (
            *("target_path", "eval_target_path", "group_pattern", "cond_x1"),
            *("source_nodata", "target_nodata"),
        ):
            if value := getattr(self, key):
                raise ValueError(
                    f"data.{key}={value!r} is for data.source='pairs', not {self.source!r}"
                )

    def _check_pairs(self):
        for key in ("source_channels", "target_channels"):
            check_at_least(f"data.{key}", getattr(self, key), 1)
            check_at_most(
                f"data.{key}", getattr(self, key), _MAX_CHANNELS, reason="no picture has more"
            )
        for key in ("source_range", "target_range", "percentiles"):
            values = getattr(self, key)
            if len(values) != 2 or not values[0] < values[1]:
                raise ValueError(f"data.{key}={values} must be two values, the lower one first")
        if not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ValueError(f"data.percentiles={self.percentiles} must lie in 0…100")
        try:
            re.compile(self.group_pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"data.group_pattern={self.group_pattern!r}: {error}") from None
        if self.shuffle_channels:
            raise ValueError("data.shuffle_channels=True would tear pairs apart: use False")
        self._check_pair_channels()
        self._check_pair_folders()

    def _check_pair_channels(self):
        source, target = self.source_channels, self.target_channels
        if not self.target_path and source != target:
            raise ValueError(
                f"data.source_channels={source} and data.target_channels={target} must be equal: "
                "both sides are of one picture where data.target_path=''"
            )
        if source not in (1, target) and not self.cond_x1:
            raise ValueError(
                f"data.source_channels={source} do not fit data.target_channels={target}: X_1 "
                "becomes their mean, so the network must see them all by data.cond_x1=True"
            )

    def _check_pair_folders(self):
        for prefix in ("", "eval_"):
            path, target = (getattr(self, prefix + key) for key in ("path", "target_path"))
            if path and _same_folder(target, path):
                raise ValueError(
                    f"data.{prefix}target_path={target!r} is data.{prefix}path: name the targets' "
                    "folder, or leave it '' where each picture holds both side by side"
                )
        needed = bool(self.target_path and self.eval_path)
        if needed != bool(self.eval_target_path):
            raise ValueError(
                f"data.eval_target_path={self.eval_target_path!r} must name the targets of "
                "data.eval_path"
                if needed
                else f"data.eval_target_path={self.eval_target_path!r} needs data.eval_path and "
                "data.target_path"
            )


def _same_folder(one: str, other: str) -> bool:
    """Whether two paths are one folder, however it is written and by whatever link."""
    if not (one and other):
        return False
    return real_path(one).rstrip("/") == real_path(other).rstrip("/")
