"""The configuration as frozen dataclasses; each `__post_init__` is the third gate."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from i2sb_jax.bridge import (
    BRIDGES,
    PREDICTIONS,
    WEIGHTINGS,
    Bridge,
    loss_weight,
    make_bridge,
)
from i2sb_jax.config.checks import (
    check_at_least,
    check_at_most,
    check_choice,
    check_within,
)
from i2sb_jax.config.data import PAIRS, DataConfig
from i2sb_jax.config.evaluation import EvaluationConfig
from i2sb_jax.config.sampling import (
    SamplingConfig,
    check_consistency,
    check_nfe,
    check_realism,
    check_sampler,
    check_spacing,
    check_student,
    check_x1_tells,
)
from i2sb_jax.corruptions.facts import check_image_size, corruption_facts
from i2sb_jax.fields import documented, field, path_field
from i2sb_jax.metrics import SSIM_SIDE
from i2sb_jax.models import UNetConfig, adm_256

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
# keys of one bridge alone, whose it is, and what leaves them out
_OF_ONE_BRIDGE = (("gamma", "linear", 0.0), ("penalty", "unidb", 1e7))
_BY_SNR = ("snr", "truncated_snr")

# A configuration may come with a stranger's model: these keep it from asking for more memory or
# time than there is, before anything that fits has been found. All lie far above what is in use.
_MAX_STEPS = 100_000  # of a bridge
_MAX_SIDE = 2048  # pixels of a training picture
_MAX_LEVELS, _MAX_BLOCKS, _MAX_WIDTH = 10, 16, 16_384  # of a network; ADM: 6, 2, 1024


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """The bridge (I²SB section 3): which one, its schedule, SDE or OT-ODE, and what is learnt."""

    name: str = field(
        "i2sb",
        "which bridge: i2sb (published weights) | i2sb-exact | brownian | vp | ou | nadb | "
        "linear | unidb | irsde | resshift",
    )
    num_steps: int = field(1000, "N, steps of the bridge; even")
    beta_max: float = field(0.3, "nominal peak of N·β, of i2sb; 0.3 or 1.0 in the paper")
    gamma: float = field(0.0, "γ, the largest noise, of linear; 0: flow, with deterministic")
    penalty: float = field(1e7, "γ, the price of the end's distance from X_1, of unidb")
    x1_input: bool = field(False, "the network sees X_1 beside X_t")
    deterministic: bool = field(False, "False: SDE; True: OT-ODE, no noise in training or sampling")
    prediction: str = field("epsilon", "what the network gives: epsilon (Eq. 12) | x0 | v")
    weighting: str = field(
        "epsilon", "weighting of its error: epsilon | x0 | v | snr | min_snr | truncated_snr"
    )
    end_share: float = field(
        0.0, "share of pictures at step N - 1, all that nfe=1 sees, 0 … 1; the rest at any step"
    )
    log_floor: float = field(
        0.0, "above 0: log(loss + this) of each picture, so that small errors count too"
    )
    start: str = path_field(
        'a run or model, frozen, whose one evaluation of X_1 the bridge starts at; "": at X_1'
    )
    start_noise: float = field(
        0.2, "σ of the noise on that start, in units of pictures in [-1, 1]; 0: none"
    )

    def __post_init__(self):
        check_at_least("bridge.start_noise", self.start_noise, 0.0)
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
        check_at_least("bridge.gamma", self.gamma, 0.0)
        if not self.penalty > 0:
            raise ValueError(f"bridge.penalty={self.penalty} must be positive")
        check_choice("bridge.name", self.name, BRIDGES)
        for key, owner, neutral in _OF_ONE_BRIDGE:
            value = getattr(self, key)
            if self.name != owner and value != neutral:
                raise ValueError(
                    f"bridge.{key}={value} is of bridge.name={owner!r}; {self.name!r} has none, "
                    f"leave it {neutral}"
                )
        if self.name == "linear" and self.deterministic != (self.gamma == 0):
            now, right = self.deterministic, not self.deterministic
            noise = "no noise" if right else "noise"
            raise ValueError(
                f"bridge.deterministic={now} does not go with bridge.gamma={self.gamma}, of "
                f"which 'linear' has {noise}: use bridge.deterministic={right}"
            )
        if self.x1_input and self.deterministic:
            raise ValueError(
                "bridge.x1_input=True does not go with bridge.deterministic=True: without noise "
                "X_t and X_1 together give X_0 away in training, and one evaluation is all that is "
                "learnt; use x1_input=False"
            )
        check_choice("bridge.prediction", self.prediction, PREDICTIONS)
        check_choice("bridge.weighting", self.weighting, WEIGHTINGS)
        if self.weighting in _BY_SNR:  # which may be infinite
            loss_weight(self.make(), prediction=self.prediction, weighting=self.weighting)

    def make(self) -> Bridge:
        """Returns the bridge, by its coefficients or as I²SB's schedule."""
        return make_bridge(
            self.name, num_steps=self.num_steps, beta_max=self.beta_max, gamma=self.gamma,
            penalty=self.penalty, x1_input=self.x1_input,
        )  # fmt: skip

    @property
    def starts_around(self) -> bool:
        """Whether sampling starts with noise around X_1."""
        return not self.deterministic and self.make().start_std > 0


