"""Aliases, the batch that every part of the library passes on, and an error that parts share."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

Array: TypeAlias = jax.Array | np.ndarray
PRNGKey: TypeAlias = jax.Array
Params: TypeAlias = Any
"""A pytree of arrays: the parameters of a network."""

PredictFn: TypeAlias = Callable[[Array, Array, Array | None], Array]
"""(xt, step, cond) -> ε, or what else is predicted: a network under the bridge's steps."""

PredictX0Fn: TypeAlias = Callable[[Array, Array], Array]
"""(xt, step) -> x0: all that a sampler knows of a network."""


class NonFiniteError(ValueError):
    """A computation gave NaN or infinity: no mistake in what was asked for; the tools exit with 3.

    Weights that are not finite when they are read are a `ValueError`, as any bad input.
    """


class StartedParams(NamedTuple):
    """Parameters of a bridge that starts at the answer of another model (`bridge.start`).

    Attributes:
        bridge: of the bridge's network.
        start: of that model's network, which is not trained.
    """

    bridge: Params
    start: Params


class Batch(NamedTuple):
    """Pictures of one batch; a pytree (fields that are None hold no leaves).

    Attributes:
        clean: X_0, float32 [batch, h, w, c] in [-1, 1].
        degraded: X_1 as the bridge uses it, same shape; holes are filled with noise.
        mask: float32 [batch, h, w, 1], 1 = hole; None where the loss has no mask.
        cond: what the network sees beside X_t, [batch, h, w, c]; None without conditioning.
        label: int32 [batch] class, -1 where unknown.
        name: bytes or str [batch], the picture's name (numpy only; never sent to a device).
        valid: float32 [batch, h, w, 1], 1 = both sides of a pair hold data; where one has none, all
            are 0 (the middle of the range), no loss is taken and nothing is restored. None: all is
            data.
    """

    clean: Array
    degraded: Array
    mask: Array | None = None
    cond: Array | None = None
    label: Array | None = None
    name: np.ndarray | None = None
    valid: Array | None = None

    @property
    def to_restore(self) -> Array | None:
        """The pixels that a sampler may change, 1, as its mask: holes, or data; None: all."""
        return self.valid if self.mask is None else self.mask
