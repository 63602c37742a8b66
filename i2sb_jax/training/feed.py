"""The input pipeline as the loop sees it: batches, and a line while one is long in coming."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from i2sb_jax.types import Batch

_PATIENCE = 60.0  # seconds


class Feed(Iterator[Batch]):
    """Batches; one line is told while a batch is long in coming."""

    def __init__(
        self,
        batches: Iterator[Batch],
        *,
        warn: Callable[[str], None],
        patience: float = _PATIENCE,
        waiting: Callable[[], AbstractContextManager] = contextlib.nullcontext,
    ):
        """Wraps an iterator.

        Args:
            batches: what is fed.
            warn: takes the line, from a thread of its own.
            patience: seconds without a batch until it is told; once a batch.
            waiting: makes what the iterator is waited for within, and nothing else.
        """
        self._batches, self._warn, self._patience = batches, warn, patience
        self._waiting = waiting

    def __next__(self) -> Batch:
        line = f"no batch for {self._patience:.3g} s: the input pipeline is slow or stalled"
        watch = threading.Timer(self._patience, self._warn, [line])
        watch.daemon = True
        watch.start()
        try:
            with self._waiting():
                return next(self._batches)
        finally:
            watch.cancel()
