"""The ADM U-Net as plain values: its configuration and its list of blocks.

The network is that of Dhariwal & Nichol 2021, "Diffusion Models Beat GANs on Image Synthesis"
(arXiv 2105.05233). `block_plan` is the only description of its wiring: the Flax module builds the
blocks it lists and the weight importer names them, so the two cannot disagree.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from i2sb_jax.fields import documented, field, required_field
from i2sb_jax.models import sharpen, threshold

REMAT_POLICIES = ("none", "blocks", "dots")
NORMS = ("group", "none")
PATCHES = (1, 2, 4)
MAX_SHARPENED = 2.5  # pixels: filters for wider blurs reach further than they are kept
MAX_THRESHOLD = 10.0  # deviations of the noise: no coefficient of it is so large


@documented
@dataclasses.dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """The shape of a U-Net and how it is computed. Hashable, so it may be a static argument.

    Raises:
        ValueError: a value is out of range; the message names it and what would be right.
    """

    model_channels: int = required_field(
        "width that channel_mult multiplies, and length of the sinusoidal embedding; even"
    )
    channel_mult: tuple[float, ...] = required_field(
        "width of each level / model_channels, finest first; int(factor * model_channels) must be "
        "a multiple of norm_groups"
    )
    num_res_blocks: int = required_field(
        "residual blocks a level on the way down; one more on the way up"
    )
    attention_downsamples: tuple[int, ...] = required_field(
        "attention behind each residual block where the picture is so much smaller: powers of two "
        "up to the coarsest level's (a patch not counted)"
    )
    head_channels: int = required_field(
        "channels an attention head; divides the channels wherever there is attention"
    )
    in_channels: int = field(3, "channels of the picture and of the condition, if any")
    out_channels: int = field(3, "channels of the output")
    norm_groups: int = field(
        32, "groups of every group normalisation, at least 1; fewer for narrow networks"
    )
    norm: str = field(
        "group",
        "normalisation: group (ADM) | none: the time embedding still scales and shifts; without "
        "attention a pixel then sees what is near it alone (receptive_radius)",
    )
    patch: int = field(
        1,
        "1 (ADM) | 2 | 4: squares of so many pixels are channels from the first convolution to the "
        "last, so that the finest level is so much smaller",
    )
    middle_attention: bool = field(True, "attention at the coarsest level, as ADM has it")
    sharpened: tuple[float, ...] = field(
        (),
        "σ in pixels, above 0 and up to 2.5: the network sees its picture as Wiener filters for "
        "such blurs sharpen it, too; () in ADM",
    )
    thresholded: tuple[float, ...] = field(
        (),
        "thresholds in deviations of the noise, above 0 and up to 10: the network sees its picture "
        "without the cosines of 8x8 pixels below each, too, and weighs these against its own "
        "answer at each pixel; the noise is estimated around each block; () in ADM",
    )
    dropout: float = field(0.0, "rate inside residual blocks, in [0, 1); drawn in training alone")
    dtype: np.dtype = field(
        jnp.float32,
        "type of convolutions and attention: float32 | bfloat16; parameters, statistics, softmax, "
        "time embedding and output are float32 always",
    )
    remat: str = field(
        "none",
        "what the backward pass recomputes: none | blocks: all inside residual and attention "
        "blocks, least memory | dots: what there is neither convolution nor matrix product",
    )

    def __post_init__(self):
        # Lists would make the config unhashable, and jnp.float32 is a different object from
        # np.dtype("float32"): one canonical form each.
        object.__setattr__(self, "channel_mult", tuple(self.channel_mult))
        object.__setattr__(self, "attention_downsamples", tuple(self.attention_downsamples))
        object.__setattr__(self, "sharpened", tuple(self.sharpened))
        object.__setattr__(self, "thresholded", tuple(self.thresholded))
        object.__setattr__(self, "dtype", _float_dtype(self.dtype))
        self._check_scalars()
        self._check_levels()

    def _check_scalars(self):
        names = "model_channels num_res_blocks head_channels in_channels out_channels norm_groups"
        values = dataclasses.asdict(self)
        for name in names.split():
            value = values[name]
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}, must be a positive integer")
        if self.model_channels % 2:
            raise ValueError(f"model_channels is {self.model_channels}, must be even")
        for width in self.sharpened:
            if not 0 < width <= MAX_SHARPENED:
                raise ValueError(
                    f"sharpened has {width!r}, widths of blurs lie above 0 and up to "
                    f"{MAX_SHARPENED} pixels"
                )
        for level in self.thresholded:
            if not 0 < level <= MAX_THRESHOLD:
                raise ValueError(
                    f"thresholded has {level!r}, thresholds lie above 0 and up to "
                    f"{MAX_THRESHOLD:g} deviations of the noise"
                )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout!r}, must be in [0, 1)")
        for name, choices in (("remat", REMAT_POLICIES), ("norm", NORMS), ("patch", PATCHES)):
            if (value := values[name]) not in choices or isinstance(value, bool):
                allowed = ", ".join(map(str, choices))
                raise ValueError(f"{name} is {value!r}, must be one of {allowed}")

    def _check_levels(self):
        if not self.channel_mult:
            raise ValueError("channel_mult is empty, must have one factor a level")
        allowed = [2**level for level in range(len(self.channel_mult))]
        for factor in self.attention_downsamples:
            if factor not in allowed:
                raise ValueError(
                    f"attention_downsamples has {factor!r}, with {len(allowed)} levels "
                    f"it can only hold {', '.join(map(str, allowed))}"
                )
        for level, channels in enumerate(self.level_channels):
            groups = self.groups or 1
            if channels < 1 or channels % groups:
                raise ValueError(
                    f"level {level} has {channels} channels (channel_mult "
                    f"{self.channel_mult[level]} * model_channels {self.model_channels}), "
                    f"must be a positive multiple of {'norm_groups ' * (groups > 1)}{groups}"
                )
            bottleneck = level == len(allowed) - 1 and self.middle_attention
            attends = bottleneck or 2**level in self.attention_downsamples
            if attends and channels % self.head_channels:
                raise ValueError(
                    f"level {level} has attention over {channels} channels, "
                    f"must be a multiple of head_channels {self.head_channels}"
                )

    @property
    def level_channels(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(int(factor * self.model_channels) for factor in self.channel_mult)

    @property
    def time_channels(self) -> int:
        """Channels of the time embedding that the residual blocks receive."""
        return 4 * self.model_channels

    @property
    def downsampling_factor(self) -> int:
        """Ratio of the finest to the coarsest resolution; image sides must be multiples of it."""
        return self.patch * 2 ** (len(self.channel_mult) - 1)

    @property
    def groups(self) -> int | None:
        """Groups of every normalisation; None where there is none."""
        return self.norm_groups if self.norm == "group" else None

    @property
    def has_attention(self) -> bool:
        """Whether some block lets every position see all others."""
        return self.middle_attention or bool(self.attention_downsamples)

    @property
    def receptive_radius(self) -> int | None:
        """Pixels on each side that an output pixel depends on; None where it depends on all.

        Every 3x3 convolution reaches one position of its level further. An output pixel lies
        anywhere in its position of the coarsest level, which the last term allows for.
        """
        if self.has_attention or self.norm != "none":
            return None
        by_filters = max(
            sharpen.RADIUS if self.sharpened else 0, threshold.RADIUS if self.thresholded else 0
        )
        return by_filters + sum(convolution_scales(self)) + self.downsampling_factor

    def check_size(self, height: int, width: int) -> None:
        """Raises a ValueError unless the network can take images of `height` x `width`.

        The message gives the nearest size that it can take.
        """
        factor = self.downsampling_factor
        right = [max(1, (side + factor // 2) // factor) * factor for side in (height, width)]
        if [height, width] != right:
            raise ValueError(
                f"image size is {height}x{width}, both sides must be multiples of {factor}; "
                f"the nearest right size is {right[0]}x{right[1]}"
            )


def _float_dtype(dtype) -> np.dtype:
    allowed = (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16))
    try:
        canonical = jnp.dtype(dtype)
    except TypeError:
        canonical = None
    if canonical not in allowed:
        raise ValueError(f"dtype is {dtype!r}, must be float32 or bfloat16")
    return canonical


def adm_256(**overrides) -> UNetConfig:
    """Returns ADM for 256x256 images, unconditional (arXiv 2105.05233, table 12).

    The network has 552,807,171 parameters.

    Args:
        **overrides: fields of UNetConfig to change, e.g. `in_channels=6` for a conditional network,
            or `channel_mult=(0.5, 1, 1, 2, 2, 4, 4), attention_downsamples=(16, 32, 64)` for the
            shape that ADM uses at 512x512.

    Returns:
        The configuration.

    Raises:
        TypeError: an override is not a field.
        ValueError: a value is out of range.
    """
    base = UNetConfig(
        model_channels=256,
        channel_mult=(1.0, 1.0, 2.0, 2.0, 4.0, 4.0),
        num_res_blocks=2,
        attention_downsamples=(8, 16, 32),
        head_channels=64,
    )
    return dataclasses.replace(base, **overrides)


class BlockSpec(NamedTuple):
    """One residual or attention block.

    Attributes:
        name: of the Flax submodule and of its parameters.
        kind: "residual" or "attention".
        in_channels: channels that it receives, the skip connection's included.
        out_channels: channels that it returns.
        resample: "keep", "down" (halves both sides) or "up" (doubles them); residual blocks only.
    """

    name: str
    kind: Literal["residual", "attention"]
    in_channels: int
    out_channels: int
    resample: Literal["keep", "down", "up"] = "keep"


class BlockPlan(NamedTuple):
    """All blocks in the order in which they run.

    Each of `down` and `up` is a sequence of stages, a stage being the blocks between two skip
    connections. The output of conv_in and of each stage of `down` is kept; each stage of `up`
    starts by concatenating the latest one not yet used.
    """

    down: tuple[tuple[BlockSpec, ...], ...]
    middle: tuple[BlockSpec, ...]
    up: tuple[tuple[BlockSpec, ...], ...]


def block_plan(config: UNetConfig) -> BlockPlan:
    """Returns the blocks of a U-Net.

    Names: `down_{level}_{i}` and `up_{level}_{i}` are residual blocks, with `_attention` appended
    the attention that follows; `down_{level}_resample` leads from a level to the next coarser one,
    `up_{level}_resample` to the next finer one; `mid_0`, `mid_attention`, `mid_1` lie between.
    Level 0 is the finest.

    Args:
        config: the network.

    Returns:
        The plan: len(down) + 1 == len(up).
    """
    levels = config.level_channels
    last = len(levels) - 1
    channels = levels[0]
    skips = [channels]

    def stage(name: str, received: int, returned: int, level: int) -> list[BlockSpec]:
        blocks = [BlockSpec(name, "residual", received, returned)]
        if 2**level in config.attention_downsamples:
            blocks.append(BlockSpec(f"{name}_attention", "attention", returned, returned))
        return blocks

    down = []
    for level, width in enumerate(levels):
        for i in range(config.num_res_blocks):
            down.append(tuple(stage(f"down_{level}_{i}", channels, width, level)))
            channels = width
            skips.append(channels)
        if level != last:
            name = f"down_{level}_resample"
            down.append((BlockSpec(name, "residual", channels, channels, "down"),))
            skips.append(channels)

    middle = [BlockSpec(f"mid_{i}", "residual", channels, channels) for i in range(2)]
    if config.middle_attention:
        middle.insert(1, BlockSpec("mid_attention", "attention", channels, channels))

    up = []
    for level in range(last, -1, -1):
        for i in range(config.num_res_blocks + 1):
            blocks = stage(f"up_{level}_{i}", channels + skips.pop(), levels[level], level)
            channels = levels[level]
            if level and i == config.num_res_blocks:
                name = f"up_{level}_resample"
                blocks.append(BlockSpec(name, "residual", channels, channels, "up"))
            up.append(tuple(blocks))
    return BlockPlan(tuple(down), tuple(middle), tuple(up))


def convolution_scales(config: UNetConfig) -> list[int]:
    """Returns how many pixels wide a position of each 3x3 convolution is, in the order they run."""
    plan, scale = block_plan(config), config.patch
    scales = [scale]
    for block in (b for stage in (*plan.down, plan.middle, *plan.up) for b in stage):
        if block.kind == "residual":
            # both convolutions of a block are behind its resampling
            scale = {"keep": scale, "down": 2 * scale, "up": scale // 2}[block.resample]
            scales += [scale, scale]
    return [*scales, scale]
