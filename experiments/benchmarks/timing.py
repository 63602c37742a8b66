"""Things timed in turn, so that a slow minute of the machine slows all of them alike.

A side is what is timed: called with a number of runs, it makes them, waits for the last one, and
returns the seconds of one. `timed` makes a side of a function; a child process may be one as well.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

Side = Callable[[int], float]
"""Number of runs -> seconds of one of them, measured over all."""


def timed(
    function: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter
) -> Side:
    """A side that calls `function` and waits until the arrays that it returned are there."""

    def side(runs: int) -> float:
        start = clock()
        for _ in range(runs):
            result = function()
        jax.block_until_ready(result)
        return (clock() - start) / runs

    return side


def alternate(
    sides: Mapping[str, Side],
    *,
    rounds: int,
    runs: int | Mapping[str, int] = 1,
    warm_up: int = 2,
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Times every side once a round; every other round goes through them backwards.

    Before it is timed, a side runs once for nothing: the other's work has emptied its caches.

    Args:
        sides: by name.
        rounds: how many, at least 1.
        runs: of a side in a round; a number for all, or one for each name.
        warm_up: runs of each side before the first round, which do not count; the first compiles.
        pause: seconds between two sides, for threads of the one before that still spin.

    Returns:
        Name -> seconds of a run, by round.

    Raises:
        ValueError: there is no round, or a side without a run.
    """
    each = dict.fromkeys(sides, runs) if isinstance(runs, int) else runs
    if rounds < 1 or min(each[name] for name in sides) < 1:
        raise ValueError(f"rounds={rounds} and runs={runs} must be at least 1")
    for side in sides.values():
        if warm_up:
            side(warm_up)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            time.sleep(pause)
            sides[name](1)
            seconds[name].append(sides[name](each[name]))
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the quartiles."""
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75))
    return {"median": float(median), "lower quartile": float(lower), "upper quartile": float(upper)}


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Of two sides of `alternate`, round by round: the median, the lowest and the highest."""
    ratios = np.divide(above, below)
    return {
        "median": float(np.median(ratios)),
        "lowest": float(ratios.min()),
        "highest": float(ratios.max()),
    }
