"""The corruptions of I²SB (Liu et al. 2023): one operator code for NumPy, JAX and tf.data.

    corruption = make_corruption("jpeg-10", image_size=256)
    degraded = corruption(key, images).image

| name | X_1 |
|---|---|
| `sr4x-pool`, `sr4x-bicubic` | down by 4, up again by nearest neighbour |
| `jpeg-Q` | the published model of JPEG at quality Q in 1...100 |
| `jpeg-file`, `jpeg-file-LO-HI` | real JPEG files, quality 5...95 or LO...HI, 4:4:4 or 4:2:0 |
| `blur-uni`, `blur-gauss` | the published blur, spectral slip included |
| `blur-uni-exact`, `blur-gauss-exact` | the plain filter behind it |
| `inpaint-center`, `inpaint-freeform1020`, `inpaint-freeform2030` | noise in a hole |
| `mixture` | one of nine of the above an image |
| `colorize` | grey + noise, conditioned on the grey image |
"""

from i2sb_jax.corruptions.corruption import Corrupted, Corruption, DeterministicCorruption
from i2sb_jax.corruptions.factory import corruption_names, make_corruption
from i2sb_jax.corruptions.facts import CorruptionFacts, corruption_facts
from i2sb_jax.corruptions.photographic import enlarge_smoothly

__all__ = [
    "Corrupted",
    "Corruption",
    "CorruptionFacts",
    "DeterministicCorruption",
    "corruption_facts",
    "corruption_names",
    "enlarge_smoothly",
    "make_corruption",
]
