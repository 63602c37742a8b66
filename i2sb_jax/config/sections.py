"""The configuration as frozen dataclasses; each `__post_init__` is the third gate."""

import dataclasses
from typing import Any

from i2sb_jax.bridge import BRIDGES, PREDICTIONS, WEIGHTINGS
from i2sb_jax.config.checks import (
    check_at_least,
    check_at_most,
    check_choice,
    check_within,
    path_field,
)
from i2sb_jax.config.data import PAIRS, DataConfig
from i2sb_jax.config.evaluation import EvaluationConfig
from i2sb_jax.config.sampling import (
    SamplingConfig,
    check_nfe,
    check_sampler,
    check_spacing,
    check_student,
)
from i2sb_jax.corruptions.facts import check_image_size, corruption_facts
from i2sb_jax.metrics import SSIM_SIDE
from i2sb_jax.models import UNetConfig

SCHEDULES = ("step", "cosine")
_SEEDS = 2**32  # without 64-bit mode JAX drops the bits above
DISTRIBUTED = ("auto", "on", "off")
MATMUL_PRECISIONS = ("default", "high", "highest")
DISTILL_METHODS = ("inverse", "regression")
NO_OT_ODE = (
    "distillation fits the law of X_0 given X_1, and an OT-ODE's is a single point: train the "
    "teacher with bridge.deterministic=False"
)
BEST_METRICS = ("psnr", "ssim")  # the higher, the better

