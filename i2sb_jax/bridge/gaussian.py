r"""A Gaussian bridge by its coefficients: all that the loss and the implicit samplers know of one.

Pinned at x_0 and x_T, a bridge is at index t (DBIM, arXiv 2405.15885, section 3)

    q(x_t | x_0, x_T) = N( a_t·x_T + b_t·x_0 ,  c_t²·I ),                              (1)
    λ_t = log(b_t / c_t),     SNR_t = e^{2λ_t}.                                        (2)

If it is the bridge of a diffusion x_t | x_0 ~ N(α_t·x_0, σ_t²) with ρ_t = (α_t/σ_t)² pinned at T
(DDBM, arXiv 2309.16948, section 4), then

    a_t = (α_t/α_T)·ρ_T/ρ_t,    b_t = α_t·(1 - ρ_T/ρ_t),    c_t² = σ_t²·(1 - ρ_T/ρ_t).  (3)

A network's output stands for (x_t - x_0) / s_t, with a scale s_t that belongs to the bridge.

From s to t < s every process with these marginals goes, for some κ with κ·c_s ≤ c_t, to

    x_t = κ·x_s + (b_t - κ·b_s)·x_0 + (a_t - κ·a_s)·x_T + ω·z,     ω² = c_t² - κ²·c_s².     (4)

A bridge's own is the posterior of its diffusion (η = 1 of `implicit`) unless it says

    κ = (a_t / a_s)^{p_t},                                                                 (5)

which at p = 1 has no weight on x_T. Not all start at x_T itself: where b_T and c_T are not zero the
start is x_T + r·z, with r the bridge's start_std.
"""

import dataclasses
from types import ModuleType
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.types import Array

PINNED = 1e-6  # how far a, b, c may be from 1, 0, 0 at T
_STATIC = {"static": True}


