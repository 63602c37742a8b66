r"""Second order in one step: two evaluations, one at each of its ends.

With g_t what a first-order step keeps, κ = g_t/g_s, a bridge's ODE is, exactly,

    d(x/g) = X̂_0(x, t)·d(b/g) + x_T·d(a/g),                                                (1)

and the first-order step from s to t, X̂_0 held, is x̃ = κ·x_s + v·X̂_s + u·x_T with v = b_t - κ·b_s.
With X̂_t the prediction at x̃ the second evaluation makes of it

    x_t = x̃ + f·v·(X̂_t - X̂_s),                                                           (2)

    "heun"          f = 1/2: Heun's rule on Eq. (1)
    "exponential"   f = (e^{-h} + h - 1) / (h·(1 - e^{-h})): X̂_0 linear in λ, exactly integrated

of which the second needs g = c, h = λ_t - λ_s. With g = c Eq. (1) is singular at T, where c is 0:
so the first step is drawn, x_t = a_t·x_T + b_t·X̂_0 + c_t·z, at the cost of one evaluation
(DBMSolver, arXiv 2605.05889; ODES3, arXiv 2412.19992). Not singular are bridges that start around
x_T, which have noise there, and the OT-ODE, whose κ is the posterior's: nothing is drawn, and the
first step is as all others.

Both evaluations are rows of the same table that all samplers walk: Eq. (2) has no weight on x_s.
"""

from collections.abc import Sequence

import jax
import numpy as np

from i2sb_jax.bridge.ancestral import posterior_steps
from i2sb_jax.bridge.choices import check_choice
from i2sb_jax.bridge.gaussian import Bridge, array_module
from i2sb_jax.bridge.implicit import implicit_steps
from i2sb_jax.bridge.walk import NEVER, ONCE, NormalFn, Samples, Steps, check_grid, walk
from i2sb_jax.types import Array, PredictX0Fn, PRNGKey

FORMS = ("heun", "exponential")


def sample_second_order(
    key: PRNGKey | None,
    schedule: Bridge,
    predict_x0_fn: PredictX0Fn,
    x1: Array,
    *,
    steps: Sequence[int],
    mask: Array | None = None,
    form: str = "heun",
    deterministic: bool = False,
    record: tuple[int, ...] = (),
    normal_fn: NormalFn = jax.random.normal,
) -> Samples:
    """Samples X_0 given X_1 by Eq. (1) and (2) of this module.

    Of the grid every second index is a node: len(steps) - 1 evaluations are made, as by all others.
    One that is left over makes a last step of first order.

    Args:
        key: random key; it decides the noise of the first step alone. Not used, and may be None, if
            `deterministic`.
        schedule: the bridge; of I²SB's schedule the exact convention is taken, but for the OT-ODE.
        predict_x0_fn: (xt [batch, ...], step int32 scalar) -> X̂_0 [batch, ...].
        x1: degraded end, [batch, ...].
        steps: ascending indices, as `step_grid` returns.
        mask: [batch or 1, h, w, 1], 1 = hole; None where nothing is known.
        form: "heun" or "exponential".
        deterministic: OT-ODE, for networks that were trained on it: no noise anywhere; "heun" only.
        record: positions in `steps` (0 = the end) whose states are returned; static. At one that is
            no node it is x̃ of the step over it.
        normal_fn: draws all noise; see `sampling.window_normal` for windows of pictures.

    Returns:
        Samples.

    Raises:
        ValueError: `steps` is not an ascending grid ending at num_steps - 1, `record` holds
            something that is not a position in it, another form, or one that does not go together
            with the bridge.
    """
    check_grid(schedule.num_steps, steps, record)
    weights, visited = second_order_steps(schedule, steps, form=form, deterministic=deterministic)
    return walk(
        key, weights, predict_x0_fn, x1, steps=visited, noise=NEVER if deterministic else ONCE,
        mask=mask, record=record, normal_fn=normal_fn,
    )  # fmt: skip


def second_order_steps(
    bridge: Bridge, steps: Sequence[int], *, form: str = "heun", deterministic: bool = False
) -> tuple[Steps, tuple[int, ...]]:
    """The weights of Eq. (2) on a grid, and where the network is evaluated.

    Args:
        bridge: its coefficients; NumPy leaves give float64 weights.
        steps: ascending indices that end at T.
        form: "heun" or "exponential".
        deterministic: the OT-ODE's.

    Returns:
        The weights, [nfe], for `walk`, and its `steps`: those given, with the index where a step
        ends in place of the one that it passes over.

    Raises:
        ValueError: another form, or one that does not go together with the bridge.
    """
    check_choice("form", form, FORMS)
    if deterministic and form != "heun":
        raise ValueError(f"form={form!r} needs noise, of which the OT-ODE has none: use 'heun'")
    nfe = len(steps) - 1
    drawn = 0 if deterministic or bridge.start_std else 1  # steps that are
    pairs, rest = divmod(nfe - drawn, 2)
    double = np.array([False] * drawn + [True] * pairs + [False] * rest)
    ends = nfe - np.append(0, np.cumsum(1 + double))  # positions of the nodes, from T down
    down = np.asarray(steps)[ends]
    process = bridge if deterministic else bridge.pinned()
    first = (posterior_steps if deterministic else implicit_steps)(process, down[::-1])
    share = _exponential(process, down) if form == "exponential" else 0.5
    # the grid with the node below in place of each index that is none
    below = np.searchsorted(ends[::-1], np.arange(nfe + 1), side="right") - 1
    visited = tuple(int(index) for index in down[::-1][below])
    return _interleaved(first, share, double), visited


def _exponential(bridge: Bridge, down: np.ndarray) -> Array:
    """Returns f of Eq. (2) for each step between nodes; 1 where λ is infinite at its end."""
    xp = array_module(bridge.c)
    b, c = (xp.asarray(x)[down] for x in (bridge.b, bridge.c))
    decay = xp.where(c[:-1] > 0, b[:-1] * c[1:], 0.0) / xp.where(c[:-1] > 0, b[1:] * c[:-1], 1.0)
    inner = xp.where(decay > 0, decay, 0.5)
    h = -xp.log(inner)
    return xp.where(decay > 0, (inner + h - 1) / (h * (1 - inner)), 1.0)


def _interleaved(first: Steps, share: Array | float, double: np.ndarray) -> Steps:
    """A row for each step, and one more by Eq. (2) where it is double."""
    xp = array_module(first.xt)
    step = np.repeat(np.arange(len(double)), 1 + double)
    second = np.append(False, step[1:] == step[:-1])
    gain = xp.where(second, (share * first.x0[:, 0])[step], 0.0)
    newest = xp.where(second, gain, first.x0[step, 0])
    return Steps(
        xt=xp.where(second, 1.0, first.xt[step]),
        x0=xp.stack([newest, -gain], axis=1),
        x1=xp.where(second, 0.0, first.x1[step]),
        std=xp.where(second, 0.0, first.std[step]),
        known_std=first.known_std[step],
        start_std=first.start_std,
    )
