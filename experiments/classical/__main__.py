"""Tunes the classical repairs on training photographs, and measures them.

    python -m experiments.classical [blur noise jpeg reduction]

Each repair is tuned at each level on ten training photographs (problems.py) for the mean gain in
PSNR (tuning.py): linear filters on the whole pictures, the others on the middle of 96². Then it is
measured in 8 bits on the whole pictures, of noise and JPEG on the middle of 256². Rows of the table
come as they are found.
"""

import argparse
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.classical import problems
from experiments.classical.problems import Problem
from experiments.classical.tuning import Pair, in_8_bits, rings_of, tune, tune_filter
from i2sb_jax import metrics
from i2sb_jax.corruptions import classical
from i2sb_jax.corruptions.photographic import enlarge_smoothly
from i2sb_jax.pictures import from_uint8

WIDTHS, NOISES, QUALITIES, FACTORS = (1, 1.5, 2), (5, 10, 15, 25), (10, 20, 30, 50, 75, 90), (2, 4)
_MIDDLE, _LARGE_MIDDLE = 96, 256  # pixels of a side
_BETWEEN = 1.2  # a width for all of them
_NOTHING: Mapping[str, float] = {}
_ssim = jax.jit(metrics.ssim)


class Candidate(NamedTuple):
    """A repair to be tuned.

    Attributes:
        name: as in the table.
        repair: (picture, **settings) -> repaired.
        start: settings that the search begins at; none: there is nothing to tune.
        fixed: other settings.
        gains: of a linear filter, (frequency, **settings) -> factors of luma and chromas.
        evaluations: that the search may take, of other repairs.
        quick: settings of the search alone, to make it faster.
    """

    name: str
    repair: Callable[..., np.ndarray]
    start: Mapping[str, float]
    fixed: Mapping[str, float] = _NOTHING
    gains: Callable[..., Pair] | None = None
    evaluations: int = 24
    quick: Mapping[str, float] = _NOTHING


class Task(NamedTuple):
    """What candidates have to repair: its name, and problems made of pictures.

    Attributes:
        name: as in the table.
        degrade: pictures -> problems.
        candidates: to be tuned.
        enlarged: by what factor what is seen is enlarged, bicubic.
        side: of the middles that are measured, pixels; None: whole pictures.
    """

    name: str
    degrade: Callable[[list[np.ndarray]], list[Problem]]
    candidates: Sequence[Candidate]
    enlarged: int = 1
    side: int | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table as markdown, line by line as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="*", help=f"of {', '.join(TASKS)}; all by default")
    given = parser.parse_args(arguments)
    if unknown := set(given.tasks) - set(TASKS):
        parser.error(f"no such task: {', '.join(sorted(unknown))}")
    middles = list(problems.photographs(_MIDDLE).values())
    print("| task | repair | dB | SSIM | gain | SSIM | worst | settings |\n" + "|---" * 8 + "|")
    for task in itertools.chain.from_iterable(TASKS[name]() for name in given.tasks or TASKS):
        pictures = list(problems.photographs(task.side).values())
        pairs = [_prepared(case, task.enlarged) for case in task.degrade(pictures)]
        rings = [rings_of(pair) for pair in pairs]
        windows = [_prepared(case, task.enlarged) for case in task.degrade(middles)]
        before = scores(pairs, lambda picture: picture)
        for candidate in task.candidates:
            if candidate.gains:
                settings = tune_filter(
                    candidate.gains, candidate.start, rings, fixed=candidate.fixed
                )
            else:
                fast = functools.partial(candidate.repair, **candidate.fixed, **candidate.quick)
                settings = tune(fast, candidate.start, windows, evaluations=candidate.evaluations)
            settings |= candidate.fixed
            gain = scores(pairs, functools.partial(candidate.repair, **settings)) - before
            told = ", ".join(f"{name} {value:.3g}" for name, value in settings.items())
            mean = f"{before[:, 0].mean():.2f} | {before[:, 1].mean():.3f}"
            print(
                f"| {task.name} | {candidate.name} | {mean} | {gain[:, 0].mean():+.2f} | "
                f"{gain[:, 1].mean():+.3f} | {gain[:, 0].min():+.2f} | {told} |",
                flush=True,
            )


