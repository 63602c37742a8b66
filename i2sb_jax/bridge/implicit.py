r"""Fewer steps with the same weights: implicit sampling of any Gaussian bridge.

DBIM (arXiv 2405.15885) and I3SB (arXiv 2403.06069) show that the training loss fixes only the
marginals q(x_t | x_0, x_T), so a trained network may be sampled by any process that has them. From
s to t < s, with a, b, c of `gaussian`, λ = log(b/c) and h = λ_t - λ_s > 0:

Booting, from T to the first grid point t below it, where c = 0 and λ = -∞:
    x_t = a_t·x_T + b_t·X̂_0 + c_t·z                                                        (1)
First order, any η in [0, 1]:
    ω = η·c_t·√(1 - e^{-2h}),    κ = √(c_t² - ω²)/c_s,
    x_t = κ·x_s + (b_t - κ·b_s)·X̂_0 + (a_t - κ·a_s)·x_T + ω·z                              (2)
Second and third order, η = 0: multistep, from X̂_0 at s and at the nodes before it,
    x_t = (c_t/c_s)·x_s + (a_t - a_s·c_t/c_s)·x_T
          + b_t·[(1 - e^{-h})·X̂_s + (e^{-h} + h - 1)·D₁ + (h²/2 - h + 1 - e^{-h})·D₂]      (3)
with D₁, D₂ the first and second derivative of X̂_0 in λ, by divided differences.

η = 1 is the bridge's own posterior: for I²SB, whose c_t·√(1 - e^{-2h}) is σ_t·√(1 - σ_t²/σ_s²), it
is Eq. (4) of I²SB, without weight on x_T. η = 0 is an ODE, deterministic after the booting noise.
The first step after booting is of first order and the next one of second at most, for want of
nodes; the last one is of first order and draws no noise.

The booting noise is why this is for bridges trained with noise only: a network trained on the
OT-ODE (`deterministic=True`) never saw a state that has any. Such a network is sampled by `sample`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax.bridge.families import i2sb_bridge
from i2sb_jax.bridge.gaussian import Bridge
from i2sb_jax.bridge.schedule import BridgeSchedule
from i2sb_jax.bridge.walk import FRESH, ONCE, NormalFn, Samples, Steps, check_grid, walk
from i2sb_jax.types import Array, PredictX0Fn, PRNGKey


def sample_implicit(
    key: PRNGKey,
    schedule: Bridge,
    predict_x0_fn: PredictX0Fn,
    x1: Array,
    *,
    steps: Sequence[int],
    mask: Array | None = None,
    eta: float = 0.0,
    order: int = 1,
    record: tuple[int, ...] = (),
    normal_fn: NormalFn = jax.random.normal,
) -> Samples:
    """Samples X_0 given X_1 in few steps, Eq. (1) to (3) of this module.

    With a mask, known pixels are put back after every step to X_1 + c_t·z, where z is the booting
    noise at η = 0 and fresh otherwise; at the end they are X_1.

    Args:
        key: random key; at η = 0 it decides the booting noise alone.
        schedule: the bridge by its coefficients; of I²SB's schedule the exact convention is taken.
            Its network must have been trained with noise, not on the OT-ODE.
        predict_x0_fn: (xt [batch, ...], step int32 scalar) -> X̂_0 [batch, ...].
        x1: degraded end, [batch, ...].
        steps: ascending indices, as `step_grid` returns (spacing "lambda" suits order 2 and 3).
        mask: [batch or 1, h, w, 1], 1 = hole; None where nothing is known.
        eta: η, 0 (ODE) … 1 (posterior); static.
        order: 1, 2 or 3.
        record: positions in `steps` (0 = the end) whose states are returned; static.
        normal_fn: draws all noise; see `window_normal` for pictures that are sampled in windows.

    Returns:
        Samples.

    Raises:
        ValueError: `steps` is not an ascending grid ending at num_steps - 1, `record` holds
            something that is not a position in it, or eta and order do not go together.
    """
    check_implicit(eta=eta, order=order)
    check_grid(schedule.num_steps, steps, record)
    bridge = i2sb_bridge(schedule) if isinstance(schedule, BridgeSchedule) else schedule
    return walk(
        key, implicit_steps(bridge, steps, eta=eta, order=order), predict_x0_fn, x1, steps=steps,
        noise=FRESH if eta else ONCE, mask=mask, record=record, normal_fn=normal_fn,
    )  # fmt: skip


def check_implicit(*, eta: float, order: int) -> None:
    """Raises ValueError for an order or η that does not exist, or that do not go together."""
    if order not in (1, 2, 3):
        raise ValueError(f"order={order} must be 1, 2 or 3")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta} must lie in 0…1")
    if eta and order > 1:
        raise ValueError(
            f"eta={eta} needs order=1: order={order} is derived for the ODE, which is eta=0"
        )


def implicit_steps(
    bridge: Bridge, steps: Sequence[int], *, eta: float = 0.0, order: int = 1
) -> Steps:
    """The weights of Eq. (1) to (3) on a grid, [nfe] each; `walk` applies them.

    Args:
        bridge: its coefficients; NumPy leaves give float64 weights.
        steps: ascending indices that end at T.
        eta: η of Eq. (2).
        order: 1, 2 or 3.
    """
    xp = np if isinstance(bridge.c, np.ndarray) else jnp
    down = np.asarray(steps)[::-1]
    a, b, c = (xp.asarray(x)[down] for x in (bridge.a, bridge.b, bridge.c))
    rows = [_boot(a[1], b[1], c[1], order)]
    for i in range(1, len(down) - 1):
        # the nodes before s = down[i] that have a finite λ: down[1] … down[i - 1]
        usable = 1 if i == len(down) - 2 else min(order, i)
        if usable == 1:
            rows.append(_first_order(a, b, c, i, eta, order))
        else:
            rows.append(_multistep(xp, a, b, c, i, usable, order))
    columns = [xp.asarray([row[k] for row in rows]) for k in range(4)]
    last = np.arange(len(rows)) == len(rows) - 1
    return Steps(*columns[:3], xp.where(last, 0.0, columns[3]), xp.where(last, 0.0, c[1:]))


def _boot(a_t, b_t, c_t, order: int) -> tuple:
    """Eq. (1)."""
    return (0.0 * a_t, _padded([b_t], order), a_t, c_t)


def _first_order(a, b, c, i: int, eta: float, order: int) -> tuple:
    """Eq. (2) from node i to node i + 1 of the walk, with κ and ω free of c_t² - ω²."""
    s, t = i, i + 1
    decay = (b[s] * c[t] / (b[t] * c[s])) ** 2  # e^{-2h}
    kappa = c[t] / c[s] * (1 - eta**2 * (1 - decay)) ** 0.5
    omega = eta * c[t] * (1 - decay) ** 0.5
    return (kappa, _padded([b[t] - kappa * b[s]], order), a[t] - kappa * a[s], omega)


def _multistep(xp, a, b, c, i: int, usable: int, order: int) -> tuple:
    """Eq. (3) from node i to node i + 1 of the walk, with `usable` predictions."""
    s, t = i, i + 1
    log_snr = [xp.log(b[k] / c[k]) for k in range(i - usable + 1, i + 2)]
    h = log_snr[-1] - log_snr[-2]
    h1 = log_snr[-2] - log_snr[-3]
    kappa = c[t] / c[s]
    decay = xp.exp(-h)
    first, second = decay + h - 1, h**2 / 2 - h + 1 - decay
    if usable == 2:
        weights = [1 - decay + first / h1, -first / h1]
    else:
        h2 = log_snr[-3] - log_snr[-4]
        # D₁ and D₂ in the slopes p between s and u, q between u and the node before it
        slope_p = (first * (2 * h1 + h2) + 2 * second) / (h1 + h2)
        slope_q = -(first * h1 + 2 * second) / (h1 + h2)
        weights = [1 - decay + slope_p / h1, slope_q / h2 - slope_p / h1, -slope_q / h2]
    x0 = _padded([b[t] * weight for weight in weights], order)
    return (kappa, x0, a[t] - kappa * a[s], 0.0 * kappa)


def _padded(weights: list, order: int) -> list:
    return [*weights, *[0.0 * weights[0]] * (order - len(weights))]
