"""The receptive field of a network without attention and statistics."""

import math

import numpy as np

from i2sb_jax.models.architecture import UNetConfig, convolution_scales
from i2sb_jax.models.sharpen import RADIUS, wiener_kernel
from i2sb_jax.models.threshold import BLOCK

# Standard deviations that matter. With two, windows of the models `jpeg` and `denoise` agree to one
# level where they meet, those of `sr4x` but for single pixels.
_SPREADS = 2
# Which of its filters suits a picture a network asks all that it sees. With two, windows of the
# model `deblur` differ by 8 levels where they meet (4429 of 512² x 3 values by more than one); with
# three by 5; with four by one. The quickstart's, trained for minutes, would do with two.
_SPREADS_OF_FILTERS = 4


def receptive_spread(config: UNetConfig) -> float:
    """Returns the standard deviation, along an axis, of what an output pixel depends on.

    The gradient of an output of many convolutions by their input falls off as a Gaussian does, and
    the variance of that is the sum of theirs (Luo et al. 2016, arXiv 1701.04128),

        Σ s² (k² - 1) / 12                                                                    (1)

    over kernels, and squares that are averaged, repeated or made channels, of k positions, each s
    pixels wide; of the filters of `sharpen` it is that of their absolute values, of the blocks of
    `threshold` that of two in turn, from pixels to cosines and back. It is that of random weights;
    what is learnt was measured to be narrower.

    Args:
        config: of a network whose `receptive_radius` is not None.

    Returns:
        Pixels.
    """
    finer = [config.patch * 2**level for level in range(len(config.channel_mult) - 1)]
    variance = 2 * _variance(config.patch, 1)  # into patches and out of them
    variance += sum(_variance(3, scale) for scale in convolution_scales(config))
    variance += 2 * sum(_variance(2, scale) for scale in finer)  # halved and doubled
    by_filters = max(map(_filter_variance, config.sharpened), default=0.0)
    by_blocks = 2 * _variance(BLOCK, 1) if config.thresholded else 0.0
    variance += max(by_filters, by_blocks)  # side by side
    return math.sqrt(variance)


def telling_radius(config: UNetConfig) -> int | None:
    """Returns how many pixels on each side matter to an output pixel.

    Two standard deviations of Eq. 1, four where it chooses among filters, and no more than it
    depends on at all.

    Args:
        config: of the network.

    Returns:
        Pixels; None where every pixel matters, by attention or statistics.
    """
    if config.receptive_radius is None:
        return None
    spreads = _SPREADS_OF_FILTERS if config.sharpened else _SPREADS
    return min(config.receptive_radius, math.ceil(spreads * receptive_spread(config)))


def _filter_variance(width: float) -> float:
    by_row = np.abs(wiener_kernel(width)).sum(axis=1)
    return float(by_row @ np.arange(-RADIUS, RADIUS + 1) ** 2 / by_row.sum())


def _variance(size: int, scale: int) -> float:
    return scale**2 * (size**2 - 1) / 12
