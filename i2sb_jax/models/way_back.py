"""In which order gradients are computed, which decides how much an accelerator holds at once.

Nothing waits for a kernel's gradient but the optimizer. XLA's scheduler for GPUs puts such work off
to the end of a step, and holds each map and each map's gradient that it needs until then; and what
a skip connection brings back it leaves as the sum it is of, in float32, until the way back arrives
at the other end. A TPU's minds memory more, and yet puts off a part. A CPU's puts off nothing.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax.core import lift
from jax.custom_derivatives import SymbolicZero


@jax.custom_jvp
def gradients_together(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Returns its arrays; on the way back no gradient of theirs is used before all are there.

    Each of them is written then, in its own type, and no more than that. Forward mode is as ever,
    and so is the way back on a CPU.
    """
    return arrays


def _gradients_together_jvp(primals, tangents):
    out = list(tangents)
    known = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]
    held = jax.lax.platform_dependent(
        *(tangents[i] for i in known), cpu=lambda *xs: xs, default=_barrier
    )
    for i, tangent in zip(known, held, strict=True):
        out[i] = tangent
    return primals, tuple(out)


gradients_together.defjvp(_gradients_together_jvp, symbolic_zeros=True)


def _barrier(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(jax.lax.optimization_barrier(arrays))


def one_at_a_time(module: type[nn.Module]) -> type[nn.Module]:
    """Returns a module's class: the way back is through with it before it goes on to what is below.

    Its gradients by parameters and by what it is given are `gradients_together`.
    """
    return nn.transforms.lift_transform(_one_at_a_time, module)


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(scope_of, variables_of, variables, rngs, *args):
        leaves, tree = jax.tree.flatten((variables, args))
        arrays = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]
        held = gradients_together(*(leaves[i] for i in arrays))
        for i, array in zip(arrays, held, strict=True):
            leaves[i] = array
        variables, args = jax.tree.unflatten(tree, leaves)
        scope = scope_of(variables, rngs)
        return function(scope, *args), variables_of(scope)

    return lift.pack(inner, (True,), (True,), (True,), name="one_at_a_time")
