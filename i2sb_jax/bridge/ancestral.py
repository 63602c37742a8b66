"""A bridge's own process, from T down to 0, as a table for `walk`."""

from collections.abc import Sequence

import numpy as np

from i2sb_jax.bridge.gaussian import Bridge, array_module
from i2sb_jax.bridge.implicit import implicit_steps, state_steps
from i2sb_jax.bridge.process import posterior_weights
from i2sb_jax.bridge.walk import Steps


def posterior_steps(schedule: Bridge, steps: Sequence[int]) -> Steps:
    """The weights of a bridge's own process on a grid, [nfe] each; none at index 0 is noisy.

    Of I²SB that is the posterior of its Eq. (4); of a bridge given by its coefficients what it says
    it keeps of the state, Eq. (5) of `gaussian`, or else the posterior of its diffusion, η = 1 of
    `implicit_steps`.
    """
    if not schedule.has_sigma and schedule.kept is None:
        return implicit_steps(schedule, steps, eta=1.0)
    down = np.asarray(steps)[::-1]
    if not schedule.has_sigma:
        xp = array_module(schedule.c)
        a, c, power = (xp.asarray(x)[down] for x in (schedule.a, schedule.c, schedule.kept))
        kappa = (a[1:] / a[:-1]) ** power[1:]
        if schedule.noiseless:
            return state_steps(schedule, steps, kappa=kappa, omega=xp.zeros_like(kappa))
        var = (c[1:] - kappa * c[:-1]) * (c[1:] + kappa * c[:-1])
        # 0 but for rounding where nothing is drawn; a root there would have no derivative
        omega = xp.where(var > 0, xp.where(var > 0, var, 1.0) ** 0.5, 0.0)
        return state_steps(schedule, steps, kappa=kappa, omega=omega)
    std = schedule.scale[down]
    xp = array_module(std)
    weight_xt, weight_x0, noise = posterior_weights(std[1:], std[:-1])
    return Steps(
        xt=weight_xt,
        x0=weight_x0[:, None],
        x1=xp.zeros_like(weight_xt),
        std=xp.where(down[1:] == 0, 0.0, noise),
        known_std=schedule.c[down[1:]],
    )
