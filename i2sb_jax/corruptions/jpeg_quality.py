"""The quality that a picture was once saved at, from its pixels alone.

A JPEG file keeps whole multiples of a table of steps, so the cosines c of its 8×8 blocks of luma
lie on a lattice, blurred by the rounding of pixels. Of tables T_q, one for each quality q of the
Independent JPEG Group,

    log p(c | q) = Σ_i log T_qi - min((c_i - T_qi · round(c_i / T_qi))² / 2 s², limit) + const  (1)

where a coarse lattice, whose points carry more each, is preferred as far as it fits.
"""

import numpy as np
import scipy.fft

from i2sb_jax.jpeg_tables import LUMINANCE_TABLE, standard_table

_SPREAD = 0.4  # s, in 8-bit levels: of a cosine after rounding to whole Y, Cb, Cr and R, G, B
_LIMIT = 8.0  # of what one cosine may say against a table
_LEAST = 1.5  # levels; smaller cosines lie on every lattice
_MOST = 20_000  # cosines that are looked at
_WEIGHTS = np.array([0.299, 0.587, 0.114])


def estimate_quality(picture: np.ndarray) -> int | None:
    """The JPEG quality that makes (1) largest.

    Args:
        picture: [h, w, 1 or 3] in [-1, 1], of whole 8-bit levels; blocks begin in its corner.

    Returns:
        1...100; 100, too, if it was none. None for a picture without structure.
    """
    levels = (np.asarray(picture, np.float64) + 1) * 127.5
    luma = levels @ _WEIGHTS if levels.shape[-1] == 3 else levels[..., 0]
    rows, columns = (side // 8 for side in luma.shape)
    blocks = luma[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8)
    waves = scipy.fft.dctn(blocks, axes=(1, 3), norm="ortho").swapaxes(1, 2).reshape(-1, 64)
    inside = ((levels > 0.5) & (levels < 254.5)).all(axis=-1)[: 8 * rows, : 8 * columns]
    inside = inside.reshape(rows, 8, columns, 8).all(axis=(1, 3)).ravel()
    if inside.any():
        waves = waves[inside]  # what was clipped left the lattice
    place, kind = np.nonzero((np.abs(waves) > _LEAST) & (np.arange(64) > 0))
    if not len(place):
        return None
    some = np.linspace(0, len(place) - 1, min(len(place), _MOST)).astype(int)
    waves, kind = waves[place[some], kind[some]], kind[some]
    scores = []
    for quality in range(1, 101):
        steps = standard_table(LUMINANCE_TABLE, quality).ravel()[kind]
        apart = waves - steps * np.rint(waves / steps)
        misfit = np.minimum(apart**2 / (2 * _SPREAD**2), _LIMIT)
        scores.append(np.sum(np.log(steps) - misfit))
    return int(np.argmax(scores)) + 1
