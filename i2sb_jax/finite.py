"""Names of what is not finite in a tree of arrays."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class NonFiniteWeights(ValueError):
    """Weights that hold NaN or infinity, told when they are read."""


def non_finite(tree: Any) -> str:
    """The first array of a tree that holds NaN or infinity.

    One pass over the numbers, without memory for more than one part of one array.

    Args:
        tree: of arrays on the host or on devices; of those that many processes share, this one
            looks at its own parts. What holds no floating-point numbers is passed over.

    Returns:
        Its name in the tree and what it holds, in words; "" where all is finite.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    for path, leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            continue
        for part in _parts(leaf):
            if not is_finite(part):
                name = jax.tree_util.keystr(path, simple=True, separator="/")
                return f"{name} holds {in_words(part)}"
    return ""


def check_finite(origin: str, tree: Any) -> None:
    """Raises NonFiniteWeights, in one line, for the first array of weights that is not finite.

    Args:
        origin: what holds them, as the line names it.
        tree: as `non_finite` takes it.
    """
    if found := non_finite(tree):
        raise NonFiniteWeights(f"{origin}: {found}: weights must be finite")


def is_finite(array: np.ndarray) -> bool:
    """Whether no number of an array is NaN or infinite."""
    if array.dtype in (np.float32, np.float64):
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(array.sum()):  # twice as fast; a sum may overflow where no number does
                return True
    return bool(np.isfinite(array).all())


def in_words(array: np.ndarray) -> str:
    """Returns a phrase for the numbers that are not finite, as "NaN (3 of 216 values)"."""
    kind = "NaN" if np.isnan(array).any() else "infinity"
    count = array.size - int(np.isfinite(array).sum())
    return f"{kind} ({count} of {array.size} values)"


def _parts(array: Any) -> Iterator[np.ndarray]:
    """An array's numbers on the host, each once, and kept nowhere."""
    if not isinstance(array, jax.Array):
        yield np.asarray(array)
        return
    seen = set()
    for shard in array.addressable_shards:
        if str(shard.index) not in seen:
            seen.add(str(shard.index))
            # an array of a device remembers what was fetched of it: of this copy it is forgotten
            here = shard.data if shard.device.platform == "cpu" else jnp.copy(shard.data)
            yield np.asarray(here)
