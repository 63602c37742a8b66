"""Examples: squares of pictures, and how they are degraded."""

import dataclasses
import functools
from collections.abc import Callable

from i2sb_jax.config import DataConfig
from i2sb_jax.corruptions import Corrupted
from i2sb_jax.data.channels import PairedDegradation
from i2sb_jax.data.windows import WindowCorruption, window_corruption


@dataclasses.dataclass(frozen=True)
class Examples:
    """The way from a picture to an example of a task.

    Attributes:
        corruption: called with seeds [batch, 2] and, in evaluation, index [batch]; of pairs what
            tells their sides apart.
        config: how to reduce, cut and grain, and how many pictures may be unreadable.
        image_size: side of the squares.
    """

    corruption: Callable[..., Corrupted] | PairedDegradation
    config: DataConfig
    image_size: int

    @functools.cached_property
    def windows(self) -> WindowCorruption:
        """The corruption of squares with the margin that it needs."""
        return window_corruption(self.corruption, image_size=self.image_size, crop=self.config.crop)

    @property
    def channels(self) -> int | None:
        """Channels of both sides of a pair together; None of pictures, which are RGB."""
        pairs = isinstance(self.corruption, PairedDegradation)
        return self.corruption.channels if pairs else None


@dataclasses.dataclass(frozen=True)
class Share:
    """The rows of every batch that are this process's.

    Attributes:
        batch_size: of all processes together.
        process_index: of this process.
        process_count: number of processes.

    Raises:
        ValueError: the processes cannot share a batch.
    """

    batch_size: int
    process_index: int = 0
    process_count: int = 1

    def __post_init__(self):
        if self.batch_size < 1 or self.batch_size % self.process_count:
            raise ValueError(
                f"batch_size={self.batch_size} must be a positive multiple of the "
                f"{self.process_count} processes"
            )
        if not 0 <= self.process_index < self.process_count:
            raise ValueError(
                f"process_index={self.process_index} must lie in 0…{self.process_count - 1}"
            )

    @property
    def rows(self) -> int:
        """The number of them."""
        return self.batch_size // self.process_count
