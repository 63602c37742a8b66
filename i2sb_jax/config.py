"""The configuration as frozen dataclasses: the second and third of three gates.

Gate 1 is the locked ConfigDict of `configs/base.py`, where a misspelt key raises. Gate 2 is
`from_config_dict`, which takes a plain mapping and refuses unknown or missing keys. Gate 3 is each
`__post_init__`, which checks ranges and what must fit together before any device is touched.
"""

import dataclasses
import difflib
import json
import types
from collections.abc import Mapping
from typing import Any

from etils import epath

from i2sb_jax.corruptions import make_corruption
from i2sb_jax.image_io import write_atomically
from i2sb_jax.models import UNetConfig

SOURCES = ("photos", "folder", "records", "tfds")
CROPS = ("resize", "window")
SCHEDULES = ("step", "cosine")
SAMPLERS = ("ddpm", "ode")
MATMUL_PRECISIONS = ("default", "high", "highest")


def nearest(value: str, choices: tuple[str, ...]) -> str:
    """The tail of an error line: the choice most like `value`, and all of them."""
    close = difflib.get_close_matches(value, choices, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}(choices: {', '.join(choices)})"


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{key}={value!r} is not known: {nearest(value, choices)}")


def _check_at_least(key: str, value: float, least: float) -> None:
    if value < least:
        raise ValueError(f"{key}={value!r} must be at least {least}")


