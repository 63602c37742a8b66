"""One network for nine corruptions: each image meets one of them."""

import dataclasses

from i2sb_jax.corruptions.corruption import MEMBER_CHOICE, Corrupted, Corruption
from i2sb_jax.corruptions.masks import pick

MIXTURE_NAMES = (
    "jpeg-5",
    "jpeg-10",
    "blur-uni",
    "blur-gauss",
    "sr4x-pool",
    "sr4x-bicubic",
    "inpaint-center",
    "inpaint-freeform1020",
    "inpaint-freeform2030",
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixture(Corruption):
    """Applies one member to each image: drawn in training, number `index mod 9` in evaluation.

    The loss knows no mask, though the holes of the inpainting members are filled with noise. Only
    the chosen member is computed (under `vmap` over single images JAX computes all of them).

    Attributes:
      members: the corruptions, in the order of MIXTURE_NAMES.
    """

    members: tuple[Corruption, ...]
    is_random = True

    def corrupt(self, xp, keys, images, index):
        if index is None:
            choice = pick(xp, xp.uniform(keys, MEMBER_CHOICE, ()), len(self.members))
        else:
            choice = index % len(self.members)

        def one(choice, key, image, number):
            number = None if index is None else number[None]
            return xp.switch(
                choice,
                [
                    lambda member=member: member.corrupt(xp, key[None], image[None], number).image[
                        0
                    ]
                    for member in self.members
                ],
            )

        numbers = choice if index is None else index  # map_images takes arrays only
        shape = (self.image_size, self.image_size, 3)
        return Corrupted(xp.map_images(one, (choice, keys, images, numbers), shape))

    def show(self, xp, images, mask, index):
        del mask

        def one(image, number):
            return xp.switch(
                number % len(self.members),
                [
                    lambda member=member: member.show(xp, image[None], None, number[None])[0]
                    for member in self.members
                ],
            )

        return xp.map_images(one, (images, index), (self.image_size, self.image_size, 3))


def make_mixture(name: str, image_size: int, members: tuple[Corruption, ...]) -> Mixture:
    """The mixture of `members`."""
    qualities = [quality for member in members for quality in member.quality_range or ()]
    return Mixture(
        name=name,
        image_size=image_size,
        quality_range=(min(qualities), max(qualities)) if qualities else None,
        members=members,
    )
