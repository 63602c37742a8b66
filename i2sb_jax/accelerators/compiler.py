"""Options of XLA's compilers that make a program of the U-Net fast."""

import functools
import warnings

import jax
import jaxlib
import numpy as np
from jax.sharding import Mesh

# Of XLA's CPU compiler. Barriers are taken out only after fusion, which they are to stop; small
# loops are not made one kernel, for jax 0.12 aborts where such a loop still has a barrier. All
# but reductions is left to Eigen: YNNPACK's convolutions use one core where there are 64 channels
# out or fewer, and its products are slower where the result is as small. Seeing through the bodies
# of loops, the compiler copies a quarter less often.
_CPU_OPTIONS: dict[str, str | bool] = {
    "xla_disable_hlo_passes": "cse_barrier_expander,small-while-loop-hoisting",
    "xla_cpu_copy_insertion_use_region_analysis": True,
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
}


def compile_options(mesh: Mesh) -> dict[str, str | bool] | None:
    """Returns options that make a program of the U-Net fast, for `jax.jit(compiler_options=…)`.

    Args:
        mesh: of the devices that it is compiled for.

    Returns:
        Options, None where there is nothing to ask for. They concern speed alone, so one that this
        jaxlib refuses is left out, with a warning.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return None
    return accepted_options(tuple(_CPU_OPTIONS.items())) or None


@functools.cache
def accepted_options(options: tuple[tuple[str, str | bool], ...]) -> dict[str, str | bool]:
    """Returns those of the CPU compiler's options that it takes, found on a trivial program.

    The compiler's options are no contract: a jaxlib may rename one, or know no longer what an
    older one did.
    """
    if _refusal(dict(options)) is None:
        return dict(options)
    accepted = {}
    for name, value in options:
        refusal = _refusal({name: value})
        if refusal is None:
            accepted[name] = value
        else:
            warnings.warn(
                f"jaxlib {jaxlib.__version__} refuses the compiler option {name}={value}, and "
                f"programs are slower without it: {refusal}",
                stacklevel=2,
            )
    return accepted


def _refusal(options: dict[str, str | bool]) -> str | None:
    """Returns why the CPU compiler refuses options, in one line; None where it takes them."""
    (cpu, *_) = jax.local_devices(backend="cpu")
    x = jax.ShapeDtypeStruct((), np.float32, sharding=jax.sharding.SingleDeviceSharding(cpu))
    try:
        jax.jit(lambda x: x + x, compiler_options=options).lower(x).compile()
    except jax.errors.JaxRuntimeError as error:
        return str(error).partition("\n")[0]
    return None
