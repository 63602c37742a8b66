r"""The symmetric noise schedule.

With β symmetric in time (I²SB section 4.1), the bridge needs two variances only,

    σ_n² = Σ_{k ≤ n} β_k        (noise gathered since X_0),                 (1)
    σ̄_n² = Σ_{k ≥ n} β_k        (noise still to come until X_1).            (2)

Both sums include β_n: published weights were trained so. Hence σ_0 = √β_0 = 0.01 is not zero, and
σ_n² + σ̄_n² = Σβ + β_n is not constant. `i2sb_bridge` names both conventions, this one
"inclusive" and the one without the second β_n "exact".
"""

import dataclasses

import jax
import numpy as np

from i2sb_jax.bridge.gaussian import Bridge, GaussianBridge, array_module, even_noise_level
from i2sb_jax.types import Array

# √β runs linearly from here to √(beta_max / N). It is a step's variance and does not scale with N.
_FIRST_BETA = 1e-4
CONVENTIONS = ("exact", "inclusive")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BridgeSchedule(Bridge):
    """Standard deviations of the bridge at its discrete steps; a pytree.

    Attributes:
        std_fwd: σ, float32 [num_steps], increasing, Eq. (1).
        std_bwd: σ̄, float32 [num_steps], decreasing, Eq. (2).
        noise_level: what the network is told of a step, float32 [num_steps], 0.1 … num_steps.
        num_steps: N, static.
        x1_input: whether the network sees X_1 beside X_t, static.
    """

    std_fwd: Array
    std_bwd: Array
    noise_level: Array
    num_steps: int = dataclasses.field(metadata={"static": True})
    x1_input: bool = dataclasses.field(default=False, metadata={"static": True})
    has_sigma = True

    @property
    def a(self) -> Array:
        """Weight of X_1 in the marginal, Eq. (11): σ²/(σ̄²+σ²), [num_steps]."""
        var_fwd, var_bwd = self._variances()
        return var_fwd / (var_fwd + var_bwd)

    @property
    def b(self) -> Array:
        """Weight of X_0 in the marginal, Eq. (11): σ̄²/(σ̄²+σ²), [num_steps]."""
        var_fwd, var_bwd = self._variances()
        return var_bwd / (var_fwd + var_bwd)

    @property
    def c(self) -> Array:
        """Standard deviation of the marginal, Eq. (11): σσ̄/√(σ̄²+σ²), [num_steps]."""
        var_fwd, var_bwd = self._variances()
        return (var_fwd * var_bwd / (var_fwd + var_bwd)) ** 0.5

    @property
    def scale(self) -> Array:
        """The unit of a network's output, Eq. (12): σ, [num_steps]."""
        return _widen(self.std_fwd)

    def pinned(self) -> GaussianBridge:
        """Returns the exact convention of `i2sb_bridge`."""
        return i2sb_bridge(self)

    def _variances(self) -> tuple[Array, Array]:
        return _widen(self.std_fwd) ** 2, _widen(self.std_bwd) ** 2


def _widen(values: Array) -> Array:
    """In float64 where that is at hand: of NumPy arrays, not of traced ones."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values


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
        noise_level=even_noise_level(num_steps).astype(np.float32),
        num_steps=num_steps,
    )


def i2sb_bridge(schedule: BridgeSchedule, *, convention: str = "exact") -> GaussianBridge:
    """I²SB's bridge: that of x_t = x_0 + σ_t·z, so α = 1 and s = σ.

    Args:
        schedule: σ and σ̄; NumPy leaves give float64 coefficients, traced ones are taken as well.
        convention: "exact" takes σ̄_t² = σ_T² - σ_t², so that q is pinned at T (c_T = 0) and its
            conditionals agree with each other; implicit samplers walk on it. "inclusive" takes σ̄
            as published weights were trained, with β_t in both sums; the loss draws from it.

    Raises:
        ValueError: another convention.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention={convention!r} is not known: {' or '.join(CONVENTIONS)}")
    a, b, c, std = schedule.a, schedule.b, schedule.c, schedule.scale
    xp = array_module(std)
    if convention == "exact":
        last = std[-1]
        a, b = (std / last) ** 2, (last - std) * (last + std) / last**2
        # at T, b = 0; a root there would have no derivative
        c = std * xp.where(b > 0, xp.where(b > 0, b, 1.0) ** 0.5, 0.0)
    return GaussianBridge(
        a=a, b=b, c=c, scale=std, noise_level=schedule.noise_level, num_steps=schedule.num_steps,
        x1_input=schedule.x1_input,
    )  # fmt: skip
