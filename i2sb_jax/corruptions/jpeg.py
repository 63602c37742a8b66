"""JPEG as an operator on floats: 4:2:0 colour, block DCT, quantisation, and all the way back.

The operator published with DDRM for JPEG (Kawar et al. 2022, "JPEG artifact correction using
denoising diffusion restoration models"), as I²SB (Liu et al. 2023) uses it. Unlike a codec it takes
chroma at every second pixel without averaging, and neither clips nor rounds its result, which
therefore leaves [-1, 1].
"""

import dataclasses
import math
from types import ModuleType

import numpy as np

from i2sb_jax.corruptions import constants
from i2sb_jax.corruptions.backend import Array, mix_channels
from i2sb_jax.corruptions.corruption import DeterministicCorruption
from i2sb_jax.jpeg_tables import CHROMINANCE_TABLE, LUMINANCE_TABLE


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Jpeg(DeterministicCorruption):
    """JPEG compression and decompression; image_size is a multiple of 16.

    The gradient is zero almost everywhere, since coefficients are rounded.

    Attributes:
      luminance_table, chrominance_table: quantisation steps, float32 [8, 8].
    """

    luminance_table: np.ndarray
    chrominance_table: np.ndarray

    def transform(self, xp, images):
        ycbcr = mix_channels(xp, constants.YCBCR_FROM_RGB, (images + 1) * 127.5)
        # +128 puts chroma into [0, 255], -128 centres every plane for the DCT: for chroma the two
        # cancel, on the way in as on the way out.
        luma = quantise(xp, ycbcr[..., 0] - 128, self.luminance_table) + 128
        blue = repeat2(xp, quantise(xp, ycbcr[:, ::2, ::2, 1], self.chrominance_table))
        red = repeat2(xp, quantise(xp, ycbcr[:, ::2, ::2, 2], self.chrominance_table))
        planes = xp.stack([luma, blue, red], axis=3)
        return mix_channels(xp, constants.RGB_FROM_YCBCR, planes) / 127.5 - 1


def quantise(xp: ModuleType, plane: Array, table: np.ndarray) -> Array:
    """Rounds the 8×8 DCT coefficients of a plane [batch, h, w] to multiples of a table [8, 8]."""
    height, width = plane.shape[1:]
    steps = xp.asarray(np.tile(table, (height // 8, width // 8))[None])
    return block_dct(xp, xp.round(block_dct(xp, plane) / steps) * steps, inverse=True)


def block_dct(xp: ModuleType, plane: Array, *, inverse: bool = False) -> Array:
    """The orthonormal DCT-II of each 8×8 block of a plane [batch, h, w], in its place, or back."""
    height, width = plane.shape[1:]
    # Matrices of 8×8 are too small to multiply fast, so up to eight blocks a side go through one of
    # 64×64 with the DCT on its diagonal.
    group = math.gcd(height // 8, width // 8, 8)
    side = 8 * group
    dct = np.kron(np.eye(group, dtype=np.float32), constants.DCT)
    dct = dct.T if inverse else dct
    along_rows = xp.matmul(xp.reshape(plane, (-1, side)), xp.asarray(dct.T))
    both = xp.matmul(xp.asarray(dct), xp.reshape(along_rows, (-1, side, width)))
    return xp.reshape(both, (-1, height, width))


def repeat2(xp: ModuleType, plane: Array) -> Array:
    """Repeats each pixel 2×2: [batch, h, w] to [batch, 2h, 2w]."""
    return xp.repeat(xp.repeat(plane, 2, axis=1), 2, axis=2)


def make_jpeg(name: str, image_size: int, quality: int) -> Jpeg:
    """JPEG at a quality in 1...100."""
    return Jpeg(
        name=name,
        image_size=image_size,
        quality_range=(quality, quality),
        luminance_table=constants.quantisation_table(LUMINANCE_TABLE, quality),
        chrominance_table=constants.quantisation_table(CHROMINANCE_TABLE, quality),
    )
