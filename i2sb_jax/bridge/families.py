r"""The bridges that are shipped, by their coefficients.

| function | bridge | source |
|---|---|---|
| `i2sb_bridge(…, convention="exact")` | I²SB with σ̄_t² = σ_T² - σ_t² | arXiv 2302.05872, Eq. (11) |
| `i2sb_bridge(…, convention="inclusive")` | I²SB as trained: σ̄_t² counts β_t too | `schedule` |
| `brownian_bridge` | Brownian bridge, BBDM | arXiv 2205.07680, section 3 |
| `vp_bridge` | variance-preserving bridge of DDBM | arXiv 2309.16948, section 4 |
| `ou_bridge` | Ornstein-Uhlenbeck bridge, GOUB | arXiv 2312.10299, section 3 |

`make_bridge` makes each by its name in a configuration.
"""

import numpy as np

from i2sb_jax.bridge.choices import check_choice
from i2sb_jax.bridge.gaussian import (
    Bridge,
    GaussianBridge,
    diffusion_bridge,
    make_gaussian_bridge,
)
from i2sb_jax.bridge.schedule import i2sb_bridge, make_symmetric_schedule

BRIDGES = ("i2sb", "i2sb-exact", "brownian", "vp", "ou")


def make_bridge(name: str, *, num_steps: int, beta_max: float) -> Bridge:
    """A bridge by its name.

    Args:
        name: "i2sb", the schedule as published weights were trained; "i2sb-exact", its exact
            convention in training too; "brownian", "vp" or "ou", with the defaults of their
            functions.
        num_steps: N; even for I²SB's.
        beta_max: of I²SB's schedule; others take none.

    Raises:
        ValueError: another name, or as the function that makes it.
    """
    check_choice("bridge", name, BRIDGES)
    if name in ("i2sb", "i2sb-exact"):
        schedule = make_symmetric_schedule(num_steps=num_steps, beta_max=beta_max)
        return schedule if name == "i2sb" else i2sb_bridge(schedule)
    makers = {"brownian": brownian_bridge, "vp": vp_bridge, "ou": ou_bridge}
    return makers[name](num_steps=num_steps)


def brownian_bridge(*, num_steps: int, variance: float = 1.0) -> GaussianBridge:
    """BBDM: with m = t/T at t = 1 … T, a = m, b = 1 - m, c² = 2·s·(m - m²).

    Its network learns x_t - x_0 itself (their Algorithm 1), so the scale is 1.

    Args:
        num_steps: T.
        variance: s; the bridge's largest variance is s/2, half way.

    Raises:
        ValueError: fewer than two steps, or a variance that is not positive.
    """
    _check(num_steps, variance=variance)
    time = np.arange(1, num_steps + 1) / num_steps
    std = np.sqrt(2 * variance * time)
    return diffusion_bridge(alpha=np.ones(num_steps), std=std, scale=np.ones(num_steps))


def vp_bridge(
    *, num_steps: int, beta_min: float = 0.1, beta_rise: float = 2.0, time_min: float = 1e-4
) -> GaussianBridge:
    """DDBM's VP bridge: log α_t = -t²·β_d/4 - t·β_min/2, σ_t² = 1 - α_t², t evenly in [t_min, 1].

    Args:
        num_steps: indices.
        beta_min: β at t = 0.
        beta_rise: β_d, by which β grows until t = 1.
        time_min: t at index 0.

    Raises:
        ValueError: fewer than two steps, or another value that is not positive.
    """
    _check(num_steps, beta_min=beta_min, beta_rise=beta_rise, time_min=time_min)
    time = np.linspace(time_min, 1.0, num_steps)
    log_alpha = -(time**2) * beta_rise / 4 - time * beta_min / 2
    return diffusion_bridge(alpha=np.exp(log_alpha), std=np.sqrt(-np.expm1(2 * log_alpha)))


def ou_bridge(
    *, num_steps: int, stationary_std: float = 60 / 255, remainder: float = 0.005
) -> GaussianBridge:
    """GOUB: dx = θ_t·(x_T - x) dt + g_t dw with g² = 2·λ²·θ, pinned at x_T.

    x_t - x_T is an Ornstein-Uhlenbeck process around zero with α_t = e^{-θ̄_t} and σ_t² =
    λ²·(1 - α_t²), pinned at zero; so b and c are those of that diffusion, and a = 1 - b. Its θ
    rises as 1 - cos² over the indices.

    Args:
        num_steps: indices.
        stationary_std: λ, the noise that the process would settle to. The default is 30/255 of
            pictures in [0, 1], in [-1, 1].
        remainder: e^{-θ̄_T}, what would be left of x_0 at the end were the process not pinned.

    Raises:
        ValueError: fewer than two steps, a value that is not positive, or remainder ≥ 1.
    """
    _check(num_steps, stationary_std=stationary_std, remainder=remainder)
    if remainder >= 1:
        raise ValueError(f"remainder={remainder} must be below 1: the process drifts to x_T")
    theta = np.sin(np.pi / 2 * np.arange(1, num_steps + 1) / num_steps) ** 2
    integral = np.cumsum(theta)
    integral *= -np.log(remainder) / integral[-1]
    std = stationary_std * np.sqrt(-np.expm1(-2 * integral))
    centred = diffusion_bridge(alpha=np.exp(-integral), std=std)
    return make_gaussian_bridge(a=1 - centred.b, b=centred.b, c=centred.c, scale=std)


def _check(num_steps: int, **positive: float) -> None:
    if num_steps < 2:
        raise ValueError(f"num_steps={num_steps} must be at least 2")
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name}={value} must be positive")
