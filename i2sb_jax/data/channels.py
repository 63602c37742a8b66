"""From the two sides of a pair to what the bridge works on.

A bridge joins arrays of one shape, so X_1 has the target's channels whatever the source has; what
is lost by that the network sees beside X_t, where `data.cond_x1` asks for it (I²SB section 5).
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from i2sb_jax.corruptions.backend import backend_of, mix_channels

Array = Any  # np.ndarray, jax.Array or tf.Tensor


def fit_channels(source: Array, channels: int) -> Array:
    """X_1 of so many channels, from a source of as many, of one, or of any other number.

    Args:
        source: float32 [batch, h, w, c].
        channels: of the target.

    Returns:
        [batch, h, w, channels]: the source itself, its one channel repeated, or the mean over its
        channels repeated.
    """
    have = source.shape[-1]
    if have == channels:
        return source
    mean = np.full((channels, have), 1 / have, np.float32)
    return mix_channels(backend_of(source), mean, source)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedDegradation:
    """Stands where a corruption would: X_1 comes with X_0 and is not computed from it.

    Attributes:
        target_channels: of X_0 and X_1.
        source_channels: of the files that X_1 is made of.
        has_cond: whether the network sees the whole source beside X_t.
        name: as a corruption's.
        quality_range: as a corruption's.
    """

    target_channels: int
    source_channels: int
    has_cond: bool
    name: ClassVar[str] = "pairs"
    quality_range: ClassVar[None] = None
    has_mask: ClassVar[bool] = False
    is_random: ClassVar[bool] = False

    @property
    def channels(self) -> int:
        """The channels of a pair as one array, the target's first: both are cut alike."""
        return self.target_channels + self.source_channels

    def split(self, pairs: Array) -> tuple[Array, Array]:
        """(target, source) of pairs [batch, h, w, channels]."""
        return pairs[..., : self.target_channels], pairs[..., self.target_channels :]

    def inputs(self, source: Array) -> tuple[Array, Array | None]:
        """X_1 [batch, h, w, target_channels] and the condition (the source) or None.

        Args:
            source: float32 [batch, h, w, source_channels], scaled to [-1, 1].
        """
        return fit_channels(source, self.target_channels), source if self.has_cond else None
