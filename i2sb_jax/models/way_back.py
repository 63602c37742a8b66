"""The order in which gradients are computed, which decides what an accelerator holds at once."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from flax.core import lift
from jax.custom_derivatives import SymbolicZero

from i2sb_jax.models.cpu import on_cpu


@jax.custom_jvp
def gradients_together(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Returns its arrays; on the way back none of their gradients is used before all are there.

    Nobody waits for the gradient of a kernel but the optimizer, so a compiler may put all of them
    off to the end, and hold each map and each map's gradient that they are made of until then.
    What uses a gradient is not merged with what makes it either: it is written, once, as it is.
    Forward mode and reverse mode work; on a CPU, which follows the order that it is given, this
    does nothing.
    """
    return arrays


def _gradients_together_jvp(primals, tangents):
    known = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]
    together = on_cpu(lambda *xs: xs, lambda *xs: tuple(jax.lax.optimization_barrier(xs)))
    out = list(tangents)
    for i, tangent in zip(known, together(*(tangents[i] for i in known)), strict=True):
        out[i] = tangent
    return primals, tuple(out)


gradients_together.defjvp(_gradients_together_jvp, symbolic_zeros=True)


def one_at_a_time(module: type[nn.Module]) -> type[nn.Module]:
    """Returns a module's class whose gradients, by its parameters and by what it is given, come
    together: all work of the way back through it is done before that of the module before it.
    """  # fmt: skip
    return nn.transforms.lift_transform(_one_at_a_time, module)


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    def inner(scope_of, variables_of, variables, rngs, *args):
        leaves, tree = jax.tree.flatten((variables, args))
        where = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array)]
        for i, array in zip(where, gradients_together(*(leaves[i] for i in where)), strict=True):
            leaves[i] = array
        variables, args = jax.tree.unflatten(tree, leaves)
        scope = scope_of(variables, rngs)
        return function(scope, *args), variables_of(scope)

    return lift.pack(inner, (True,), (True,), (True,), name="one_at_a_time")