def _keys_of(network: UNetConfig) -> Iterator[tuple[str, type, Any]]:
    """Yields (key, type, field) of all that a configuration says of a network, by default this."""
    for each in dataclasses.fields(network):
        kind, value = each.type, getattr(network, each.name)
        if each.name == "dtype":
            kind, value = str, value.name
        if each.name not in ("in_channels", "out_channels"):
            yield each.name, kind, field(value, each.metadata["meaning"])


# so that a key of the network, its default and its meaning stand in UNetConfig and adm_256 alone
_Network = dataclasses.make_dataclass("_Network", _keys_of(adm_256()), frozen=True, kw_only=True)


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(_Network):
    """The U-Net: ADM's at 256², 552,807,171 parameters; its channels in and out are the data's."""

    def __post_init__(self):
        object.__setattr__(self, "channel_mult", tuple(self.channel_mult))
        object.__setattr__(self, "attention_downsamples", tuple(self.attention_downsamples))
        object.__setattr__(self, "sharpened", tuple(self.sharpened))
        object.__setattr__(self, "thresholded", tuple(self.thresholded))
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


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW with the paper's step decay, or warm-up and cosine."""

    learning_rate: float = field(5e-5, "peak of the schedule")
    schedule: str = field(
        "step", "learning rate: step: × decay_rate every decay_every | cosine: to 0 at the end"
    )
    warmup_steps: int = field(0, "updates of linear warm-up")
    decay_every: int = field(1000, "updates from one decay to the next, of step")
    decay_rate: float = field(0.99, "factor of a decay, of step; in (0, 1]")
    b1: float = field(0.9, "AdamW's β₁, in [0, 1)")
    b2: float = field(0.999, "AdamW's β₂, in [0, 1)")
    eps: float = field(1e-8, "AdamW's ε")
    weight_decay: float = field(0.0, "decoupled weight decay")
    clip_norm: float = field(0.0, "longer gradients are scaled down to this norm; 0: never")
    skip_norm: float = field(0.0, "updates by longer gradients are not made; 0: all are")

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


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, batch and rhythm of a run."""

    num_steps: int = field(1_000_000, "updates in all")
    batch_size: int = field(256, "pictures an update, over all devices")
    accumulation_steps: int = field(1, "micro-batches an update")
    ema_decay: float = field(
        0.99, "decay of the averaged weights, after min(decay, (1+k)/(10+k)); in [0, 1)"
    )
    init_from: str = path_field(
        "a run, model folder or .safetensors whose (averaged) weights it starts from"
    )
    log_every: int = field(100, "updates between lines of metrics.jsonl")
    image_every: int = field(5000, "updates between sheets of restored held-out pictures")
    checkpoint_every: int = field(5000, "updates between checkpoints")
    keep_checkpoints: int = field(3, "newest checkpoints that are kept")
    keep_every: int = field(0, "checkpoints of steps that it divides are kept for good; 0: none")
    best_metric: str = field(
        "", 'the checkpoint that restores held-out pictures best is kept: psnr | ssim; "": none'
    )
    wandb_project: str = field("", 'project of Weights & Biases, beside TensorBoard; "": none')
    profile_steps: str = field(
        "", 'A:B, updates after step A up to step B are traced for TensorBoard; "": none'
    )

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
        self._check_profile()
        check_within("training.ema_decay", self.ema_decay, 0.0, 1.0)
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                f"training.batch_size={self.batch_size} must be a multiple of "
                f"training.accumulation_steps={self.accumulation_steps}"
            )

    def _check_profile(self):
        if not self.profile_steps:
            return
        span = profile_span(self.profile_steps)
        if span is None or not 0 <= span[0] < span[1] <= self.num_steps:
            first = min(100, self.num_steps - 1)
            right = f"{first}:{min(first + 10, self.num_steps)}"
            raise ValueError(
                f"training.profile_steps={self.profile_steps!r} must be A:B with 0 <= A < B <= "
                f"training.num_steps={self.num_steps}, as {right}, or '' for none"
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


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How devices share batches ("data") and, of large tensors, also parameters ("fsdp").

    data × fsdp are all devices; both may change between restarts.
    """

    data: int = field(-1, "devices that share a batch only; -1: the rest")
    fsdp: int = field(1, "devices that share a batch and large parameters")
    fsdp_min_bytes: int = field(4 * 2**20, "smaller tensors lie whole on every device")

    def __post_init__(self):
        if self.data != -1:
            check_at_least("mesh.data", self.data, 1)
        check_at_least("mesh.fsdp", self.fsdp, 1)
        check_at_least("mesh.fsdp_min_bytes", self.fsdp_min_bytes, 0)


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """How a student of `teacher` is trained; its steps are the `sampling` section's."""

    method: str = field(
        "inverse",
        "what it learns by: inverse: bridge matching (IBMD) | regression: on the OT-ODE's end",
    )
    auxiliary_updates: int = field(
        5, "updates of the auxiliary bridge for one of the student, of inverse"
    )
    teacher_nfe: int = field(10, "evaluations of the teacher, of regression")

    def __post_init__(self):
        check_choice("distill.method", self.method, DISTILL_METHODS)
        check_at_least("distill.auxiliary_updates", self.auxiliary_updates, 1)


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that defines a run.

    Defaults are the paper's recipe, where it has one: ImageNet at 256², 4× super-resolution.
    """

    seed: int = field(0, "seed of weights, order, augmentation and noise, 0 … 2³² - 1")
    corruption: str = field(
        "sr4x-pool", "what is repaired: a name of i2sb_jax.corruptions, or pairs"
    )
    mask_file: str = path_field('.npz of freeform masks (the paper\'s); "" draws brush strokes')
    image_size: int = field(256, "height and width of training pictures, pixels")
    matmul_precision: str = field(
        "default", "precision of float32 products on TPU and GPU: default | high | highest"
    )
    distributed: str = field(
        "auto", "processes that share the run: auto: a launcher's, or one | on: a launcher's | off"
    )
    heartbeat: float = field(
        100.0, "seconds of silence after which another process of the group is lost, 1 … 3600"
    )
    bridge: BridgeConfig = dataclasses.field(default_factory=BridgeConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    teacher: str = path_field(
        'a run or model folder, to train a student of it; "": a bridge of its own'
    )
    distill: DistillConfig = dataclasses.field(default_factory=DistillConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    sampling: SamplingConfig = dataclasses.field(default_factory=SamplingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)

    def __post_init__(self):
        reason = "larger pictures are restored in tiles"
        check_at_most("image_size", self.image_size, _MAX_SIDE, reason=reason)
        check_seed("seed", self.seed)
        self._check_corruption()
        check_choice("matmul_precision", self.matmul_precision, MATMUL_PRECISIONS)
        check_choice("distributed", self.distributed, DISTRIBUTED)
        check_at_least("heartbeat", self.heartbeat, 1.0)
        reason = "the others wait so long for a process that is lost"
        check_at_most("heartbeat", self.heartbeat, 3600.0, reason=reason)
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
        self._check_steps(self.sampling)
        check_x1_tells(self.sampling, self.corruption)
        check_realism(self.sampling.realism, self.sampling.nfe)
        if self.bridge.x1_input and self.cond_channels:
            raise ValueError(
                "bridge.x1_input=True: the network sees what X_1 is made of already, as "
                f"{self.corruption!r} has it; use False"
            )
        if self.teacher:
            self._check_student()

    @property
    def has_pairs(self) -> bool:
        """Whether X_1 comes with X_0 from the data and is not computed from it."""
        return self.corruption == PAIRS

    @property
    def is_bounded(self) -> bool:
        """Whether X_0 lies in [-1, 1]; values of pairs that are scaled by others may not."""
        return not self.has_pairs or self.data.scaling == "dtype"

    @property
    def start_evaluations(self) -> int:
        """Evaluations before the bridge's own: one of the model that it starts at, if any."""
        return 1 if self.bridge.start else 0

    @property
    def draws_start(self) -> bool:
        """Whether noise is added to the answer that the bridge starts at."""
        return bool(self.bridge.start) and self.bridge.start_noise > 0

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
        """Whether X_1 itself has some, in holes or over its condition, or the start has."""
        if self.draws_start:
            return True
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
        """The network: it sees X_t, the condition, X_1 and a student's noise, if any, in turn."""
        channels = self.image_channels
        beside = self.cond_channels + self.noise_channels + channels * self.bridge.x1_input
        return self.model.unet_config(in_channels=channels + beside, out_channels=channels)

    def choose_sampling(self, *, operator: str | None = None, **given: Any) -> SamplingConfig:
        """Returns the `sampling` section with what is given and not None in its place, checked.

        Args:
            operator: that made the pictures, where the corruption draws it; for consistency.
            **given: fields of `SamplingConfig`.

        Raises:
            ValueError: nfe out of range, a sampler that does not suit the run, of a student other
                steps than it has learnt, or consistency with what nothing is known of.
        """
        chosen = self.sampling.replaced(**given)
        check_nfe(chosen.nfe, self.bridge.num_steps)
        self._check_steps(chosen)
        check_consistency(chosen, self.corruption, operator or "")
        if self.teacher:
            check_student(chosen, self.sampling)
        return chosen

    def without_teacher(self) -> "Config":
        """The bridge that a student is of: its network is the teacher's."""
        return dataclasses.replace(self, teacher="")

    def _check_steps(self, chosen: SamplingConfig) -> None:
        """Raises ValueError for a sampler or spacing that does not suit the bridge."""
        bridge = self.bridge
        check_sampler(
            chosen.sampler, deterministic_bridge=bridge.deterministic,
            starts_around=bridge.starts_around,
        )  # fmt: skip
        noiseless = bridge.name == "linear" and bridge.deterministic
        check_spacing(chosen.spacing, bridge_name=bridge.name, noiseless=noiseless)

    def _check_student(self):
        if self.bridge.start:
            raise ValueError(
                f"bridge.start={self.bridge.start!r} does not go with a teacher: a student is "
                "distilled from X_1 itself, leave it ''"
            )
        check_nfe(self.distill.teacher_nfe, self.bridge.num_steps, key="distill.teacher_nfe")
        if self.bridge.deterministic:
            raise ValueError(f"bridge.deterministic=True does not go with a teacher: {NO_OT_ODE}")
        if self.distill.method == "regression" and self.bridge.starts_around:
            raise ValueError(
                "distill.method='regression' is on the end of the teacher's OT-ODE, which starts "
                f"at X_1 itself, and bridge.name={self.bridge.name!r} is trained to start with "
                "noise around it: use 'inverse'"
            )
        for key in ("end_share", "log_floor"):
            if value := getattr(self.bridge, key):
                raise ValueError(
                    f"bridge.{key}={value}: a student's loss is the paper's at all steps, use 0.0"
                )
        if self.sampling.realism != 1:
            raise ValueError(
                f"sampling.realism={self.sampling.realism}: a student learns whole samples, use 1.0"
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


def profile_span(steps: str) -> tuple[int, int] | None:
    """Returns A and B of "A:B", the updates made when a trace begins and ends; None if not so."""
    found = re.fullmatch(r"(\d{1,18}):(\d{1,18})", steps, re.ASCII)
    return (int(found[1]), int(found[2])) if found else None


def check_seed(key: str, seed: int) -> None:
    """Raises ValueError for a seed that random keys cannot be made of."""
    if not 0 <= seed < _SEEDS:
        raise ValueError(f"{key}={seed} must lie in 0…{_SEEDS - 1}")
