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

import numpy as np
from PIL import Image

from i2sb_jax.corruptions.corruption import FILE_SETTINGS, Corrupted, Corruption
from i2sb_jax.corruptions.masks import pick

# What Pillow calls 4:4:4 (chroma at every pixel) and 4:2:0 (at every second row and column).
_SUBSAMPLINGS = (0, 2)

# Multiples of the golden ratio, in whole numbers so that all backends agree: consecutive indices
# fall into the largest gaps that their predecessors left.
_TURN, _CIRCLE = 20253, 2**15


class JpegFile(Corruption):
    """JPEG at a quality within `quality_range`, both ends included, at 4:4:4 or 4:2:0.

    Both are drawn for each image, uniformly. An index decides them without randomness: even ones
    are 4:4:4, odd ones 4:2:0, and any ten in a row go through the whole range of qualities. There
    is no gradient.
    """

    is_random = True

    def corrupt(self, xp, keys, images, index):
        if index is not None:
            return Corrupted(self.show(xp, images, None, index))
        draws = xp.uniform(keys, FILE_SETTINGS, (2,))
        low, high = self.quality_range
        quality = low + pick(xp, draws[:, 0], high - low + 1)
        return Corrupted(self._code(xp, images, quality, pick(xp, draws[:, 1], 2)))

    def show(self, xp, images, mask, index):
        del mask
        low, high = self.quality_range
        place = index % _CIRCLE * _TURN % _CIRCLE
        quality = low + place * (high - low + 1) // _CIRCLE
        return self._code(xp, images, quality, index % 2)

    def _code(self, xp, images, quality, subsampling):
        shape = (self.image_size, self.image_size, 3)
        return xp.map_on_host(_through_a_file, (images, quality, subsampling), shape)


def _through_a_file(image: np.ndarray, quality: np.ndarray, subsampling: np.ndarray) -> np.ndarray:
    """Writes and reads one image, float32 [h, w, 3] in [-1, 1]."""
    levels = np.clip(np.rint((image + 1) * 127.5), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(levels).save(
        file, "JPEG", quality=int(quality), subsampling=_SUBSAMPLINGS[int(subsampling)]
    )
    with Image.open(file, formats=("JPEG",)) as decoded:
        return np.asarray(decoded).astype(np.float32) / np.float32(127.5) - np.float32(1)


def make_jpeg_file(name: str, image_size: int, low: int, high: int) -> JpegFile:
    """JPEG files of qualities `low` ... `high`."""
    return JpegFile(name=name, image_size=image_size, quality_range=(low, high))
