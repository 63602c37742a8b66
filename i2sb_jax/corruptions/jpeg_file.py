"""JPEG as cameras and web sites write it: through a real encoder and back.

`jpeg-Q` is the published operator, and no codec: it never rounds or clips, takes every second
chroma pixel without averaging, and knows one quality. A network trained on it sees files whose
artefacts it has never met. Here each image is written by libjpeg-turbo (Pillow) and read again, so
pixels are whole 8-bit levels, chroma is averaged on the way in and interpolated on the way out, and
quality and chroma subsampling vary as they do in the wild.

Coding runs on the host on every backend: in JAX by `jax.pure_callback`, in tf.data by a NumPy
function, whose coding (but not the rest) lets other Python threads run. So all backends give the
same pixels where they are told the same index.
"""

import io
from types import ModuleType

import numpy as np
from PIL import Image

from i2sb_jax.corruptions import numpy_backend
from i2sb_jax.corruptions.backend import Array
from i2sb_jax.corruptions.corruption import FILE_SETTINGS, Corrupted, Corruption
from i2sb_jax.corruptions.masks import pick
from i2sb_jax.corruptions.photographic import from_levels, round_levels, to_levels
from i2sb_jax.jpeg_tables import CHROMINANCE_TABLE, LUMINANCE_TABLE, standard_table

# What Pillow calls 4:4:4 (chroma at every pixel), 4:2:2 (at every second column) and 4:2:0 (at
# every second row and column), and how many of 100 files have it: those of 68 JPEGs that Debian's
# wallpaper packages carry.
SUBSAMPLINGS = (0, 1, 2)
_SHARES = (29, 31, 38)

# Multiples of the golden ratio, in whole numbers so that all backends agree: consecutive indices
# fall into the largest gaps that their predecessors left.
_TURN, _CIRCLE = 20253, 2**15


class JpegFile(Corruption):
    """JPEG at a quality within `quality_range`, both ends included, at 4:4:4, 4:2:2 or 4:2:0.

    Both are drawn for each image, the quality uniformly and the subsampling as often as files have
    it. An index decides them without randomness: indices go round 4:4:4, 4:2:2 and 4:2:0, and any
    ten in a row, or any ten of one subsampling, through the whole range of qualities. There is no
    gradient.
    """

    is_random = True

    def corrupt(self, xp, keys, images, index):
        settings = self._settings(xp, keys, index)
        return Corrupted(self._code(xp, images, *settings))

    def show(self, xp, images, mask, index):
        del mask
        return self._code(xp, images, *self._settings(xp, None, index))

    def _settings(self, xp, keys, index):
        """Quality and place in SUBSAMPLINGS of each image, int32 [batch]."""
        low, high = self.quality_range
        if index is not None:
            place = index % _CIRCLE * _TURN % _CIRCLE
            return low + place * (high - low + 1) // _CIRCLE, index % len(SUBSAMPLINGS)
        draws = xp.uniform(keys, FILE_SETTINGS, (2,))
        quality = low + pick(xp, draws[:, 0], high - low + 1)
        return quality, choose_subsampling(xp, draws[:, 1])

    def _code(self, xp, images, quality, subsampling):
        shape = (self.image_size, self.image_size, 3)
        return xp.map_on_host(through_a_file, (images, quality, subsampling), shape)


class ToldJpegFile(JpegFile):
    """The same, and the network is told how the file was made: what a JPEG's header says.

    The condition are `file_settings`, the same at every pixel.
    """

    has_cond = True

    def corrupt(self, xp, keys, images, index):
        settings = quality, subsampling = self._settings(xp, keys, index)
        numbers = xp.concat(
            [xp.take(_STEPS, quality), xp.take(_HALVED, subsampling)], axis=1
        )  # [batch, 4]
        flat = xp.reshape(numbers, (-1, 1, 1, numbers.shape[1]))
        cond = flat + xp.zeros_like(images[..., :1])
        return Corrupted(self._code(xp, images, *settings), cond=cond)


def file_settings(
    luma_table: np.ndarray, chroma_table: np.ndarray | None, subsampling: str
) -> np.ndarray:
    """Returns the channels that tell a network how a JPEG file was made.

    Args:
      luma_table: quantisation steps [8, 8], 1 ... 255.
      chroma_table: the same; None where there is no chroma.
      subsampling: as "4:2:0"; others than 4:2:2, 4:2:0 and 4:4:0 count as 4:4:4.

    Returns:
      float32 [4]: log₂ of the mean step of luma and of chroma, 1 ... 256 as -1 ... 1; whether
      chroma is halved across, and down, as -1 (no) or 1.
    """
    tables = luma_table, luma_table if chroma_table is None else chroma_table
    steps = [np.log2(np.mean(table)) / 4 - 1 for table in tables]
    across, down = subsampling in ("4:2:2", "4:2:0"), subsampling in ("4:2:0", "4:4:0")
    return np.float32([*steps, 2 * across - 1, 2 * down - 1])


def standard_settings(quality: int, subsampling: str) -> np.ndarray:
    """`file_settings` of the usual tables at a quality in 1...100."""
    tables = (standard_table(table, quality) for table in (LUMINANCE_TABLE, CHROMINANCE_TABLE))
    return file_settings(*tables, subsampling)


_STEPS = np.stack([standard_settings(max(1, quality), "4:4:4")[:2] for quality in range(101)])
_HALVED = np.stack([standard_settings(50, name)[2:] for name in ("4:4:4", "4:2:2", "4:2:0")])


def choose_subsampling(xp: ModuleType, uniform: Array) -> Array:
    """Turns numbers in [0, 1) into int32 places in SUBSAMPLINGS, as often as files have them."""
    first, second = np.cumsum(_SHARES)[:2] / np.sum(_SHARES)
    later = xp.cast(uniform >= float(first), "int32")
    return later + xp.cast(uniform >= float(second), "int32")


def through_a_file(image: np.ndarray, quality: int, subsampling: int) -> np.ndarray:
    """Writes and reads one image, float32 [h, w, 3] in [-1, 1], as a place in SUBSAMPLINGS says."""
    return from_levels(code_jpeg(round_levels(to_levels(image)), quality, subsampling))


def code_jpeg(levels: np.ndarray, quality: int, subsampling: int) -> np.ndarray:
    """The pixels of a JPEG file of pixels, uint8 [h, w, 3]."""
    file = io.BytesIO()
    Image.fromarray(levels).save(
        file, "JPEG", quality=int(quality), subsampling=SUBSAMPLINGS[int(subsampling)]
    )
    with Image.open(file, formats=("JPEG",)) as decoded:
        return np.asarray(decoded)


def code_as_drawn(
    levels: np.ndarray, qualities: tuple[int, int], quality: float, subsampling: float
) -> np.ndarray:
    """`code_jpeg` by two numbers in [0, 1): the place in a range of qualities, and a subsampling.

    Both ends of the range are included, and subsamplings are as often as files have them.
    """
    low, high = qualities
    chosen = low + int(quality * (high - low + 1))
    return code_jpeg(levels, chosen, choose_subsampling(numpy_backend, subsampling))


def make_jpeg_file(
    name: str, image_size: int, low: int, high: int, *, is_told: bool = False
) -> JpegFile:
    """JPEG files of qualities `low` ... `high`; `told`: and how they were made."""
    return (ToldJpegFile if is_told else JpegFile)(
        name=name, image_size=image_size, quality_range=(low, high)
    )
