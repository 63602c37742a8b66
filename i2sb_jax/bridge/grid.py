"""The indices that a sampler visits."""

import numpy as np

from i2sb_jax.bridge.gaussian import Bridge

SPACINGS = ("index", "sigma", "lambda")


def step_grid(
    num_steps: int, nfe: int, *, spacing: str = "index", schedule: Bridge | None = None
) -> tuple[int, ...]:
    """The indices that a sampler of `nfe` network evaluations visits.

    Args:
        num_steps: N of the schedule.
        nfe: network evaluations, 1 … num_steps - 1.
        spacing: "index" spaces the indices evenly, accumulated in float and rounded half to even,
            as the published results were sampled; "sigma" spaces σ evenly, which puts more steps
            where β is small; "lambda" goes from T to the index below it and spaces
            λ = log(b/c) evenly from there to 0, which puts more steps near both ends.
        schedule: needed by "sigma" (I²SB's only) and "lambda"; with concrete arrays.

    Returns:
        nfe + 1 ascending indices from 0 to num_steps - 1. The sampler walks them down.

    Raises:
        ValueError: nfe outside its range, an unknown spacing, or one without what it needs, as λ of
            a bridge without noise.
    """
    if not 1 <= nfe <= num_steps - 1:
        raise ValueError(f"nfe={nfe} must lie in 1…{num_steps - 1} (num_steps - 1)")
    if spacing not in SPACINGS:
        choices = ", ".join(map(repr, SPACINGS))
        raise ValueError(f"spacing={spacing!r} is not known; choices: {choices}")
    if spacing == "index":
        stride = (num_steps - 1) / nfe
        position, steps = 0.0, []
        for _ in range(nfe + 1):
            steps.append(round(position))  # Python rounds half to even, as the reference did
            position += stride
        return tuple(steps)
    if schedule is None or schedule.num_steps != num_steps:
        raise ValueError(f"spacing={spacing!r} needs the schedule, of num_steps={num_steps}")
    if spacing == "lambda":
        return _lambda_grid(schedule, nfe)
    if not schedule.has_sigma:
        raise ValueError("spacing='sigma' needs I²SB's schedule: other bridges have no σ")
    std = np.asarray(schedule.std_fwd, np.float64)
    return _even_grid(std, np.linspace(std[0], std[-1], nfe + 1))


def _lambda_grid(schedule: Bridge, nfe: int) -> tuple[int, ...]:
    """T, and below it `nfe` indices evenly spaced in λ, which is -∞ at T; at c_0 = 0 it is ∞.

    Of a bridge that ends around x_T λ is finite at T, but far from that of the index below.
    """
    exact = schedule.pinned()
    if exact.noiseless:
        raise ValueError("spacing='lambda' needs a bridge with noise: use 'index'")
    b, c = (np.asarray(x, np.float64) for x in (exact.b, exact.c))
    last = exact.num_steps - 1
    first = 0 if c[0] > 0 else 1
    below = np.log(b[first:last]) - np.log(c[first:last])
    count = nfe - first
    if count <= 0:
        return (0, last)
    inner = _even_grid(below, np.linspace(below[0], below[-1], count)) if count > 1 else (0,)
    return (*range(first), *(first + index for index in inner), last)


def _even_grid(values: np.ndarray, targets: np.ndarray) -> tuple[int, ...]:
    """Indices whose values lie nearest to the targets, kept strictly ascending."""
    last, count = len(values) - 1, len(targets)
    steps = np.abs(values[None, :] - targets[:, None]).argmin(axis=1)
    for i in range(1, count):  # two targets may share a nearest index; each needs its own,
        steps[i] = max(steps[i], steps[i - 1] + 1)
    for i in range(count):  # and room must be left for those that follow
        steps[i] = min(steps[i], last - (count - 1 - i))
    return tuple(int(step) for step in steps)
