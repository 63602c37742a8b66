"""How fast a run goes: what a device computes, and how much of the time waits for data.

Time counts from when the step is compiled and its first batch is there. That of held-out pictures,
checkpoints and profiles does not: what is told is the training's own pace. It is read where the
device has nothing left to do, so that steps are counted when they are finished.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

Clock = Callable[[], float]
"""Seconds since some moment."""


class Work(NamedTuple):
    """The work of a step on each device.

    Attributes:
        flops: of one step, a multiply-add counted as two; None where nothing tells.
        peak: of bfloat16 products a second that the device's maker states; None where unknown.
    """

    flops: float | None
    peak: float | None


class Pace:
    """Measures steps between two readings."""

    def __init__(self, clock: Clock = time.monotonic):
        """Begins to count; `start` begins anew.

        Args:
            clock: tells the time.
        """
        self._clock = clock
        self.start(Work(None, None))

    def start(self, work: Work) -> None:
        """Begins anew, with the work of each step from now on."""
        self._work = work
        self._begin()

    def _begin(self) -> None:
        self._since, self._waited, self._steps = self._clock(), 0.0, 0

    def advance(self) -> None:
        """Counts a step."""
        self._steps += 1

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time within as one of waiting for data."""
        begun = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - begun

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leaves the time within out."""
        begun = self._clock()
        try:
            yield
        finally:
            self._since += self._clock() - begun

    def read(self) -> dict[str, float]:
        """Returns what was measured since the last reading, and begins anew.

        Returns:
            "data_wait": share of the time, 0 … 1. Where steps were made and their FLOPs are known,
            "tflops_per_device": 10¹² FLOPs a second on each device, and where its peak is known
            "bf16_peak_share": their share of that.
        """
        seconds = max(self._clock() - self._since, 1e-9)
        found = {"data_wait": min(self._waited / seconds, 1.0)}
        flops, peak = self._work
        if flops and self._steps:
            rate = flops * self._steps / seconds
            found["tflops_per_device"] = rate / 1e12
            if peak:
                found["bf16_peak_share"] = rate / peak
        self._begin()
        return found
