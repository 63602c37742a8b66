r"""The symmetric noise schedule and the grids on which it is sampled.

With β symmetric in time (I²SB section 4.1), the bridge needs two variances only,

    σ_n² = Σ_{k ≤ n} β_k        (noise gathered since X_0),                 (1)
    σ̄_n² = Σ_{k ≥ n} β_k        (noise still to come until X_1).            (2)

Both sums include β_n: published weights were trained so. Hence σ_0 = √β_0 = 0.01 is not zero, and
σ_n² + σ̄_n² = Σβ + β_n is not constant.
"""

import dataclasses

import jax
import numpy as np

from i2sb_jax.types import Array

# √β runs linearly from here to √(beta_max / N). It is a step's variance and does not scale with N.
_FIRST_BETA = 1e-4


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BridgeSchedule:
    """Standard deviations of the bridge at its discrete steps; a pytree.

    Attributes:
        std_fwd: σ, float32 [num_steps], increasing, Eq. (1).
        std_bwd: σ̄, float32 [num_steps], decreasing, Eq. (2).
        noise_level: what the network is told of a step, float32 [num_steps], 0.1 … num_steps.
        num_steps: N, static.
    """

    std_fwd: Array
    std_bwd: Array
    noise_level: Array
    num_steps: int = dataclasses.field(metadata={"static": True})


def make_symmetric_schedule(*, num_steps: int, beta_max: float) -> BridgeSchedule:
    """The schedule of I²SB: linear in √β up to the middle, then mirrored.

    √β would reach √(beta_max / N) only at the last of N steps, and only the first half is kept, so
    the nominal beta_max is never attained (for N = 1000 and 0.3 the peak is 1.865e-4, not 3e-4).
    Computed in float64, returned in float32.

    Args:
        num_steps: N, even.
        beta_max: nominal peak of N·β; 0.3 and 1.0 in the paper.

    Returns:
        The schedule, with NumPy leaves: it can be built before a device is chosen.

    Raises:
        ValueError: num_steps is odd or below 2, or beta_max not positive.
    """
    if num_steps < 2 or num_steps % 2:
        raise ValueError(f"num_steps={num_steps} must be even and at least 2")
    if not beta_max > 0:
        raise ValueError(f"beta_max={beta_max} must be positive")
    rising = np.linspace(_FIRST_BETA**0.5, (beta_max / num_steps) ** 0.5, num_steps) ** 2
    half = rising[: num_steps // 2]
    betas = np.concatenate([half, half[::-1]])
    return BridgeSchedule(
        std_fwd=np.sqrt(np.cumsum(betas)).astype(np.float32),
        std_bwd=np.sqrt(np.cumsum(betas[::-1])[::-1]).astype(np.float32),
        noise_level=(np.linspace(1e-4, 1.0, num_steps) * num_steps).astype(np.float32),
        num_steps=num_steps,
    )


def step_grid(
    num_steps: int, nfe: int, *, spacing: str = "index", schedule: BridgeSchedule | None = None
) -> tuple[int, ...]:
    """The indices that a sampler of `nfe` network evaluations visits.

    Args:
        num_steps: N of the schedule.
        nfe: network evaluations, 1 … num_steps - 1.
        spacing: "index" spaces the indices evenly, accumulated in float and rounded half to even,
            as the published results were sampled; "sigma" spaces σ evenly, which puts more steps
            where β is small.
        schedule: needed by "sigma".

    Returns:
        nfe + 1 ascending indices from 0 to num_steps - 1. The sampler walks them down.

    Raises:
        ValueError: nfe outside its range, an unknown spacing, or "sigma" without a schedule.
    """
    if not 1 <= nfe <= num_steps - 1:
        raise ValueError(f"nfe={nfe} must lie in 1…{num_steps - 1} (num_steps - 1)")
    if spacing == "index":
        stride = (num_steps - 1) / nfe
        position, steps = 0.0, []
        for _ in range(nfe + 1):
            steps.append(round(position))  # Python rounds half to even, as the reference did
            position += stride
        return tuple(steps)
    if spacing == "sigma":
        if schedule is None:
            raise ValueError("spacing='sigma' needs the schedule")
        return _sigma_grid(np.asarray(schedule.std_fwd, np.float64), nfe)
    raise ValueError(f"spacing={spacing!r} is not known; choices: 'index', 'sigma'")


def _sigma_grid(std_fwd: np.ndarray, nfe: int) -> tuple[int, ...]:
    """Indices whose σ lie nearest to an even spacing, kept strictly ascending."""
    last = len(std_fwd) - 1
    targets = np.linspace(std_fwd[0], std_fwd[-1], nfe + 1)
    steps = np.abs(std_fwd[None, :] - targets[:, None]).argmin(axis=1)
    for i in range(1, nfe + 1):  # two targets may share a nearest index; each needs its own,
        steps[i] = max(steps[i], steps[i - 1] + 1)
    for i in range(nfe + 1):  # and room must be left for those that follow
        steps[i] = min(steps[i], last - (nfe - i))
    return tuple(int(step) for step in steps)
