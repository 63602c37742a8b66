"""How long restoring will take, told once evaluations have been measured."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from i2sb_jax.progress import Progress, duration

_LONG = 600.0  # seconds; from here on it is said what would shorten the wait
_MEASURED = 3.0  # seconds; short evaluations are measured together
_WARM = 2  # evaluations before: they share the machine with the making of the next batch


class Calls(NamedTuple):
    """Network calls that follow each other, all of one size.

    Attributes:
        count: of them.
        pixels: of each, in all its windows; the time that it takes grows with them.
    """

    count: int
    pixels: int


class Clock:
    """Counts network evaluations as they happen on the device, and says when all are done.

    Attributes:
        seconds: of one evaluation of a batch, of those measured; None before they were.
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

    def start(self, calls: Sequence[Calls], *, nfe: int, quiet: bool) -> Progress:
        """Begins with calls in their order; what was compiled before does not count."""
        self._calls, self._nfe, self._quiet = tuple(calls), nfe, quiet
        self._done, self._since, self._before = 0, time.monotonic(), 0
        self.seconds = None
        self._progress = Progress(self._total, unit="evaluation", quiet=quiet)
        return self._progress

    def revise(self, calls: Sequence[Calls]) -> None:
        """There are fewer calls than was thought, since some tiles need no restoring."""
        if self._progress is not None:
            self._calls = tuple(calls)
            self._progress.revise(self._total)

    @property
    def _total(self) -> int:
        return self._nfe * sum(calls.count for calls in self._calls)

    def _pixels(self, evaluations: int) -> int:
        """Returns how many pixels the first evaluations see; any more count as the last calls."""
        pixels = 0
        for calls in self._calls:
            some = min(evaluations, self._nfe * calls.count)
            pixels, evaluations = pixels + some * calls.pixels, evaluations - some
        return pixels + evaluations * self._calls[-1].pixels

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
            left = self._pixels(self._total) - self._pixels(self._done)
            left *= self._pace(time.monotonic())
            self._progress.say("", at_most_every=10.0, left=left)

    def _measure(self, now: float) -> None:
        if self._done == _WARM < self._total:
            self._since, self._before = now, self._done
        measured = self._done > _WARM and now - self._since >= _MEASURED
        if measured or self._done == self._total:
            self.seconds = (now - self._since) / (self._done - self._before)
            self._seconds_a_pixel = self._pace(now)
            self._print()

    def _pace(self, now: float) -> float:
        """Returns the seconds that a pixel took until now."""
        seen = self._pixels(self._done) - self._pixels(self._before)
        return (now - self._since) / seen

    def estimate(self, calls: Sequence[Calls] | None = None) -> float:
        """Seconds for some calls, as long as those measured for their pixels; for all if None."""
        if self.seconds is None:
            return 0.0
        calls = self._calls if calls is None else calls
        pixels = self._nfe * sum(each.count * each.pixels for each in calls)
        return self._seconds_a_pixel * pixels

    def _print(self) -> None:
        if self._quiet:
            return
        total = self.estimate()
        line = f"{self.seconds:.3g} s an evaluation: about {duration(total)} in all"
        if total > _LONG:
            line += "; a smaller --nfe or --dtype bfloat16 is faster, --preview restores one crop"
        print(line, file=sys.stderr, flush=True)
