"""The input pipeline as the loop sees it: batches, and how long it waits for them."""

import threading
import time
from collections.abc import Callable, Iterator

from i2sb_jax.types import Batch

_PATIENCE = 60.0  # seconds


class Feed(Iterator[Batch]):
    """Batches, timed; one line is told while a batch is long in coming."""

    def __init__(
        self,
        batches: Iterator[Batch],
        *,
        warn: Callable[[str], None],
        patience: float = _PATIENCE,
    ):
        """Wraps an iterator.

        Args:
            batches: what is fed.
            warn: takes the line, from a thread of its own.
            patience: seconds without a batch until it is told; once a batch.
        """
        self._batches, self._warn, self._patience = batches, warn, patience
        self._since, self._waited = time.monotonic(), 0.0

    def __next__(self) -> Batch:
        start = time.monotonic()
        line = f"no batch for {self._patience:.3g} s: the input pipeline is slow or stalled"
        watch = threading.Timer(self._patience, self._warn, [line])
        watch.daemon = True
        watch.start()
        try:
            return next(self._batches)
        finally:
            watch.cancel()
            self._waited += time.monotonic() - start

    def waiting(self) -> float:
        """The share of the time since the last call that was spent waiting, 0 … 1."""
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._since, self._waited = now, 0.0
        return min(share, 1.0)
