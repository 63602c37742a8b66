"""The corruptions of I²SB (Liu et al. 2023), and those of photographs as people have them.

One operator code for NumPy, JAX and tf.data:

    corruption = make_corruption("jpeg-10", image_size=256)
    degraded = corruption(key, images).image

| name | X_1 |
|---|---|
| `sr4x-pool`, `sr4x-bicubic` | down by 4, up again by nearest neighbour |
| `jpeg-Q` | the published model of JPEG at quality Q in 1...100 |
| `blur-uni`, `blur-gauss` | the published blur, spectral slip included |
| `blur-uni-exact`, `blur-gauss-exact` | the plain filter behind it |
| `inpaint-center`, `inpaint-freeform1020`, `inpaint-freeform2030` | noise in a hole |
| `mixture` | one of nine of the above an image |
| `colorize` | grey + noise, conditioned on the grey image |

and photographic ones, whose parameters are drawn for each picture from the range in the name (the
name alone stands for the range given here):

| name | X_1 |
|---|---|
| `jpeg-file-LO-HI` (5-95) | real JPEG files of quality LO...HI, 4:4:4, 4:2:2 or 4:2:0 |
| `jpeg-told-LO-HI` (5-95) | the same, and the network is told how each file was made |
| `blur-photo-LO-HI` (0-3) | out of focus by σ = LO...HI pixels, a little noise, 8 bits |
| `noise-LO-HI` (0-50) | noise of standard deviation LO...HI 8-bit levels, rounded and clipped |
| `noise-float-LO-HI` (0-50) | the same, neither rounded nor clipped |
| `sr2x-photo`, `sr4x-photo` | reduced by some kernel, perhaps JPEG, enlarged smoothly |
| `real` | blur, resizing, noise and JPEG, twice |

`corruption_facts` tells what is known of a name without building anything; `measure` what X_1 says
for certain of the clean picture (`consistency`).
"""

from i2sb_jax.corruptions.consistency import measure
from i2sb_jax.corruptions.corruption import Corrupted, Corruption, DeterministicCorruption
from i2sb_jax.corruptions.factory import make_corruption
from i2sb_jax.corruptions.facts import CorruptionFacts, corruption_facts
from i2sb_jax.corruptions.names import corruption_names
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
    "measure",
]