def scores(pairs: list[Pair], repair: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """PSNR and SSIM of each picture repaired, [pictures, 2]."""
    rows = []
    for clean, seen in pairs:
        both = in_8_bits(repair(seen))[None], clean[None]
        rows.append([float(metrics.psnr(*both)[0]), float(_ssim(*both)[0])])
    return np.array(rows)


def _prepared(case: Problem, enlarged: int) -> Pair:
    seen = from_uint8(case.degraded)
    seen = enlarge_smoothly(seen, enlarged) if enlarged > 1 else seen
    return from_uint8(case.clean), seen


def _unsharp_gains(frequency, *, sigma, amount, chroma_amount):
    lost = 1 - np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    return 1 + amount * lost, 1 + chroma_amount * lost


def _wiener_gains(frequency, *, sigma, ratio, power, chroma_ratio, chroma_power):
    return tuple(
        classical.wiener_gain(frequency, sigma=sigma, ratio=scale, power=slope)
        for scale, slope in ((ratio, power), (chroma_ratio, chroma_power))
    )


def _sharpeners(width: float) -> list[Candidate]:
    wiener = functools.partial(Candidate, repair=classical.wiener, gains=_wiener_gains)
    return [
        Candidate(
            "unsharp mask",
            classical.unsharp_mask,
            {"sigma": width, "amount": 1.0, "chroma_amount": 0.5},
            gains=_unsharp_gains,
        ),
        wiener(
            "Wiener, flat",
            start={"sigma": width, "ratio": 0.02, "chroma_ratio": 0.03},
            fixed={"power": 0, "chroma_power": 0},
        ),
        wiener(
            "Wiener, Laplace",
            start={"sigma": width, "ratio": 10, "chroma_ratio": 100},
            fixed={"power": 4, "chroma_power": 4},
        ),
        wiener(
            "Wiener, power law",
            start={
                "sigma": width,
                "ratio": 1.0,
                "power": 2.0,
                "chroma_ratio": 10.0,
                "chroma_power": 3.0,
            },
        ),
    ]


def _deconvolutions(width: float, noise: float) -> list[Candidate]:
    grain = max(noise, 0.3)  # rounding's
    start = {"threshold": 2.8 * grain, "chroma_threshold": 2.6 * grain}
    if width == _BETWEEN:
        start |= {"sigma": width, "ratio": 0.08, "power": 1.4, "chroma_ratio": 11.0}
        fixed = {"chroma_power": 3.0}
    else:
        start |= {"ratio": 0.08 * grain**2, "chroma_ratio": 10 * grain**2}
        fixed = {"sigma": width, "power": 3.2, "chroma_power": 3.0}
    both = Candidate(
        "Wiener and thresholding",
        classical.wiener_thresholding,
        start,
        fixed=fixed,
        evaluations=60,
        quick={"step": 4},
    )
    return [*_sharpeners(width), both] + [
        Candidate(
            "Richardson-Lucy",
            classical.richardson_lucy,
            {"sigma": width},
            fixed={"iterations": iterations},
            evaluations=8,
        )
        for iterations in (2, 4, 8)
    ]


def _blur() -> Iterable[Task]:
    for noise in (2, 0):
        yield Task(
            f"blur {', '.join(map(str, WIDTHS))}, noise {noise}",
            lambda pictures, noise=noise: [
                problem
                for width in WIDTHS
                for problem in problems.blurred(pictures, width=width, noise=noise)
            ],
            _deconvolutions(_BETWEEN, noise),
        )
        for width in WIDTHS:
            yield Task(
                f"blur {width}, noise {noise}",
                functools.partial(problems.blurred, width=width, noise=noise),
                _deconvolutions(width, noise),
            )


def _smoothers(strength: float, *, noise: Mapping[str, float] = _NOTHING) -> list[Candidate]:
    """For errors of about so many levels."""
    return [
        Candidate(
            "non-local means",
            classical.non_local_means,
            {"strength": 1.2 * strength, "chroma_strength": 1.5 * strength, **noise},
        ),
        Candidate(
            "total variation",
            classical.total_variation,
            {"weight": 0.7 * strength, "chroma_weight": 1.2 * strength},
        ),
        Candidate(
            "cosine thresholding",
            classical.dct_thresholding,
            {"threshold": 2.7 * strength, "chroma_threshold": 3.2 * strength},
            quick={"step": 2},
        ),
    ]


def _noise() -> Iterable[Task]:
    for noise in NOISES:
        yield Task(
            f"noise {noise}",
            functools.partial(problems.noisy, noise=noise),
            _smoothers(noise, noise={"noise": 0.7 * noise}),
            side=_LARGE_MIDDLE,
        )


def _jpeg() -> Iterable[Task]:
    for quality in QUALITIES:
        coarseness = 50 / quality if quality < 50 else 2 - quality / 50
        yield Task(
            f"JPEG {quality}",
            functools.partial(problems.compressed, quality=quality),
            _smoothers(4.5 * coarseness),
            side=_LARGE_MIDDLE,
        )
    yield Task(
        f"JPEG {', '.join(map(str, QUALITIES))}",
        lambda pictures: [
            problem
            for quality in QUALITIES
            for problem in problems.compressed(pictures, quality=quality)
        ],
        _smoothers(3)[2:],
        side=_LARGE_MIDDLE,
    )


def _reduction() -> Iterable[Task]:
    for factor in FACTORS:
        yield Task(
            f"reduced by {factor}, bicubic",
            functools.partial(_reduced, factor=factor),
            _sharpeners(0.3 * factor),
            enlarged=factor,
            side=_LARGE_MIDDLE,
        )


def _reduced(pictures: list[np.ndarray], *, factor: int) -> list[Problem]:
    return [
        problem
        for kernel in problems.KERNELS
        for quality in (None, 80)
        for problem in problems.reduced(pictures, factor=factor, kernel=kernel, quality=quality)
    ]


TASKS = {"blur": _blur, "noise": _noise, "jpeg": _jpeg, "reduction": _reduction}

if __name__ == "__main__":
    main()
