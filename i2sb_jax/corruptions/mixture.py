"""One network for nine corruptions: each image meets one of them."""

import dataclasses

from i2sb_jax.corruptions.corruption import MEMBER_CHOICE, Corrupted, Corruption
from i2sb_jax.corruptions.masks import pick


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Mixture(Corruption):
    """Applies one member to each image: drawn in training, number `index mod 9` in evaluation.

    The loss knows no mask, though the holes of the inpainting members are filled with noise. Only
    the chosen member is computed (under `vmap` over single images JAX computes all of them).

    Attributes:
      members: the corruptions, in the order of `names.MIXTURE_NAMES`.
    """

    members: tuple[Corruption, ...]
    is_random = True

    def corrupt(self, xp, keys, images, index):
        if index is None:
            choice = pick(xp, xp.uniform(keys, MEMBER_CHOICE, ()), len(self.members))
        else:
            choice = index % len(self.members)

        def branch(member):
            return lambda keys, images, *index: (
                member.corrupt(xp, keys, images, index[0] if index else None).image
            )

        numbers = () if index is None else (index,)
        return Corrupted(self._by_member(xp, branch, choice, (keys, images, *numbers)))

    def show(self, xp, images, mask, index):
        del mask

        def branch(member):
            return lambda images, index: member.show(xp, images, None, index)

        return self._by_member(xp, branch, index % len(self.members), (images, index))

    def _by_member(self, xp, branch, choice, elements):
        shape = (self.image_size, self.image_size, 3)
        branches = [branch(member) for member in self.members]
        return xp.switch_images(choice, branches, elements, shape)


def make_mixture(name: str, image_size: int, members: tuple[Corruption, ...]) -> Mixture:
    """The mixture of `members`."""
    qualities = [quality for member in members for quality in member.quality_range or ()]
    return Mixture(
        name=name,
        image_size=image_size,
        quality_range=(min(qualities), max(qualities)) if qualities else None,
        members=members,
    )
