"""The holes of inpainting: the centre, the paper's mask file, or brush strokes.

Masks are float32 [batch, size, size, 1], 1 = hole.
"""

import dataclasses
import zipfile
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from etils import epath

from i2sb_jax.corruptions import brush
from i2sb_jax.corruptions.backend import Array
from i2sb_jax.corruptions.corruption import MASK_CHOICE

FILE_SIDE = 256  # the paper's masks are 256×256


class Masks(Protocol):
    """A source of masks."""

    def choose(self, xp: ModuleType, keys: Any, images: Array, index: Array | None) -> Array:
        """Masks [batch, size, size, 1]: number `index`, or drawn with `keys` where it is None."""


@dataclasses.dataclass(frozen=True, eq=False)
class CenterMask:
    """Rows and columns n/4 ... 3n/4, for every image."""

    image_size: int

    def choose(self, xp, keys, images, index):
        del keys, index
        side = slice(self.image_size // 4, 3 * self.image_size // 4)
        mask = np.zeros((1, self.image_size, self.image_size, 1), np.float32)
        mask[:, side, side] = 1
        return xp.zeros_like(images[..., :1]) + xp.asarray(mask)


@dataclasses.dataclass(frozen=True, eq=False)
class FileMasks:
    """The masks of a file, kept packed (10,000 of them take 82 MB) and unpacked where chosen.

    Attributes:
      packed: uint8 [count, 256·256/8], eight pixels a byte, the first in the highest bit.
    """

    packed: np.ndarray

    def choose(self, xp, keys, images, index):
        del images
        count = len(self.packed)
        if index is None:
            index = pick(xp, xp.uniform(keys, MASK_CHOICE, ()), count)
        rows = xp.cast(xp.take(self.packed, index % count), "int32")
        place = xp.asarray(2 ** np.arange(7, -1, -1, dtype=np.int32).reshape(1, 1, 8))
        bits = (xp.reshape(rows, (-1, self.packed.shape[1], 1)) // place) % 2
        return xp.cast(xp.reshape(bits, (-1, FILE_SIDE, FILE_SIDE, 1)), "float32")


@dataclasses.dataclass(frozen=True, eq=False)
class StrokeMasks:
    """Generated brush strokes; each mask covers between `low` and `high` of its image.

    An index picks a row of one fixed table, so evaluation sees the same masks on every backend.
    """

    image_size: int
    low: float
    high: float

    def choose(self, xp, keys, images, index):
        del images
        if index is None:
            strokes = brush.strokes_from_uniforms(
                xp, xp.uniform(keys, MASK_CHOICE, (brush.UNIFORMS,))
            )
        else:
            table = brush.evaluation_strokes()
            rows = index % len(table.area)
            strokes = brush.Strokes(*(xp.take(part, rows) for part in table))
        return brush.paint(xp, strokes, self.image_size, self.low, self.high)


def pick(xp: ModuleType, uniform: Array, count: int) -> Array:
    """Turns numbers in [0, 1) into int32 numbers 0 ... count - 1."""
    # float32 may round a product up to `count` itself
    return xp.minimum(xp.cast(xp.floor(uniform * count), "int32"), count - 1)


def read_mask_file(path: Any, key: str) -> FileMasks:
    """Reads one set of the paper's masks.

    Args:
      path: an .npz file, local or gs://.
      key: "10-20% freeform" or "20-30% freeform". The array holds 256×256 masks one after another,
        bits packed over the whole array.

    Raises:
      ValueError: the file is missing, is no .npz, or does not hold such masks under that key.
    """
    path = epath.Path(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = list(arrays)
            packed = arrays[key] if key in names else None
    except FileNotFoundError:
        raise ValueError(f"mask_file {path} does not exist") from None
    except (OSError, EOFError, AttributeError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"mask_file {path} is not a readable .npz file: {error}") from None
    if packed is None:
        raise ValueError(f"mask_file {path} has no array {key!r}, only {names}")
    row = FILE_SIDE * FILE_SIDE // 8
    count = packed.size // row
    if packed.dtype != np.uint8 or count == 0:
        raise ValueError(
            f"mask_file {path}: {key!r} should be packed bits (uint8, {row} bytes a mask), "
            f"got {packed.dtype} {list(packed.shape)}"
        )
    return FileMasks(packed.reshape(-1)[: count * row].reshape(count, row))
