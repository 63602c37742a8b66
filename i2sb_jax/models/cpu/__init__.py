"""Forms of the network's layers that XLA's CPU compiler is fast with, and the switch to them.

Each computes what the form beside its use computes, on every platform; the two differ by rounding.
"""

from collections.abc import Callable
from typing import Any

import jax


def on_cpu(tuned: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of arrays that is `tuned` on a CPU and `plain` on any other platform.

    The platform is settled when a computation is lowered, not by the default backend: a program
    compiled ahead of time for a TPU on a host without one, or run under `jax.default_device(cpu)`
    beside a GPU, gets the form that suits it, and holds nothing of the other.

    Args:
        tuned: function of arrays alone.
        plain: the same function in JAX's usual terms.
    """

    def switched(*arrays: Any) -> Any:
        return jax.lax.platform_dependent(*arrays, cpu=tuned, default=plain)

    return switched
