"""Colorization: the network is conditioned on the grey image, and the bridge starts at it + noise.

The `cond_x1` and `add_x1_noise` options of I²SB (Liu et al. 2023).
"""

import numpy as np

from i2sb_jax.corruptions.backend import mix_channels
from i2sb_jax.corruptions.corruption import ADDED_NOISE, Corrupted, Corruption

# ITU-R BT.601 luma, on each of the three channels.
GREY_FROM_RGB = np.tile(np.array([0.299, 0.587, 0.114], np.float32), (3, 1))


class Colorize(Corruption):
    """X_1 = grey + N(0, 1), cond = grey = 0.299 R + 0.587 G + 0.114 B on three channels."""

    has_cond = True
    is_random = True

    def corrupt(self, xp, keys, images, index):
        grey = self.show(xp, images, None, index)
        noise = xp.normal(keys, ADDED_NOISE, (self.image_size, self.image_size, 3))
        return Corrupted(grey + noise, cond=grey)

    def show(self, xp, images, mask, index):
        del mask, index
        return mix_channels(xp, GREY_FROM_RGB, images)


def make_colorize(name: str, image_size: int) -> Colorize:
    """Colour to grey."""
    return Colorize(name=name, image_size=image_size)
