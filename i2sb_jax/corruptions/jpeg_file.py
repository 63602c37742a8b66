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

from i2sb_jax.corruptions.backend import Array
from i2sb_jax.corruptions.corruption import FILE_SETTINGS, Corrupted, Corruption
from i2sb_jax.corruptions.masks import pick
from i2sb_jax.corruptions.photographic import from_levels, round_levels, to_levels

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
        if index is not None:
            return Corrupted(self.show(xp, images, None, index))
        draws = xp.uniform(keys, FILE_SETTINGS, (2,))
        low, high = self.quality_range
        quality = low + pick(xp, draws[:, 0], high - low + 1)
        subsampling = choose_subsampling(xp, draws[:, 1])
        return Corrupted(self._code(xp, images, quality, subsampling))

    def show(self, xp, images, mask, index):
        del mask
        low, high = self.quality_range
        place = index % _CIRCLE * _TURN % _CIRCLE
        quality = low + place * (high - low + 1) // _CIRCLE
        return self._code(xp, images, quality, index % len(SUBSAMPLINGS))

    def _code(self, xp, images, quality, subsampling):
        shape = (self.image_size, self.image_size, 3)
        return xp.map_on_host(through_a_file, (images, quality, subsampling), shape)


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


def make_jpeg_file(name: str, image_size: int, low: int, high: int) -> JpegFile:
    """JPEG files of qualities `low` ... `high`."""
    return JpegFile(name=name, image_size=image_size, quality_range=(low, high))