class Bridge:
    """The facts that the loss and the samplers use of a bridge, by index.

    Attributes:
        a, b, c: of Eq. (1), [num_steps].
        scale: s, of what the network is trained on, [num_steps].
        noise_level: what the network is told of an index, [num_steps].
        num_steps: N, static.
        has_sigma: whether it is I²SB's own, whose posterior is Eq. (4) in σ (`process`).
        kept: p of Eq. (5), [num_steps]; None: its own process is its diffusion's posterior.
        start_std: r, of the noise around x_T in which sampling starts, static; 0: at x_T itself.
        noiseless: whether c is 0 everywhere, static.
        x1_input: whether the network sees X_1 beside X_t, static.
    """

    a: Array
    b: Array
    c: Array
    scale: Array
    noise_level: Array
    num_steps: int
    has_sigma: ClassVar[bool] = False
    kept: Array | None = None
    start_std: float = 0.0
    noiseless: bool = False
    x1_input: bool = False

    def pinned(self) -> "GaussianBridge":
        """Returns the coefficients that are exactly x_T at T, as λ and implicit samplers need."""
        raise NotImplementedError

    def beside(self, x1: Array, cond: Array | None) -> Array | None:
        """Returns what the network sees beside X_t: the condition, then X_1 with x1_input."""
        if not self.x1_input:
            return cond
        return x1 if cond is None else jnp.concatenate([cond, x1], axis=-1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GaussianBridge(Bridge):
    """Coefficients of a bridge at its discrete indices; a pytree, made by `make_gaussian_bridge`.

    Index num_steps - 1 is T, where sampling starts at x_T = X_1; index 0 is where it ends. Where
    start_std is positive sampling starts around X_1, and what is said of T is nearly so.

    Attributes:
        a: weight of x_T, [num_steps], Eq. (1); 1 at T.
        b: weight of x_0, [num_steps]; 0 at T, positive below.
        c: standard deviation, [num_steps]; 0 at T, positive below (index 0 may be 0 as well), or 0
            everywhere.
        scale: s, of what the network is trained on, [num_steps], positive.
        noise_level: what the network is told of an index, [num_steps].
        num_steps: N, static.
        kept, start_std, noiseless, x1_input: as of `Bridge`.
    """

    a: Array
    b: Array
    c: Array
    scale: Array
    noise_level: Array
    num_steps: int = dataclasses.field(metadata=_STATIC)
    kept: Array | None = None
    start_std: float = dataclasses.field(default=0.0, metadata=_STATIC)
    noiseless: bool = dataclasses.field(default=False, metadata=_STATIC)
    x1_input: bool = dataclasses.field(default=False, metadata=_STATIC)

    def pinned(self) -> "GaussianBridge":
        """Returns itself: `make_gaussian_bridge` takes no other."""
        return self


def make_gaussian_bridge(
    *,
    a: Array,
    b: Array,
    c: Array,
    scale: Array,
    noise_level: Array | None = None,
    kept: Array | None = None,
    start_std: float = 0.0,
) -> GaussianBridge:
    """A bridge from its coefficients, Eq. (1).

    Args:
        a: weight of x_T at each index, [num_steps].
        b: weight of x_0.
        c: standard deviation; 0 everywhere for a bridge without noise, which needs `kept`.
        scale: s_t, of the network's output.
        noise_level: what the network is told; None: evenly from 1e-4·N to N, as I²SB does.
        kept: p of Eq. (5), positive; None: the bridge's own process is η = 1 of `implicit`.
        start_std: of the noise around x_T in which sampling starts, for bridges that do not end at
            x_T itself; 0: they do.

    Returns:
        The bridge, with float64 NumPy leaves: samplers compute their steps from them on the host.

    Raises:
        ValueError: lengths differ, a value is not finite or has the wrong sign, the last index is
            not x_T itself, λ does not fall from each index to the next, or more noise is to be kept
            than there is; the line names the first such index.
    """
    arrays = {"a": a, "b": b, "c": c, "scale": scale} | ({} if kept is None else {"kept": kept})
    arrays = {name: np.asarray(values, np.float64) for name, values in arrays.items()}
    num_steps = arrays["a"].size
    if noise_level is None:
        noise_level = even_noise_level(num_steps)
    arrays["noise_level"] = np.asarray(noise_level, np.float64)
    for name, values in arrays.items():
        if values.shape != (num_steps,) or num_steps < 2:
            raise ValueError(
                f"{name} has shape {values.shape}, must be [num_steps] as all others, at least 2 "
                f"(a has {arrays['a'].shape})"
            )
        _refuse(~np.isfinite(values), name, values, "be finite")
    if not start_std >= 0:
        raise ValueError(f"start_std={start_std} must be at least 0")
    below = np.arange(num_steps) < num_steps - (0 if start_std else 1)
    b, c = arrays["b"], arrays["c"]
    noiseless = kept is not None and not c.any()
    _refuse((b < 0) | (below & (b == 0)), "b", b, "be positive below T")
    if not noiseless:
        _refuse((c < 0) | (below & (c == 0) & (np.arange(num_steps) > 0)), "c", c, "be positive")
    for name in ("scale", "kept"):
        _refuse(arrays.get(name, np.ones(1)) <= 0, name, arrays.get(name), "be positive")
    for name, end in (("a", 1.0), ("b", 0.0), ("c", 0.0)):
        loose = ~below & (abs(arrays[name] - end) > PINNED)
        _refuse(loose, name, arrays[name], f"be {end:g}: sampling starts at x_T itself")
        arrays[name] = np.where(below, arrays[name], end)  # without what rounding left
    ratio, by = ("b/a", arrays["a"]) if noiseless else ("b/c", c)
    # the ratio at T, 0/0, has only a limit
    rising = np.append(b[1:] * by[:-1] >= b[:-1] * by[1:], False)
    rising[-2] &= bool(start_std)
    _refuse(rising, ratio, b / np.maximum(by, 1e-300), "fall from each index to the next")
    if kept is not None:
        a, c = arrays["a"], arrays["c"]
        share = (a[:-1] / a[1:]) ** arrays["kept"][:-1]
        more = np.append(share * c[1:] > c[:-1] * (1 + 1e-9), False)
        _refuse(more, "kept", arrays["kept"], "keep no more noise than c: take a larger one")
    return GaussianBridge(
        **arrays, num_steps=num_steps, start_std=float(start_std), noiseless=noiseless
    )


def _refuse(wrong: np.ndarray, name: str, values: np.ndarray, rule: str) -> None:
    if wrong.any():
        index = int(np.argmax(wrong))
        raise ValueError(f"{name}[{index}]={values[index]:g} must {rule}")


def diffusion_bridge(
    *, alpha: Array, std: Array, scale: Array | None = None, noise_level: Array | None = None
) -> GaussianBridge:
    """The bridge of the diffusion x_t | x_0 ~ N(α_t·x_0, σ_t²), pinned at its last index, Eq. (3).

    Args:
        alpha: α, [num_steps].
        std: σ, [num_steps].
        scale: of the network's output; None: σ, as in I²SB's Eq. (12).
        noise_level: as for `make_gaussian_bridge`.

    Returns:
        The bridge.

    Raises:
        ValueError: as `make_gaussian_bridge`.
    """
    alpha, std = np.asarray(alpha, np.float64), np.asarray(std, np.float64)
    if alpha.shape != std.shape or alpha.ndim != 1 or len(alpha) < 2:
        raise ValueError(
            f"alpha has shape {alpha.shape} and std {std.shape}, must both be [num_steps], at "
            "least 2"
        )
    _refuse(~(alpha > 0), "alpha", alpha, "be positive")
    # σ² / α² grows with t; where it is 0 the bridge is at x_0
    inverse_snr = (std / alpha) ** 2
    share = inverse_snr / inverse_snr[-1]  # ρ_T / ρ_t
    return make_gaussian_bridge(
        a=alpha / alpha[-1] * share,
        b=alpha * (1 - share),
        c=std * np.sqrt(1 - share),
        scale=std if scale is None else scale,
        noise_level=noise_level,
    )


def signal_to_noise(bridge: Bridge) -> Array:
    """SNR_t = b_t²/c_t² of Eq. (2), [num_steps].

    It is 0 at T, where b goes to zero faster than c (of `nadb_bridge` as fast, and the limit is not
    taken; small where a bridge or I²SB's inclusive convention leaves noise there), and infinite
    where a bridge has no noise and is not at T.
    """
    xp = array_module(bridge.b)
    c = xp.where(bridge.c > 0, bridge.c, 1.0)
    return xp.where((bridge.c == 0) & (bridge.b > 0), xp.inf, (bridge.b / c) ** 2)


def even_noise_level(num_steps: int) -> np.ndarray:
    """Returns a network's input for each step, evenly from 1e-4·N to N, float64 [num_steps]."""
    return np.linspace(1e-4, 1.0, num_steps) * num_steps


def array_module(values: Array) -> ModuleType:
    """NumPy for NumPy arrays, which stay on the host in float64; jax.numpy for all others."""
    return np if isinstance(values, np.ndarray) else jnp
