r"""The bridges that are shipped, by their coefficients.

| function | bridge | source |
|---|---|---|
| `i2sb_bridge(…, convention="exact")` | I²SB with σ̄_t² = σ_T² - σ_t² | arXiv 2302.05872, Eq. (11) |
| `i2sb_bridge(…, convention="inclusive")` | I²SB as trained: σ̄_t² counts β_t too | `schedule` |
| `brownian_bridge` | Brownian bridge, BBDM | arXiv 2205.07680, section 3 |
| `vp_bridge` | variance-preserving bridge of DDBM | arXiv 2309.16948, section 4 |
| `ou_bridge` | Ornstein-Uhlenbeck bridge, GOUB | arXiv 2312.10299, section 3 |
| `nadb_bridge` | noise that vanishes with the state, NADB | arXiv 2605.28962 |
| `linear_bridge` | flow, InDI, and with noise ECSI's | arXiv 2209.03003, 2303.11435, 2410.21553 |
| `unidb_bridge` | GOUB with a finite penalty on its end, UniDB | arXiv 2502.05749 |
| `irsde_bridge` | Ornstein-Uhlenbeck process towards x_T, IR-SDE | arXiv 2301.11699 |
| `resshift_bridge` | chain of shifted residuals, ResShift | arXiv 2307.12348 |

The last three have noise at T, and sampling starts around x_T. `make_bridge` makes each by its name
in a configuration.
"""

import dataclasses

import numpy as np

from i2sb_jax.bridge.choices import check_choice
from i2sb_jax.bridge.gaussian import (
    PINNED,
    Bridge,
    GaussianBridge,
    diffusion_bridge,
    make_gaussian_bridge,
)
from i2sb_jax.bridge.schedule import i2sb_bridge, make_symmetric_schedule

BRIDGES = ("i2sb", "i2sb-exact", "brownian", "vp", "ou", "nadb", "linear", "unidb", "irsde",
           "resshift")  # fmt: skip


def make_bridge(
    name: str,
    *,
    num_steps: int,
    beta_max: float,
    gamma: float = 0.0,
    penalty: float = 1e7,
    x1_input: bool = False,
) -> Bridge:
    """A bridge by its name.

    Args:
        name: "i2sb", the schedule as published weights were trained; "i2sb-exact", its exact
            convention in training too; "brownian", "vp", "ou", "nadb", "linear", "unidb", "irsde"
            or "resshift", with the defaults of their functions.
        num_steps: N; even for I²SB's.
        beta_max: of I²SB's schedule; others take none.
        gamma: of "linear".
        penalty: of "unidb".
        x1_input: whether its network sees X_1 beside X_t.

    Raises:
        ValueError: another name, or as the function that makes it.
    """
    check_choice("bridge", name, BRIDGES)
    makers = {
        "brownian": brownian_bridge,
        "vp": vp_bridge,
        "ou": ou_bridge,
        "nadb": nadb_bridge,
        "irsde": irsde_bridge,
        "resshift": resshift_bridge,
    }
    if name in ("i2sb", "i2sb-exact"):
        made = make_symmetric_schedule(num_steps=num_steps, beta_max=beta_max)
        made = made if name == "i2sb" else i2sb_bridge(made)
    elif name == "linear":
        made = linear_bridge(num_steps=num_steps, gamma=gamma)
    elif name == "unidb":
        made = unidb_bridge(num_steps=num_steps, penalty=penalty)
    else:
        made = makers[name](num_steps=num_steps)
    return dataclasses.replace(made, x1_input=x1_input)


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
    integral, std = _mean_reversion(num_steps, stationary_std, remainder)
    centred = diffusion_bridge(alpha=np.exp(-integral), std=std)
    return make_gaussian_bridge(a=1 - centred.b, b=centred.b, c=centred.c, scale=std)


def unidb_bridge(
    *,
    num_steps: int,
    penalty: float = 1e7,
    stationary_std: float = 60 / 255,
    remainder: float = 0.005,
) -> GaussianBridge:
    """UniDB: GOUB's process, drawn to x_T by a control whose distance from it costs γ/2·‖·‖².

    With v_{s:t} = λ²·(1 - e^{-2·θ̄_{s:t}}) and p_t = (1 + γ·v_{t:T}) / (1 + γ·v_{0:T}), b =
    e^{-θ̄_t}·p_t, a = 1 - b, c² = v_{0:t}·p_t. γ → ∞ is `ou_bridge`. At T about γ^{-1/2} of noise is
    left, from which sampling starts; as good as none, and pinned, from γ = 1e12 on.

    Args:
        num_steps: indices.
        penalty: γ.
        stationary_std: λ, as of `ou_bridge`.
        remainder: e^{-θ̄_T}, as there.

    Raises:
        ValueError: as `ou_bridge`.
    """
    _check(num_steps, penalty=penalty)
    integral, std = _mean_reversion(num_steps, stationary_std, remainder)
    to_come = stationary_std**2 * -np.expm1(-2 * (integral[-1] - integral))
    share = (1 + penalty * to_come) / (1 + penalty * std[-1] ** 2)
    b, c = np.exp(-integral) * share, std * np.sqrt(share)
    start_std = c[-1] if c[-1] > PINNED else 0.0
    return make_gaussian_bridge(a=1 - b, b=b, c=c, scale=std, start_std=start_std)


