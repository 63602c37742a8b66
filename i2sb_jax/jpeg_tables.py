"""The quantisation tables of ITU-T T.81, Annex K, and what the usual encoders make of them."""

import numpy as np

LUMINANCE_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
CHROMINANCE_TABLE = np.array(
    [
        [17, 18, 24, 47, 99, 99, 99, 99],
        [18, 21, 26, 66, 99, 99, 99, 99],
        [24, 26, 56, 99, 99, 99, 99, 99],
        [47, 66, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
        [99, 99, 99, 99, 99, 99, 99, 99],
    ]
)


def standard_table(table: np.ndarray, quality: int, *, limit: int = 255) -> np.ndarray:
    """An Annex K table [8, 8] at a quality 1...100 as the Independent JPEG Group's encoder has it.

    scale = 5000 // quality below 50, else 200 - 2 quality; the published operator of I²SB
    (`quantisation_table` of the corruptions) does not round it down, and so is up to two coarser
    below 50. `limit`: 255, or 32767 beyond baseline.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((scale * table + 50) // 100, 1, limit)
