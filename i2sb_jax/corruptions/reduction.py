"""Small pictures as people have them: reduced by some program, perhaps saved as JPEG.

    X_1 = enlarge(file(reduce(X_0)))

| step | what is drawn |
|---|---|
| reduce | box, bilinear, bicubic or Lanczos, each as often; Pillow's on 8-bit pixels, antialiased |
| file | PNG, or for half of the pictures JPEG of quality 60...95, subsampling as files have it |
| enlarge | nothing: `enlarge_smoothly`, as a person's small picture is enlarged |

The published operators know the pool or the bicubic kernel, neither round nor compress, and show
X_1 in blocks.
"""

import dataclasses

import numpy as np
from PIL import Image

from i2sb_jax.corruptions.facts import corruption_facts
from i2sb_jax.corruptions.jpeg_file import code_as_drawn
from i2sb_jax.corruptions.photographic import (
    Photographic,
    enlarge_smoothly,
    from_levels,
    round_levels,
    to_levels,
)

KERNELS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)
JPEG_SHARE = 0.5
QUALITIES = (60, 95)  # below, people would complain of the JPEG rather than of the size


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PhotoReduction(Photographic):
    """Reduces by a whole factor and enlarges again. There is no gradient.

    Attributes:
      factor: of each side; divides image_size.
    """

    factor: int
    num_draws = 4

    def degrade_picture(self, image, draws, noise=None):
        del noise
        return enlarge_smoothly(from_levels(self.small_picture(image, draws)), self.factor)

    def small_picture(self, image: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Returns the small picture that a person has: uint8 [h / factor, w / factor, 3]."""
        quality, kernel, is_jpeg, subsampling = np.asarray(draws, np.float64)
        height, width = image.shape[:2]
        size = (width // self.factor, height // self.factor)
        large = Image.fromarray(round_levels(to_levels(image)))
        small = np.asarray(large.resize(size, KERNELS[int(kernel * len(KERNELS))]))
        if is_jpeg >= JPEG_SHARE:
            return small
        return code_as_drawn(small, QUALITIES, quality, subsampling)


def make_photo_reduction(name: str, image_size: int) -> PhotoReduction:
    """Reduction by the factor in the name."""
    factor = corruption_facts(name).enlargement
    return PhotoReduction(name=name, image_size=image_size, factor=factor)
