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
nodes; the last one is of first order, and no noise is drawn at index 0.

Where a bridge does not end at x_T itself but has noise there (`GaussianBridge.start_std`), T is a
node as any other: the walk starts at x_T + r·z, and nothing is booted.

The booting noise is why this is for bridges trained with noise only: a network trained on the
OT-ODE (`deterministic=True`) never saw a state that has any. Such a network is sampled by `sample`.
"""

from collections.abc import Sequence

import jax
import numpy as np

from i2sb_jax.bridge.gaussian import Bridge, array_module
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
    noise at η = 0 and fresh otherwise; at index 0 they are X_1.

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
        normal_fn: draws all noise; see `sampling.window_normal` for windows of pictures.

    Returns:
        Samples.

    Raises:
        ValueError: `steps` is not an ascending grid ending at num_steps - 1, `record` holds
            something that is not a position in it, or eta and order do not go together.
    """
    check_implicit(eta=eta, order=order)
    check_grid(schedule.num_steps, steps, record)
    weights = implicit_steps(schedule.pinned(), steps, eta=eta, order=order)
    return walk(
        key, weights, predict_x0_fn, x1, steps=steps,
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

    Raises:
        ValueError: the bridge has no noise.
    """
    if bridge.noiseless:
        raise ValueError(
            "implicit samplers need a bridge with noise, whose c is not 0 everywhere: sample this "
            "one by 'ode' or 'ode2'"
        )
    xp = array_module(bridge.c)
    down = np.asarray(steps)[::-1]
    b, c = (xp.asarray(x)[down] for x in (bridge.b, bridge.c))
    boots = 0 if bridge.start_std else 1  # steps
    # Eq. (2) for all steps after booting, with κ and ω free of the difference c_t² - ω²
    decay = b[boots:-1] * c[boots + 1 :] / (b[boots + 1 :] * c[boots:-1])  # e^{-h}
    # a root of 0, where c_0 = 0, would have no derivative
    root = decay if eta == 1 else (1 - eta**2 * (1 - decay**2)) ** 0.5
    kappa = c[boots + 1 :] / c[boots:-1] * root
    omega = eta * c[boots + 1 :] * (1 - decay**2) ** 0.5
    weights = state_steps(
        bridge,
        steps,
        kappa=xp.concatenate([xp.zeros_like(b[:boots]), kappa]),  # booting is a step with κ = 0
        omega=xp.concatenate([c[1 : boots + 1], omega]),
    )
    if order == 1:
        return weights
    older = xp.zeros((len(down) - 1, order - 1), weights.x0.dtype)
    if not boots:  # T may be looked back to
        b, c = (xp.concatenate([x[:1], x]) for x in (b, c))
    corrections = _corrections(xp, b, c, order)[1 - boots :]
    return weights._replace(x0=xp.concatenate([weights.x0, older], axis=1) + corrections)


def state_steps(bridge: Bridge, steps: Sequence[int], *, kappa: Array, omega: Array) -> Steps:
    """The weights of Eq. (4) of `gaussian` on a grid, for what each step keeps of the state.

    Args:
        bridge: its coefficients.
        steps: ascending indices that end at T.
        kappa: κ of each step in walking order, [nfe].
        omega: ω likewise; none is drawn at index 0.
    """
    xp = array_module(bridge.c)
    down = np.asarray(steps)[::-1]
    a, b, c = (xp.asarray(x)[down] for x in (bridge.a, bridge.b, bridge.c))
    noisy = down[1:] != 0
    return Steps(
        xt=kappa,
        x0=(b[1:] - kappa * b[:-1])[:, None],
        x1=a[1:] - kappa * a[:-1],
        std=xp.where(noisy, omega, 0.0),
        known_std=xp.where(noisy, c[1:], 0.0),
        start_std=bridge.start_std,
    )


def _corrections(xp, b: Array, c: Array, order: int) -> Array:
    """Returns what Eq. (3) adds to the first order's weights of X̂_s, X̂_u, X̂_w, [nfe, order].

    With p the slope of X̂_0 in λ between u and s, q that between w and u, the bracket's D₁ and D₂
    are sums of p and q, and these are differences of predictions.
    """
    nfe = len(b) - 1
    found = xp.zeros((nfe, order), b.dtype)
    # λ of the nodes 1 … nfe - 1 of the walk: infinite at T, perhaps at the end
    log_snr = xp.log(b[1:-1]) - xp.log(c[1:-1])
    for usable in range(2, order + 1):
        # the third step may look back to two predictions, all later ones to three
        first, last = usable, (nfe - 1 if usable == order else min(usable + 1, nfe - 1))
        if first >= last:
            continue
        h, h1, h2 = (
            log_snr[first - k : last - k] - log_snr[first - k - 1 : last - k - 1]
            for k in (0, 1, min(2, usable - 1))
        )
        one, two = xp.expm1(-h) + h, h**2 / 2 - h - xp.expm1(-h)
        if usable == 2:
            slope_p, slope_q = one, xp.zeros_like(one)
        else:
            slope_p = (one * (2 * h1 + h2) + 2 * two) / (h1 + h2)
            slope_q = -(one * h1 + 2 * two) / (h1 + h2)
        weights = [slope_p / h1, slope_q / h2 - slope_p / h1, -slope_q / h2]
        block = b[first + 1 : last + 1, None] * xp.stack(weights[:usable], axis=1)
        rows = xp.concatenate([block, xp.zeros((len(h), order - usable), b.dtype)], axis=1)
        before, after = xp.zeros((first, order), b.dtype), xp.zeros((nfe - last, order), b.dtype)
        found = found + xp.concatenate([before, rows, after])
    return found
