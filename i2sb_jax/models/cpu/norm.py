"""Averages over groups of channels as a matrix product."""

import jax
import jax.numpy as jnp
import numpy as np


def group_average(x: jax.Array, groups: int) -> jax.Array:
    """Returns each group's mean in place of its channels.

    A CPU's compiler would compute a broadcast inside the loop over the picture, one element at a
    time, which made the whole normalisation four times slower. A product stays outside.

    Args:
        x: float32 [batch, c].
        groups: divides c.

    Returns:
        float32 [batch, c].
    """
    size = x.shape[1] // groups
    matrix = np.kron(np.eye(groups), np.full((size, size), 1 / size)).astype(np.float32)
    return jnp.dot(x, matrix, precision="highest")
