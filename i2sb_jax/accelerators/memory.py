"""Memory that devices have left, where they count it."""

from collections.abc import Iterable
from typing import Any

import jax


def free_bytes(devices: Iterable[Any]) -> int | None:
    """Returns the bytes that are free on the fullest of some devices.

    Args:
        devices: JAX's, of this process.

    Returns:
        What its allocator may still hand out; None where nobody counts, as on CPUs.
    """
    found = [device.memory_stats() or {} for device in devices]
    if not all({"bytes_limit", "bytes_in_use"} <= set(stats) for stats in found):
        return None
    return min(stats["bytes_limit"] - stats["bytes_in_use"] for stats in found)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error is JAX's and says that a device's memory is exhausted, or CUDA's."""
    return isinstance(error, jax.errors.JaxRuntimeError) and any(
        name in str(error) for name in ("RESOURCE_EXHAUSTED", "CUDA_ERROR_OUT_OF_MEMORY")
    )