def irsde_bridge(
    *, num_steps: int, stationary_std: float = 20 / 255, remainder: float = 0.005
) -> GaussianBridge:
    """IR-SDE: dx = θ_t·(x_T - x) dt + g_t dw with g² = 2·λ²·θ, which ends around x_T.

    b = e^{-θ̄_t}, a = 1 - b, c = λ·√(1 - b²), and the start is x_T + λ·z. Its θ is `ou_bridge`'s,
    its posterior η = 1 of `implicit`.

    Args:
        num_steps: indices.
        stationary_std: λ. The default is 10/255 of pictures in [0, 1], in [-1, 1].
        remainder: e^{-θ̄_T}, what of x_0 is left at the end.

    Raises:
        ValueError: as `ou_bridge`.
    """
    integral, std = _mean_reversion(num_steps, stationary_std, remainder)
    a = -np.expm1(-integral)
    return make_gaussian_bridge(
        a=a, b=np.exp(-integral), c=std, scale=np.sqrt(a**2 + std**2), start_std=stationary_std
    )


def resshift_bridge(
    *,
    num_steps: int,
    noise: float = 0.5,
    power: float = 0.3,
    ends: tuple[float, float] = (1e-3, 0.999),
) -> GaussianBridge:
    """ResShift: a = η, b = 1 - η, c = κ·√η, and the start is x_T + κ·z.

    √η_t = √η_1·(η_T/η_1)^{u^p/2} with u from 0 to 1 over the indices. Its posterior has no weight
    on x_T: x_r = ρ·x_t + (1 - ρ)·x_0 + κ·√(η_r·(1 - ρ))·z with ρ = η_r/η_t.

    Args:
        num_steps: indices; the paper has 15.
        noise: κ; the paper's 2 is for latents, not for pictures.
        power: p; the smaller, the sooner η rises.
        ends: η_T, and the most that η_1 may be: it is (0.04/κ)² where that is less.

    Raises:
        ValueError: fewer than two steps, a value that is not positive, or an η_T that is not
            between η_1 and 1.
    """
    _check(num_steps, noise=noise, power=power, first=ends[0])
    first, last = min((0.04 / noise) ** 2, ends[0]), ends[1]
    if not first < last < 1:
        raise ValueError(f"ends={ends} must end between {first:g} and 1: more of x_0 is not left")
    eta = first * (last / first) ** (np.linspace(0, 1, num_steps) ** power)
    c = noise * np.sqrt(eta)
    return make_gaussian_bridge(
        a=eta, b=1 - eta, c=c, scale=np.sqrt(eta**2 + c**2), kept=np.ones(num_steps),
        start_std=noise,
    )  # fmt: skip


def linear_bridge(*, num_steps: int, gamma: float = 0.0) -> GaussianBridge:
    """The straight line: a = t, b = 1 - t, c = 2·γ·√(t·(1 - t)) at t = 1/N … 1.

    At γ = 0 there is no noise: the network learns x_T - x_0, flow matching, and the step from t to
    r is InDI's, (r/t)·x_t + (1 - r/t)·X̂_0. Above, it is a Brownian bridge, ECSI's. The scale is
    √(a² + c²), t at γ = 0.

    Args:
        num_steps: N.
        gamma: γ, the largest deviation of the noise, half way.

    Raises:
        ValueError: fewer than two steps, or a negative γ.
    """
    _check(num_steps)
    if not gamma >= 0:
        raise ValueError(f"gamma={gamma} must be at least 0")
    time = np.arange(1, num_steps + 1) / num_steps
    c = 2 * gamma * np.sqrt(time * (1 - time))
    return make_gaussian_bridge(
        a=time, b=1 - time, c=c, scale=np.sqrt(time**2 + c**2), kept=np.ones(num_steps)
    )


def nadb_bridge(
    *, num_steps: int, exponent: float = 0.4, noise: float = 0.75, time_min: float = 1e-6
) -> GaussianBridge:
    """NADB: a = t^α, b = 1 - t^α, c = k·t·(1 - t), and the scale is a.

    So the noise of the target vanishes with the state's. Its process keeps (r/t)^α of the state and
    nothing of x_T, down to r = (1 - α)/(2 - α), where c/a is largest: below, that would be more
    noise than there is, and it keeps r/t of what the state differs from its mean.

    Args:
        num_steps: indices, t evenly in [t_min, 1].
        exponent: α, in (0, 1).
        noise: k.
        time_min: t at index 0; the scale must not be 0 there.

    Raises:
        ValueError: fewer than two steps, a value that is not positive, or α ≥ 1.
    """
    _check(num_steps, exponent=exponent, noise=noise, time_min=time_min)
    if exponent >= 1:
        raise ValueError(f"exponent={exponent} must be below 1")
    time = np.linspace(time_min, 1.0, num_steps)
    a = time**exponent
    early = time >= (1 - exponent) / (2 - exponent)
    return make_gaussian_bridge(
        a=a, b=1 - a, c=noise * time * (1 - time), scale=a,
        kept=np.where(early, 1.0, 1 / exponent),
    )  # fmt: skip


def _mean_reversion(
    num_steps: int, stationary_std: float, remainder: float
) -> tuple[np.ndarray, np.ndarray]:
    """θ̄ and the deviation λ·√(1 - e^{-2θ̄}) at each index; θ rises as 1 - cos² over the indices."""
    _check(num_steps, stationary_std=stationary_std, remainder=remainder)
    if remainder >= 1:
        raise ValueError(f"remainder={remainder} must be below 1: the process drifts to x_T")
    theta = np.sin(np.pi / 2 * np.arange(1, num_steps + 1) / num_steps) ** 2
    integral = np.cumsum(theta)
    integral *= -np.log(remainder) / integral[-1]
    return integral, stationary_std * np.sqrt(-np.expm1(-2 * integral))


def _check(num_steps: int, **positive: float) -> None:
    if num_steps < 2:
        raise ValueError(f"num_steps={num_steps} must be at least 2")
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name}={value} must be positive")
