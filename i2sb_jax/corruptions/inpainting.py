"""Inpainting: X_1 is clean outside the hole and N(0, 1) in it (I²SB, Liu et al. 2023)."""

import dataclasses

from i2sb_jax.corruptions.corruption import HOLE_NOISE, Corrupted, Corruption
from i2sb_jax.corruptions.masks import Masks


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Inpainting(Corruption):
    """Fills a hole with noise and says where it is.

    Attributes:
      masks: where the holes come from.
    """

    masks: Masks
    has_mask = True
    is_random = True

    def corrupt(self, xp, keys, images, index):
        mask = self.masks.choose(xp, keys, images, index)
        noise = xp.normal(keys, HOLE_NOISE, (self.image_size, self.image_size, 3))
        return Corrupted(xp.where(mask > 0.5, noise, images), mask=mask)

    def show(self, xp, images, mask, index):
        if mask is None:
            mask = self.masks.choose(xp, None, images, index)
        mask = xp.cast(mask, "float32")
        return images * (1 - mask) + mask


def make_inpainting(name: str, image_size: int, masks: Masks) -> Inpainting:
    """Inpainting of the holes of `masks`."""
    return Inpainting(name=name, image_size=image_size, masks=masks)
