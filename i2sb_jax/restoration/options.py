"""A person's choices when restoring pictures."""

import dataclasses
from typing import Any

from i2sb_jax.bridge import WITHOUT_NOISE
from i2sb_jax.checkpoint import LATEST, check_name
from i2sb_jax.config import Config, SamplingConfig, check_realism, check_seed, check_x1_tells
from i2sb_jax.corruptions import CorruptionFacts, corruption_facts
from i2sb_jax.files import real_path
from i2sb_jax.interop import load_config
from i2sb_jax.pictures import FORMATS
from i2sb_jax.restoration.published_blur import dark_border
from i2sb_jax.restoration.tiles import Tiling, choose_tiling

_SAMPLING = ("nfe", "sampler", "spacing", "eta", "clip", "consistency", "realism")


def check_strength(strength: float) -> None:
    """Raises ValueError unless `strength` lies in 0 … 1."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength={strength} must lie in 0 … 1")


def unmixable(facts: CorruptionFacts, *, degrade: bool = False) -> str:
    """Why results cannot be mixed with what they were made of, a phrase; "" where they can.

    Of smooth reductions they can: with the picture enlarged smoothly.

    Args:
        facts: of the task.
        degrade: whether inputs are what the corruption makes, of published blurs dark.
    """
    if facts.has_mask:
        return "fills holes, in which there is none"
    if facts.adds_noise:
        return "colours grey pictures"
    if facts.enlarged_by == "blocks":
        return "enlarges it"
    if degrade and not facts.keeps_light:
        return "darkens it"
    return ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How pictures are restored; None leaves the choice to the run.

    Attributes:
        checkpoint: of a run: "latest", "best" (by `training.best_metric`) or the number of a step.
        nfe: network evaluations.
        sampler: one of `bridge.SAMPLERS`.
        spacing: of its steps, one of `bridge.SPACINGS`.
        eta: of sampler "implicit", 0 … 1.
        seed: of all noise.
        clip: clip X̂_0 to [-1, 1] at each step.
        consistency: correct each X̂_0 to agree with the picture that is restored: "projection",
            "gradient", or "" for not at all.
        realism: 0 … 1, from the first X̂_0, which is the mean of what the picture may have been, to
            the end of the walk, which is one of these: (1 - realism)·X̂_0 + realism·X_0.
        operator: that made the pictures, where the run's corruption draws it: "bicubic".
        dtype: compute type, "float32" or "bfloat16".
        tile: side in pixels of the windows in which a picture is restored, a multiple of 16 and of
            what the network halves; a picture no larger is restored whole. None: what suits the
            network, the run's size where it has attention, else up to 512 (`tiles.choose_tiling`).
        overlap: pixels that neighbouring tiles share at least; None: what suits the network.
        strength: 0 … 1, how much of the change is taken: input + strength · (restored - input),
            before rounding. 1 is the restored picture.
        samples: restorations of each picture; above 1 their mean and standard deviation are
            written.
        trajectory: write the states on the way from X_1 to X_0 too.
        masks: a mask picture (white = hole), a folder of them named as the pictures are, or with
            `degrade` the paper's .npz.
        member: of a run on a mixture: what all pictures suffered from. None: what each tells itself
            (a JPEG file, one with a mask, or one of a quarter of the run's size to be enlarged).
        degrade: the pictures are clean: cut them to the run's size, degrade them, and measure.
        preview: restore one crop of the first picture and stop.
        overwrite: restore again what the output folder has already.
        format: of results, one of `pictures.FORMATS`; "same": that of each picture.
        quality: of results in JPEG or WebP, 1 … 100.
        side_by_side: each picture holds a source and its target, as the pairs of the run did: take
            the source's half.
    """

    checkpoint: str | int = LATEST
    nfe: int | None = None
    sampler: str | None = None
    spacing: str | None = None
    eta: float | None = None
    seed: int = 0
    clip: bool | None = None
    consistency: str | None = None
    realism: float | None = None
    operator: str | None = None
    dtype: str | None = None
    tile: int | None = None
    overlap: int | None = None
    strength: float = 1.0
    samples: int = 1
    trajectory: bool = False
    masks: str | None = None
    member: str | None = None
    degrade: bool = False
    preview: bool = False
    overwrite: bool = False
    format: str = "png"
    quality: int = 95
    side_by_side: bool = False

    def __post_init__(self):
        check_name(self.checkpoint)
        check_seed("seed", self.seed)
        check_strength(self.strength)
        if self.samples < 1:
            raise ValueError(f"samples={self.samples} must be at least 1")
        if self.samples > 1 and self.trajectory:
            raise ValueError("trajectory shows one sample: leave samples=1")
        if self.preview and (self.trajectory or self.samples > 1):
            more = "trajectory" if self.trajectory else f"samples={self.samples}"
            raise ValueError(f"preview restores one crop once: leave out {more}")
        if self.format not in FORMATS:
            raise ValueError(f"format={self.format!r} must be one of {', '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality={self.quality} must lie in 1…100")
        if self.dtype not in (None, "float32", "bfloat16"):
            raise ValueError(f"dtype={self.dtype!r} must be 'float32' or 'bfloat16'")

    def tiling(self, config: Config) -> Tiling:
        """How the pictures of a run are cut into windows.

        Raises:
            ValueError: sizes that do not fit; one line.
        """
        start = load_config(config.bridge.start).unet if config.bridge.start else None
        return choose_tiling(
            config.unet, image_size=config.image_size, tile=self.tile, overlap=self.overlap,
            border=0 if config.has_pairs else dark_border(config.corruption), start=start,
        )  # fmt: skip

    def sampling(self, config: Config) -> SamplingConfig:
        """Returns the run's sampling with what was chosen in its place.

        Raises:
            ValueError: a choice that does not fit the run; one line.
        """
        given = {name: getattr(self, name) for name in _SAMPLING}
        return config.choose_sampling(operator=self.operator, **given)

    def resolve(self, config: Config) -> "Options":
        """With the run's choices in place of None, and checked against the run.

        A tile stays None where windows adapt to the picture.

        Args:
            config: the run.

        Raises:
            ValueError: an option that does not fit the run; one line.
        """
        tiling = self.tiling(config)
        chosen = self.sampling(config)
        check_realism(self.realism, chosen.nfe)
        resolved = dataclasses.replace(
            self,
            **{name: getattr(chosen, name) for name in _SAMPLING},
            dtype=config.model.dtype if self.dtype is None else self.dtype,
            tile=None if tiling.adapts else tiling.side,
            overlap=tiling.overlap,
        )
        if self.strength != 1:
            self._check_mixable(config)
        if self.degrade:
            self._check_degrade()
            check_x1_tells(chosen, config.corruption)
        if self.format != "png" and (self.degrade or config.has_pairs):
            why = "what is measured is" if self.degrade else "results of pairs are files as their"
            what = "PNG" if self.degrade else "targets"
            raise ValueError(f"format={self.format!r}: {why} {what}, leave it out")
        if self.side_by_side and (not config.has_pairs or config.data.target_path):
            raise ValueError(
                "side_by_side is for runs that learnt from sources and targets side by side in one "
                "picture, which this is not"
            )
        if self.samples > 1 and resolved.sampler in WITHOUT_NOISE and not config.draws_start:
            given = f"sampler={resolved.sampler!r}"
            reason = "the run is an OT-ODE" if config.bridge.deterministic else given
            raise ValueError(
                f"samples={self.samples} need noise, and {reason}, which draws none: all samples "
                "of a picture would be the same"
            )
        draws_noise = (
            config.starts_with_noise or config.noise_channels or config.bridge.starts_around
        )
        if self.samples > 1 and resolved._is_first and not draws_noise:
            which = "a single" if resolved.nfe == 1 else "the first"
            option = "nfe=1" if resolved.nfe == 1 else f"realism={resolved.realism}"
            raise ValueError(
                f"samples={self.samples} need noise, and {which} evaluation ({option}) draws none: "
                "all samples of a picture would be the same"
            )
        return resolved

    def _check_mixable(self, config: Config) -> None:
        """Raises ValueError where result and input are not the same picture at the same size."""
        option = f"strength={self.strength}"
        if config.has_pairs:
            raise ValueError(f"{option} needs a result of the input's kind: leave it 1 for pairs")
        members = corruption_facts(config.corruption).members
        tasks = [self.member] if self.member else members or [config.corruption]
        for task in tasks:
            if reason := unmixable(corruption_facts(task), degrade=self.degrade):
                raise ValueError(f"{option} mixes a result with its input, and {task} {reason}")

    def _check_degrade(self) -> None:
        for name in ("tile", "overlap", "member"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is for pictures as they are: degrade cuts "
                    "them to the run's size, and their numbers tell the members of a mixture"
                )

    def is_seed_idle(self, config: Config) -> bool:
        """Whether the resolved options draw nothing, so that `seed` changes no pixel."""
        starts_random = (
            self.degrade
            or self.masks is not None
            or self.member is not None
            or config.noise_channels > 0
            or (not config.has_pairs and bool(corruption_facts(config.corruption).members))
            or config.starts_with_noise
            or config.bridge.starts_around
        )
        return not starts_random and (self.sampler in WITHOUT_NOISE or self._is_first)

    @property
    def _is_first(self) -> bool:
        """Whether the resolved options give what the first evaluation answers."""
        return self.nfe == 1 or self.realism == 0

    def settings(self) -> dict[str, Any]:
        """The options that shape the pixels, as JSON, beside the weights."""
        chosen = dataclasses.asdict(self)
        for name in ("checkpoint", "preview", "overwrite"):
            del chosen[name]
        # of what it does not change nothing is noted, so that older results can be gone on with
        if self.format in ("png", "tiff"):
            del chosen["quality"]
        if self.format == "png":
            del chosen["format"]
        if not self.consistency:
            del chosen["consistency"], chosen["operator"]
        if self.realism in (None, 1):
            del chosen["realism"]
        if self.masks is not None:
            chosen["masks"] = real_path(self.masks)
        return chosen
