"""Progress: a bar on a terminal, plain lines elsewhere."""

import datetime
import sys
import time

import tqdm


class Progress:
    """Counts work done and says how fast it goes and when it ends; a context manager."""

    def __init__(self, total: int, *, unit: str, start: int = 0, quiet: bool = False):
        """Begins at `start` of `total` units; `quiet` on processes that should not speak."""
        self._total, self._unit, self._quiet = total, unit, quiet
        self._done = start
        self._first = None  # when the first piece of work was done, and how much that was
        self._said = -float("inf")
        self._bar = None
        if sys.stderr.isatty() and not quiet:
            self._bar = tqdm.tqdm(total=total, initial=start, unit=unit, dynamic_ncols=True)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1) -> None:
        """Counts `count` more units."""
        self._done += count
        if self._first is None:
            self._first = time.monotonic(), self._done
        if self._bar is not None:
            self._bar.update(count)

    def revise(self, total: int) -> None:
        """Sets how many units there are."""
        self._total = total
        if self._bar is not None:
            self._bar.total = total

    def rate(self) -> float | None:
        """Units a second after the first piece of work, which compiles; None before a second."""
        if self._first is None or self._done == self._first[1]:
            return None
        return (self._done - self._first[1]) / (time.monotonic() - self._first[0])

    def say(self, text: str, *, at_most_every: float = 0.0, left: float | None = None) -> None:
        """One line: where we are, `text`, the rate and the time left.

        Args:
            text: what else there is to say.
            at_most_every: seconds; lines that come sooner after the last one are dropped.
            left: seconds, where units differ; as many as the rate tells if None.
        """
        now = time.monotonic()
        if self._quiet or now - self._said < at_most_every:
            return
        rate = self.rate()
        if at_most_every and rate is None:
            return
        self._said = now
        if self._bar is not None:
            self._bar.set_postfix_str(text)
            return
        line = f"{self._unit} {self._done}/{self._total}"
        if text:
            line += f"  {text}"
        if rate:
            left = (self._total - self._done) / rate if left is None else left
            until = datetime.timedelta(seconds=round(left))
            line += f"  {rate:.3g} {self._unit}s/s  {until} left"
        print(line, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Returns seconds as a person says them: "0:01:15", or "0.8 s" where that is short."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return str(datetime.timedelta(seconds=round(seconds)))
