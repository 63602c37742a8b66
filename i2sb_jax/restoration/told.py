"""Facts about a file that a network is told, where a run learnt with them (`jpeg-told`)."""

import numpy as np

from i2sb_jax.corruptions import CorruptionFacts
from i2sb_jax.corruptions.facts import FILE_SETTINGS
from i2sb_jax.corruptions.jpeg_file import file_settings, standard_settings
from i2sb_jax.pictures import JpegInfo
from i2sb_jax.types import Array


def told_settings(facts: CorruptionFacts, jpeg: JpegInfo | None) -> np.ndarray:
    """How a file was made, float32 [4] as `jpeg_file.file_settings` has it.

    Steps finer or coarser than any in training count as the last that were; a picture that is no
    JPEG counts as the best of those.
    """
    worst, best = (standard_settings(quality, "4:4:4") for quality in facts.quality_range)
    if jpeg is None:
        return best
    told = file_settings(jpeg.luma_table, jpeg.chroma_table, jpeg.subsampling)
    told[:2] = np.clip(told[:2], best[:2], worst[:2])
    return told


def everywhere(told: Array, shape: tuple[int, ...]) -> np.ndarray:
    """The same numbers at every pixel: [4] or [batch, 4] to [batch, h, w, 4] of a shape.

    Raises:
        ValueError: other shapes.
    """
    told = np.atleast_2d(np.asarray(told, np.float32))
    if told.shape not in ((1, FILE_SETTINGS), (shape[0], FILE_SETTINGS)):
        right = f"[{FILE_SETTINGS}] or [{shape[0]}, {FILE_SETTINGS}]"
        raise ValueError(f"told has shape {list(told.shape)}, must be {right}")
    return np.broadcast_to(told[:, None, None], (*shape[:3], FILE_SETTINGS))
