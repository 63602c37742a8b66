"""One answer on all processes, where each would else take its own way."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

Answer = TypeVar("Answer", bool, float)


def agreed(answer: Answer) -> Answer:
    """Returns process 0's answer on every process: they must not take different ways.

    A folder that one of them has just made is there for one and not yet for another.

    Args:
        answer: yes or no, or a number of float32; only that of process 0 counts.
    """
    return type(answer)(multihost_utils.broadcast_one_to_all(np.array(answer)))


def of_first_process(numbers: Sequence[int]) -> list[int]:
    """Process 0's numbers, of any count, on every process: a listing may be newer here or there."""
    if jax.process_count() == 1:
        return list(numbers)
    count = int(multihost_utils.broadcast_one_to_all(np.int32(len(numbers))))
    padded = np.zeros(count, np.int32)
    padded[: len(numbers)] = numbers[:count]
    return multihost_utils.broadcast_one_to_all(padded).tolist()


def check_same(what: str, value: str) -> None:
    """Raises ValueError, on every process, where `value` is not the same text on all."""
    if jax.process_count() == 1:
        return
    mine = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8)
    every = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, len(mine))
    others = np.flatnonzero((every != every[0]).any(axis=1))
    if len(others):
        raise ValueError(
            f"processes {', '.join(map(str, others))} do not have {what} that process 0 has: all "
            "must see the same files"
        )


def barrier(what: str) -> None:
    """Returns when all processes are here; `what` is the same for all, and unlike other places."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"i2sb_jax: {what}")
