"""How long restoring will take, told once evaluations have been measured."""

import sys
import time
from collections.abc import Callable
from typing import Any

from i2sb_jax.progress import Progress, duration

_LONG = 600.0  # seconds; from here on it is said what would shorten the wait
_MEASURED = 3.0  # seconds; short evaluations are measured together
_WARM = 2  # evaluations before: they share the machine with the making of the next batch


class Clock:
    """Counts network evaluations as they happen on the device, and says when all are done.

    Attributes:
        seconds: of one evaluation of a batch; None before it was measured.
    """

    def __init__(self, tell: Callable[[int, int], None] | None = None):
        """Counts nothing before `start`.

        Args:
            tell: called after each evaluation with how many are done and how many there are; the
                thread is that of the device's callback.
        """
        self.seconds: float | None = None
        self._tell = tell
        self._progress: Progress | None = None

    def start(self, *, batches: int, nfe: int, quiet: bool) -> Progress:
        """Begins with so many batches; what was compiled before does not count."""
        self._total, self._done, self._quiet = batches * nfe, 0, quiet
        self._since, self._before = time.monotonic(), 0
        self._nfe = nfe
        self.seconds = None
        self._progress = Progress(self._total, unit="evaluation", quiet=quiet)
        return self._progress

    def revise(self, *, batches: int) -> None:
        """There are fewer batches than was thought, since some tiles need no restoring."""
        if self._progress is not None:
            self._total = batches * self._nfe
            self._progress.revise(self._total)

    def one_more(self, step: Any = None) -> None:
        """Another evaluation is done: the device calls back, or a batch of one is finished."""
        del step
        if self._progress is None:
            return
        self._done += 1
        self._progress.advance()
        if self._tell is not None:
            self._tell(self._done, self._total)
        if self.seconds is None:
            self._measure(time.monotonic())
        else:
            self._progress.say("", at_most_every=10.0)

    def _measure(self, now: float) -> None:
        if self._done == _WARM < self._total:
            self._since, self._before = now, self._done
        measured = self._done > _WARM and now - self._since >= _MEASURED
        if measured or self._done == self._total:
            self.seconds = (now - self._since) / (self._done - self._before)
            self._print()

    def estimate(self, evaluations: int | None = None) -> float:
        """Seconds for so many evaluations of a batch; for all of them if None."""
        return (self.seconds or 0.0) * (self._total if evaluations is None else evaluations)

    def _print(self) -> None:
        if self._quiet:
            return
        total = self.estimate()
        line = f"{self.seconds:.3g} s an evaluation: about {duration(total)} in all"
        if total > _LONG:
            line += "; a smaller --nfe or --dtype bfloat16 is faster, --preview restores one crop"
        print(line, file=sys.stderr, flush=True)
