"""The interface of every corruption: clean images X_0 in, degraded images X_1 out."""

import abc
import dataclasses
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

from i2sb_jax.corruptions.backend import Array, backend_of
from i2sb_jax.corruptions.facts import CorruptionFacts, corruption_facts

# Each kind of draw has its own stream, so no two draws ever share a key.
HOLE_NOISE, MASK_CHOICE, MEMBER_CHOICE, ADDED_NOISE, FILE_SETTINGS, PARAMETERS, GRAIN = range(7)


class Corrupted(NamedTuple):
    """One corrupted batch.

    Attributes:
      image: X_1 as the bridge uses it, float32 [batch, h, w, c]; holes are filled with noise.
      mask: float32 [batch, h, w, 1], 1 = hole; None where the loss knows no mask.
      cond: X_1 before noise was added to it, float32 [batch, h, w, c]; None where the network
        is not conditioned.
    """

    image: Array
    mask: Array | None = None
    cond: Array | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Corruption(abc.ABC):
    """A corruption of square float32 images [batch, image_size, image_size, 3] in [-1, 1].

    Images may be NumPy arrays, JAX arrays or TensorFlow tensors; results are of the same type.

    Attributes:
      name: the name it was made under.
      image_size: height and width in pixels.
      has_mask: whether `Corrupted.mask` is not None.
      has_cond: whether `Corrupted.cond` is not None.
      is_random: whether a call needs a key.
      quality_range: the lowest and the highest JPEG quality that it makes; None where it makes no
        JPEG.
    """

    name: str
    image_size: int
    quality_range: tuple[int, int] | None = None
    has_mask: ClassVar[bool] = False
    has_cond: ClassVar[bool] = False
    is_random: ClassVar[bool] = False

    @property
    def facts(self) -> CorruptionFacts:
        """The facts that its name alone tells."""
        return corruption_facts(self.name)

    def __call__(self, key: Any, images: Array, *, index: Array | None = None) -> Corrupted:
        """Corrupts a batch.

        Args:
          key: a jax key for the batch, TensorFlow stateless seeds int [batch, 2] (one an image,
            whose result depends on nothing else in the batch), or a NumPy Generator. Corruptions
            without randomness ignore it.
          images: float32 [batch, image_size, image_size, 3] in [-1, 1].
          index: int [batch], the numbers of the images in their data set: picks mask `i` and
            member `i mod 9` (evaluation). None draws them (training).

        Returns:
          The corrupted batch, of the same array type.

        Raises:
          ValueError: images or key are of the wrong type or shape.
        """
        xp = self._backend(images)
        if not self.is_random:
            keys = None
        elif key is None:
            raise ValueError(f"{self.name} is random: pass a key")
        else:
            keys = xp.image_keys(key, images)
        if index is not None:
            index = xp.cast(index, "int32")
        return self.corrupt(xp, keys, images, index)

    def degrade(
        self, images: Array, mask: Array | None = None, *, index: Array | None = None
    ) -> Array:
        """Shows what a person would see: nothing random, and holes in white (1.0).

        Args:
          images: float32 [batch, image_size, image_size, 3] in [-1, 1].
          mask: [batch or 1, h, w, 1], 1 = hole; None takes the masks that `index` picks. Only for
            corruptions with a mask.
          index: int [batch], as in a call; None counts the images of the batch.

        Returns:
          The degraded images, of the same type and shape.

        Raises:
          ValueError: images are of the wrong type or shape, or a mask has no meaning here.
        """
        xp = self._backend(images)
        if mask is not None and not self.has_mask:
            raise ValueError(f"{self.name} has no mask: leave it None")
        index = xp.batch_positions(images) if index is None else xp.cast(index, "int32")
        return self.show(xp, images, mask, index)

    @abc.abstractmethod
    def corrupt(self, xp: ModuleType, keys: Any, images: Array, index: Array | None) -> Corrupted:
        """The call, with the backend found and the key split into one an image."""

    @abc.abstractmethod
    def show(self, xp: ModuleType, images: Array, mask: Array | None, index: Array) -> Array:
        """`degrade`, with the backend found and the index filled in."""

    def _backend(self, images: Array) -> ModuleType:
        xp = backend_of(images)
        size = self.image_size
        dims = tuple(images.shape)
        if images.dtype != "float32" or len(dims) != 4 or dims[1:] != (size, size, 3):
            raise ValueError(
                f"{self.name} takes float32 images [batch, {size}, {size}, 3] in [-1, 1], "
                f"got {images.dtype} {list(dims)}"
            )
        return xp


class DeterministicCorruption(Corruption):
    """A corruption without randomness, mask or condition: X_1 is the degraded image itself."""

    def corrupt(self, xp, keys, images, index):
        """The degraded images, without mask or condition."""
        del keys, index
        return Corrupted(self.transform(xp, images))

    def show(self, xp, images, mask, index):
        """The same, for there is nothing random to leave out."""
        del mask, index
        return self.transform(xp, images)

    @abc.abstractmethod
    def transform(self, xp: ModuleType, images: Array) -> Array:
        """The degraded images, float32 [batch, h, w, 3]."""
