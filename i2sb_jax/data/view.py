"""Batches as a person would see them."""

import numpy as np

from i2sb_jax.types import Batch


def degraded_view(batch: Batch) -> np.ndarray:
    """X_1 as a person would see it: holes in white, the condition in place of its noisy copy.

    Args:
        batch: of numpy arrays.

    Returns:
        float32 [batch, h, w, c] in [-1, 1].
    """
    # of a pair the condition may have channels that X_1 and X_0 have not
    noisy = batch.cond is not None and batch.cond.shape == batch.degraded.shape
    shown = batch.cond if noisy else batch.degraded
    return np.asarray(shown if batch.mask is None else np.where(batch.mask > 0.5, 1.0, shown))