# A configuration may come with a stranger's model: these keep it from asking for more memory or
# time than there is, before anything that fits has been found. All lie far above what is in use.
_MAX_STEPS = 100_000  # of a bridge
_MAX_SIDE = 2048  # pixels of a training picture
_MAX_LEVELS, _MAX_BLOCKS, _MAX_WIDTH = 10, 16, 16_384  # of a network; ADM: 6, 2, 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """The bridge (I²SB section 3): which one, its schedule, SDE or OT-ODE, and what is learnt."""

    name: str
    num_steps: int
    beta_max: float
    deterministic: bool
    prediction: str
    weighting: str
    end_share: float
    log_floor: float

    def __post_init__(self):
        if not 0 <= self.end_share <= 1:
            raise ValueError(f"bridge.end_share={self.end_share} must lie in 0…1")
        check_at_least("bridge.log_floor", self.log_floor, 0.0)
        if self.num_steps < 2 or self.num_steps % 2:
            raise ValueError(
                f"bridge.num_steps={self.num_steps} must be even and at least 2, "
                f"e.g. {max(2, self.num_steps + self.num_steps % 2)}"
            )
        reason = "the schedule is a table of all of them; the paper has 1000"
        check_at_most("bridge.num_steps", self.num_steps, _MAX_STEPS, reason=reason)
        if not self.beta_max > 0:
            raise ValueError(f"bridge.beta_max={self.beta_max} must be positive")
        check_choice("bridge.name", self.name, BRIDGES)
        check_choice("bridge.prediction", self.prediction, PREDICTIONS)
        check_choice("bridge.weighting", self.weighting, WEIGHTINGS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The U-Net; corruption and data decide its input and output channels."""

    model_channels: int
    channel_mult: tuple[float, ...]
    num_res_blocks: int
    attention_downsamples: tuple[int, ...]
    head_channels: int
    norm_groups: int
    norm: str
    patch: int
    middle_attention: bool
    sharpened: tuple[float, ...]
    dropout: float
    dtype: str
    remat: str

    def __post_init__(self):
        object.__setattr__(self, "channel_mult", tuple(self.channel_mult))
        object.__setattr__(self, "attention_downsamples", tuple(self.attention_downsamples))
        object.__setattr__(self, "sharpened", tuple(self.sharpened))
        self._check_size()
        try:
            self.unet_config(in_channels=3)
        except ValueError as error:
            raise ValueError(f"model: {error}") from None

    def _check_size(self):
        reason = "far more than any U-Net in use has"
        levels, blocks = len(self.channel_mult), self.num_res_blocks
        check_at_most("levels of model.channel_mult", levels, _MAX_LEVELS, reason=reason)
        check_at_most("model.num_res_blocks", blocks, _MAX_BLOCKS, reason=reason)
        check_at_most("model.model_channels", self.model_channels, _MAX_WIDTH, reason=reason)
        for factor in self.channel_mult:
            width = factor * self.model_channels
            check_at_most("channels by model.channel_mult", width, _MAX_WIDTH, reason=reason)

    def unet_config(self, *, in_channels: int, out_channels: int = 3) -> UNetConfig:
        """The network's own configuration; it checks these values."""
        channels = {"in_channels": in_channels, "out_channels": out_channels}
        return UNetConfig(**channels, **dataclasses.asdict(self))


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
    clip_norm: float
    skip_norm: float

    def __post_init__(self):
        check_choice("optimizer.schedule", self.schedule, SCHEDULES)
        if not self.learning_rate > 0:
            raise ValueError(f"optimizer.learning_rate={self.learning_rate} must be positive")
        check_at_least("optimizer.warmup_steps", self.warmup_steps, 0)
        check_at_least("optimizer.decay_every", self.decay_every, 1)
        if not 0 < self.decay_rate <= 1:
            raise ValueError(f"optimizer.decay_rate={self.decay_rate} must lie in (0, 1]")
        check_within("optimizer.b1", self.b1, 0.0, 1.0)
        check_within("optimizer.b2", self.b2, 0.0, 1.0)
        if not self.eps > 0:
            raise ValueError(f"optimizer.eps={self.eps} must be positive")
        for key in ("weight_decay", "clip_norm", "skip_norm"):
            check_at_least(f"optimizer.{key}", getattr(self, key), 0.0)
        if self.skip_norm and self.clip_norm > self.skip_norm:
            raise ValueError(
                f"optimizer.clip_norm={self.clip_norm} must be at most "
                f"optimizer.skip_norm={self.skip_norm}: else nothing is ever clipped"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, batch and rhythm of a run."""

    num_steps: int
    batch_size: int
    accumulation_steps: int
    ema_decay: float
    init_from: str = path_field()
    log_every: int
    image_every: int
    checkpoint_every: int
    keep_checkpoints: int
    keep_every: int
    best_metric: str
    wandb_project: str

    def __post_init__(self):
        for key in ("num_steps", "batch_size", "accumulation_steps", "log_every"):
            check_at_least(f"training.{key}", getattr(self, key), 1)
        for key in ("image_every", "checkpoint_every", "keep_checkpoints"):
            check_at_least(f"training.{key}", getattr(self, key), 1)
        check_at_least("training.keep_every", self.keep_every, 0)
        if self.keep_every % self.checkpoint_every:
            raise ValueError(
                f"training.keep_every={self.keep_every} must be a multiple of "
                f"training.checkpoint_every={self.checkpoint_every}: only those steps are saved"
            )
        self._check_best()
        check_within("training.ema_decay", self.ema_decay, 0.0, 1.0)
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"training.batch_size={self.batch_size} must be a multiple of "
                f"training.accumulation_steps={self.accumulation_steps}"
            )

    def _check_best(self):
        if not self.best_metric:
            return
        check_choice("training.best_metric", self.best_metric, BEST_METRICS)
        every = self.image_every
        if self.checkpoint_every % every:
            right = max(1, round(self.checkpoint_every / every)) * every
            raise ValueError(
                f"training.checkpoint_every={self.checkpoint_every} must be a multiple of "
                f"training.image_every={every}, e.g. {right}: training.best_metric="
                f"{self.best_metric!r} is measured there"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How devices share batches ("data") and, of large tensors, also parameters ("fsdp")."""

    data: int
    fsdp: int
    fsdp_min_bytes: int

    def __post_init__(self):
        if self.data != -1:
            check_at_least("mesh.data", self.data, 1)
        check_at_least("mesh.fsdp", self.fsdp, 1)
        check_at_least("mesh.fsdp_min_bytes", self.fsdp_min_bytes, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """How a student of `teacher` is trained; its steps are the `sampling` section's."""

    method: str
    auxiliary_updates: int
    teacher_nfe: int

    def __post_init__(self):
        check_choice("distill.method", self.method, DISTILL_METHODS)
        check_at_least("distill.auxiliary_updates", self.auxiliary_updates, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that defines a run."""

    seed: int
    corruption: str
    mask_file: str = path_field()
    image_size: int
    matmul_precision: str
    distributed: str
    bridge: BridgeConfig
    model: ModelConfig
    data: DataConfig
    optimizer: OptimizerConfig
    training: TrainingConfig
    teacher: str = path_field()
    distill: DistillConfig
    mesh: MeshConfig
    sampling: SamplingConfig
    evaluation: EvaluationConfig

    def __post_init__(self):
        reason = "larger pictures are restored in tiles"
        check_at_most("image_size", self.image_size, _MAX_SIDE, reason=reason)
        check_seed("seed", self.seed)
        self._check_corruption()
        check_choice("matmul_precision", self.matmul_precision, MATMUL_PRECISIONS)
        check_choice("distributed", self.distributed, DISTRIBUTED)
        factor = self.model.unet_config(in_channels=3).downsampling_factor
        if self.image_size < 1 or self.image_size % factor:
            right = max(factor, round(self.image_size / factor) * factor)
            raise ValueError(
                f"image_size={self.image_size} cannot be halved {len(self.model.channel_mult) - 1} "
                f"times by model.channel_mult={self.model.channel_mult}: use a multiple of "
                f"{factor}, e.g. {right}"
            )
        if self.training.best_metric == "ssim" and self.image_size < SSIM_SIDE:
            raise ValueError(
                f"training.best_metric='ssim' needs pictures of at least {SSIM_SIDE} pixels, not "
                f"image_size={self.image_size}: use 'psnr'"
            )
        check_nfe(self.sampling.nfe, self.bridge.num_steps, key="sampling.nfe")
        check_sampler(self.sampling.sampler, deterministic_bridge=self.bridge.deterministic)
        check_spacing(self.sampling.spacing, bridge_name=self.bridge.name)
        if self.teacher:
            self._check_student()

    @property
    def has_pairs(self) -> bool:
        """Whether X_1 comes with X_0 from the data and is not computed from it."""
        return self.corruption == PAIRS

    @property
    def image_channels(self) -> int:
        """Channels of X_0 and X_1."""
        return self.data.target_channels if self.has_pairs else 3

    @property
    def cond_channels(self) -> int:
        """Channels of what the network sees beside X_t; 0 where it sees nothing else."""
        if self.has_pairs:
            return self.data.source_channels if self.data.cond_x1 else 0
        return corruption_facts(self.corruption).cond_channels

    @property
    def has_mask(self) -> bool:
        """Whether batches say where holes are."""
        return not self.has_pairs and corruption_facts(self.corruption).has_mask

    @property
    def starts_with_noise(self) -> bool:
        """Whether X_1 itself has some, in holes or over its condition."""
        if self.has_pairs:
            return False
        facts = corruption_facts(self.corruption)
        return facts.has_mask or facts.adds_noise

    @property
    def noise_channels(self) -> int:
        """Channels of fresh noise that a student's network sees, last; 0 where X_1 has noise."""
        return self.image_channels if self.teacher and not self.starts_with_noise else 0

    @property
    def unet(self) -> UNetConfig:
        """The network: its input is X_t, then the condition, then a student's noise, if any."""
        channels = self.image_channels
        return self.model.unet_config(
            in_channels=channels + self.cond_channels + self.noise_channels, out_channels=channels
        )

    def choose_sampling(self, **given: Any) -> SamplingConfig:
        """Returns the `sampling` section with what is given and not None in its place, checked.

        Args:
            **given: fields of `SamplingConfig`.

        Raises:
            ValueError: nfe out of range, a sampler that does not suit the run, or of a student
                other steps than it has learnt.
        """
        chosen = self.sampling.replaced(**given)
        check_nfe(chosen.nfe, self.bridge.num_steps)
        check_sampler(chosen.sampler, deterministic_bridge=self.bridge.deterministic)
        check_spacing(chosen.spacing, bridge_name=self.bridge.name)
        if self.teacher:
            check_student(chosen, self.sampling)
        return chosen

    def without_teacher(self) -> "Config":
        """The bridge that a student is of: its network is the teacher's."""
        return dataclasses.replace(self, teacher="")

    def _check_student(self):
        check_nfe(self.distill.teacher_nfe, self.bridge.num_steps, key="distill.teacher_nfe")
        if self.bridge.deterministic:
            raise ValueError(f"bridge.deterministic=True does not go with a teacher: {NO_OT_ODE}")
        for key in ("end_share", "log_floor"):
            if value := getattr(self.bridge, key):
                raise ValueError(
                    f"bridge.{key}={value}: a student's loss is the paper's at all steps, use 0.0"
                )
        if self.training.init_from:
            raise ValueError(
                f"training.init_from={self.training.init_from!r}: a student starts as its teacher, "
                "leave it ''"
            )
        if self.model.dropout:
            raise ValueError(
                f"model.dropout={self.model.dropout}: a student is trained without, use 0.0"
            )

    def _check_corruption(self):
        if self.has_pairs != (self.data.source == PAIRS):
            raise ValueError(
                f"corruption={self.corruption!r} does not go with data.source="
                f"{self.data.source!r}: 'pairs' of both, or of neither"
            )
        if not self.has_pairs:
            check_image_size(self.corruption, self.image_size)
        elif self.mask_file:
            raise ValueError(f"mask_file={self.mask_file!r}: pairs have no masks, leave it ''")


def check_seed(key: str, seed: int) -> None:
    """Raises ValueError for a seed that random keys cannot be made of."""
    if not 0 <= seed < _SEEDS:
        raise ValueError(f"{key}={seed} must lie in 0…{_SEEDS - 1}")
