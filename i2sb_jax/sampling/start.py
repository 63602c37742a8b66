r"""A bridge that starts at the answer of another model instead of at X_1.

    X_T = m(X_1) + σ_s·z,   z ~ N(0, I),                                                  (1)

with m the X̂_0 of a frozen model's single evaluation of X_1, clipped to the range of pictures. A
network trained on squared errors answers with the posterior mean. From there posterior-mean
rectified flow (PMRF, arXiv 2410.00418) goes on by a linear flow, with σ_s = 0.2 of pictures in
[-1, 1], and NADB (arXiv 2605.28962) by its bridge. Known pixels, and those without data, stay X_1.
The bridge knows of no X_1 but X_T: training and sampling replace it before all else.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from i2sb_jax.sampling.noise import normal_each
from i2sb_jax.sampling.sample_fn import SampleFn

StartFn: TypeAlias = Callable[..., jax.Array]
"""(keys, params, x1, mask, cond, origin=None) -> X_T, see `make_start_fn`."""

END = (0,)  # recorded of a single evaluation: its X̂_0
NOISE_KEY = 2**31 + 1  # no sampler or loss splits a picture's key into the one that this gives


def make_start_fn(answer_fn: SampleFn, *, noise: float, is_bounded: bool = True) -> StartFn:
    """Returns a pure (keys, params, x1, mask, cond, origin=None) -> X_T, Eq. (1).

    Args:
        answer_fn: of the frozen model: one evaluation without noise, `END` recorded.
        noise: σ_s.
        is_bounded: whether pictures lie in [-1, 1], to which the answer is clipped.

    Returns:
        The function; its arguments are those of a sample function, with the frozen model's
        parameters. A picture's noise is of its own key, and of its place where there is an origin.
    """

    def start_fn(keys, params, x1, mask, cond, origin=None):
        start = answer_fn(keys, params, x1, mask, cond, origin).x0_path[0]
        if is_bounded:
            start = jnp.clip(start, -1, 1)
        if noise:
            own = jax.vmap(lambda key: jax.random.fold_in(key, NOISE_KEY))(keys)
            start += noise * normal_each(own, start.shape, start.dtype, origin=origin)
        return start if mask is None else jnp.where(mask > 0.5, start, x1)

    return start_fn


def start_at(start_fn: StartFn, sample_fn: SampleFn) -> SampleFn:
    """Returns a sample function of X_1 that samples from X_T.

    Args:
        start_fn: as `make_start_fn` gives it.
        sample_fn: of the bridge, from X_T.

    Returns:
        The function; its parameters are `StartedParams`.
    """

    def started_fn(keys, params, x1, mask, cond, origin=None, *more):
        xt = start_fn(keys, params.start, x1, mask, cond, origin)
        return sample_fn(keys, params.bridge, xt, mask, cond, origin, *more)

    return started_fn