def _check_within(key: str, value: float, low: float, high: float) -> None:
    """Raises ValueError unless low <= value < high."""
    if not low <= value < high:
        raise ValueError(f"{key}={value!r} must lie in [{low}, {high})")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """The Schrödinger bridge (I²SB section 3): its schedule, and SDE or OT-ODE."""

    num_steps: int
    beta_max: float
    deterministic: bool

    def __post_init__(self):
        if self.num_steps < 2 or self.num_steps % 2:
            raise ValueError(
                f"bridge.num_steps={self.num_steps} must be even and at least 2, "
                f"e.g. {max(2, self.num_steps + self.num_steps % 2)}"
            )
        if not self.beta_max > 0:
            raise ValueError(f"bridge.beta_max={self.beta_max} must be positive")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The U-Net; the corruption decides its input channels."""

    model_channels: int
    channel_mult: tuple[float, ...]
    num_res_blocks: int
    attention_downsamples: tuple[int, ...]
    head_channels: int
    norm_groups: int
    dropout: float
    dtype: str
    remat: str

    def __post_init__(self):
        object.__setattr__(self, "channel_mult", tuple(self.channel_mult))
        object.__setattr__(self, "attention_downsamples", tuple(self.attention_downsamples))
        try:
            self.unet_config(in_channels=3)
        except ValueError as error:
            raise ValueError(f"model: {error}") from None

    def unet_config(self, *, in_channels: int) -> UNetConfig:
        """The network's own configuration; it checks these values."""
        return UNetConfig(in_channels=in_channels, **dataclasses.asdict(self))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the clean pictures come from and how they are cut."""

    source: str
    path: str
    eval_path: str
    eval_fraction: float
    tfds_name: str
    tfds_split: str
    tfds_eval_split: str
    crop: str
    flip: bool
    quarter_turns: bool
    shuffle_channels: bool
    max_unreadable: int

    def __post_init__(self):
        _check_choice("data.source", self.source, SOURCES)
        _check_choice("data.crop", self.crop, CROPS)
        _check_within("data.eval_fraction", self.eval_fraction, 0.0, 1.0)
        _check_at_least("data.max_unreadable", self.max_unreadable, 0)
        if self.source in ("folder", "records") and not self.path:
            raise ValueError(
                f"data.path='' must name a directory of pictures for data.source={self.source!r}"
            )
        if self.source in ("folder", "records") and not (self.eval_path or self.eval_fraction):
            raise ValueError(
                "data.eval_fraction=0.0 leaves no picture to evaluate: use e.g. 0.02, or name "
                "other pictures by data.eval_path"
            )
        if self.source == "tfds" and not self.tfds_name:
            raise ValueError("data.tfds_name='' must name a builder, e.g. 'imagenet2012'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with the paper's step decay, or warm-up and cosine."""

    learning_rate: float
    schedule: str
    warmup_steps: int
    decay_every: int
    decay_rate: float
    b1: float
    b2: float
    eps: float
    weight_decay: float

    def __post_init__(self):
        _check_choice("optimizer.schedule", self.schedule, SCHEDULES)
        if not self.learning_rate > 0:
            raise ValueError(f"optimizer.learning_rate={self.learning_rate} must be positive")
        _check_at_least("optimizer.warmup_steps", self.warmup_steps, 0)
        _check_at_least("optimizer.decay_every", self.decay_every, 1)
        if not 0 < self.decay_rate <= 1:
            raise ValueError(f"optimizer.decay_rate={self.decay_rate} must lie in (0, 1]")
        _check_within("optimizer.b1", self.b1, 0.0, 1.0)
        _check_within("optimizer.b2", self.b2, 0.0, 1.0)
        if not self.eps > 0:
            raise ValueError(f"optimizer.eps={self.eps} must be positive")
        _check_at_least("optimizer.weight_decay", self.weight_decay, 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, batch and rhythm of a run."""

    num_steps: int
    batch_size: int
    accumulation_steps: int
    ema_decay: float
    init_from: str
    log_every: int
    image_every: int
    checkpoint_every: int
    keep_checkpoints: int

    def __post_init__(self):
        for key in ("num_steps", "batch_size", "accumulation_steps", "log_every"):
            _check_at_least(f"training.{key}", getattr(self, key), 1)
        for key in ("image_every", "checkpoint_every", "keep_checkpoints"):
            _check_at_least(f"training.{key}", getattr(self, key), 1)
        _check_within("training.ema_decay", self.ema_decay, 0.0, 1.0)
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"training.batch_size={self.batch_size} must be a multiple of "
                f"training.accumulation_steps={self.accumulation_steps}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How pictures are restored, during training and by `i2sb-restore`."""

    sampler: str
    nfe: int
    batch_size: int
    clip: bool

    def __post_init__(self):
        _check_at_least("sampling.batch_size", self.batch_size, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that defines a run."""

    seed: int
    corruption: str
    mask_file: str
    image_size: int
    matmul_precision: str
    bridge: BridgeConfig
    model: ModelConfig
    data: DataConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    sampling: SamplingConfig

    def __post_init__(self):
        make_corruption(self.corruption, image_size=self.image_size)  # checks both
        _check_choice("matmul_precision", self.matmul_precision, MATMUL_PRECISIONS)
        factor = self.model.unet_config(in_channels=3).downsampling_factor
        if self.image_size < 1 or self.image_size % factor:
            right = max(factor, round(self.image_size / factor) * factor)
            raise ValueError(
                f"image_size={self.image_size} cannot be halved {len(self.model.channel_mult) - 1} "
                f"times by model.channel_mult={self.model.channel_mult}: use a multiple of "
                f"{factor}, e.g. {right}"
            )
        check_nfe(self.sampling.nfe, self.bridge.num_steps, key="sampling.nfe")
        check_sampler(self.sampling.sampler, deterministic_bridge=self.bridge.deterministic)


def check_nfe(nfe: int, num_steps: int, *, key: str = "nfe") -> None:
    """Raises ValueError where a grid of `nfe` evaluations does not exist on `num_steps` steps."""
    if not 1 <= nfe <= num_steps - 1:
        raise ValueError(f"{key}={nfe} must lie in 1…{num_steps - 1} (num_steps - 1)")


def check_sampler(sampler: str, *, deterministic_bridge: bool) -> None:
    """Raises ValueError for an unknown sampler or one whose noise the network never saw."""
    _check_choice("sampler", sampler, SAMPLERS)
    if sampler == "ddpm" and deterministic_bridge:
        raise ValueError(
            "sampler='ddpm' adds noise that a bridge trained with bridge.deterministic=True "
            "never saw: use 'ode'"
        )


def from_config_dict(values: Mapping[str, Any]) -> Config:
    """Builds the configuration from a plain nested mapping.

    Args:
        values: what `configs/base.py` returns, as `to_dict()`, or a run's `config.json`.

    Returns:
        The validated configuration.

    Raises:
        ValueError: an unknown or missing key, a value of another type, or one out of range; one
            line that names it.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"a configuration is a mapping, not {values!r}")
    return _build(Config, values, prefix="")


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as JSON-ready nested dicts; the inverse of `from_config_dict`."""
    return dataclasses.asdict(config)


def check_key(key: str) -> None:
    """Raises ValueError unless `key`, such as "bridge.num_steps", is one of the configuration's."""
    kind, prefix = Config, ""
    for name in key.split("."):
        fields = _kinds(kind)
        _check_known(name, fields, prefix=prefix)
        kind, prefix = fields[name], f"{prefix}{name}."


def _kinds(cls) -> dict[str, Any]:
    """Name -> annotated type of a section's keys; a plain value has none."""
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return {field.name: field.type for field in fields}


def _check_known(name: str, fields: Mapping[str, Any], *, prefix: str) -> None:
    if name not in fields:
        raise ValueError(f"unknown config key {prefix + name!r}: {nearest(name, tuple(fields))}")


def _build(cls, values: Mapping[str, Any], *, prefix: str):
    fields = _kinds(cls)
    for name in values:
        _check_known(name, fields, prefix=prefix)
    missing = sorted(set(fields) - set(values))
    if missing:
        raise ValueError(f"config key {prefix + missing[0]!r} is missing; configs/base.py has all")
    built = {}
    for name, kind in fields.items():
        value = values[name]
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise ValueError(f"config key {prefix + name}={value!r} must be a section")
            built[name] = _build(kind, value, prefix=f"{prefix}{name}.")
        else:
            built[name] = _typed(prefix + name, value, kind)
    return cls(**built)


def _typed(key: str, value: Any, kind: Any) -> Any:
    """`value` if it is of the annotated type; ints serve as floats, lists as tuples."""
    if isinstance(kind, types.GenericAlias):
        element = kind.__args__[0]
        if not isinstance(value, list | tuple):
            raise ValueError(f"config key {key}={value!r} must be a sequence")
        return tuple(_typed(f"{key}[{i}]", item, element) for i, item in enumerate(value))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ValueError(f"config key {key}={value!r} must be of type {kind.__name__}")
    return value


_FILE = "config.json"
# keys that may change between a run's start and its continuation: none changes what was learnt
_MAY_CHANGE = {
    "data.path",
    "data.eval_path",
    "data.max_unreadable",
    "mask_file",
    "training.num_steps",  # except under cosine, whose whole course it shapes
    "training.log_every",
    "training.image_every",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "sampling.sampler",
    "sampling.nfe",
    "sampling.batch_size",
    "sampling.clip",
}


def load(workdir: epath.PathLike) -> Config:
    """The configuration of the run in `workdir`.

    Raises:
        ValueError: there is no run there, or its config.json is not one of this library's.
    """
    path = epath.Path(workdir) / _FILE
    if not path.exists():
        raise ValueError(f"{workdir} is not a run's folder: it has no {_FILE}")
    try:
        return from_config_dict(json.loads(path.read_text()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def save(workdir: epath.PathLike, config: Config) -> None:
    """Writes `workdir`/config.json."""
    text = json.dumps(to_dict(config), indent=2) + "\n"
    write_atomically(epath.Path(workdir) / _FILE, text.encode())


def check_same_run(workdir: epath.PathLike, config: Config) -> None:
    """Compares `config` with that of a run already in `workdir`, if there is one.

    Raises:
        ValueError: a key that shapes the result differs; the line names it and both values. Or
            `workdir` is no folder.
    """
    folder = epath.Path(workdir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{workdir} is a file: choose another workdir")
    if not (folder / _FILE).exists():
        return
    theirs, ours = flatten(to_dict(load(workdir))), flatten(to_dict(config))
    fixed = {"training.num_steps"} if config.optimizer.schedule == "cosine" else set()
    may_change = _MAY_CHANGE - fixed
    changed = [key for key in ours if ours[key] != theirs[key] and key not in may_change]
    if changed:
        differences = ", ".join(f"{k} is {theirs[k]!r} there, {ours[k]!r} here" for k in changed)
        raise ValueError(f"{workdir} holds another run: {differences}; choose another workdir")


def flatten(values: Mapping[str, Any], *, separator: str = ".") -> dict[str, Any]:
    """Nested mappings as one, its keys joined by `separator`."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = flatten(value, separator=separator)
            flat |= {f"{key}{separator}{name}": item for name, item in inner.items()}
        else:
            flat[key] = value
    return flat
