"""A training step kept in a file, as a program that JAX compiles where it is loaded.

The form is `jax.export`'s: StableHLO with the shardings. A compiled executable would be bound to
one jaxlib, its plugin and one kind of GPU, and is unpickled when it is read.
"""

import importlib.metadata
import os
from collections.abc import Callable

import jax
import jaxlib
from etils import epath
from jax import export

from i2sb_jax.accelerators import sharding
from i2sb_jax.files import write_atomically
from i2sb_jax.reasons import first_line
from i2sb_jax.run import Run, State
from i2sb_jax.training.dry_run import step_arguments
from i2sb_jax.types import Batch, Params

_VERSION = importlib.metadata.version("jax")
_PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


def check_new(file: str | os.PathLike) -> None:
    """Raises ValueError where a file is there already: nothing is written over."""
    if epath.Path(file).exists():
        raise ValueError(f"{os.fspath(file)} exists, and a program is not written over it")


def save_program(run: Run, file: str | os.PathLike) -> str:
    """Writes the step of a run, which is traced once more for it.

    Args:
        run: on devices, or on those that `jax.experimental.topologies` describes.
        file: to be written.

    Returns:
        With what it can be loaded, one line.

    Raises:
        ValueError: the file is there already.
    """
    check_new(file)
    arguments = step_arguments(run)
    structure = jax.tree.structure(arguments)

    def flat(*leaves):  # a file knows lists and dictionaries, and no classes of ours or of optax
        state, metrics = run.step(*jax.tree.unflatten(structure, leaves))
        return jax.tree.leaves(state), metrics

    places = [x.sharding for x in jax.tree.leaves(arguments[0])]
    step = jax.jit(flat, out_shardings=(places, sharding.replicated(run.mesh)))
    platform = _PLATFORMS[run.mesh.devices.flat[0].platform]
    with jax.default_matmul_precision(run.config.matmul_precision):
        exported = export.export(step, platforms=[platform])(*jax.tree.leaves(arguments))
    data = exported.serialize()
    write_atomically(file, data)
    return (
        f"program      {os.fspath(file)}, {len(data) / 2**20:.1f} MiB, of jax {_VERSION}: "
        f"i2sb_jax.training.kept.load_program reads it with a jax whose jax.export knows calling "
        f"convention {exported.calling_convention_version}, on {exported.nr_devices} × {platform}, "
        f"and compiles it there (jaxlib {jaxlib.__version__}'s executables would need the same one)"
    )


def load_program(
    file: str | os.PathLike,
) -> Callable[[State, Batch, jax.Array, Params | None], tuple[State, dict[str, jax.Array]]]:
    """Returns the step of a file: (state, batch, root, frozen=None) -> (state, metrics).

    The arguments are those of the run that was saved, laid over its mesh (`Run.state_shardings`,
    `sharding.global_batch`).

    Raises:
        ValueError: it is no such file, or this jax does not know its form.
    """
    try:
        exported = export.deserialize(bytearray(epath.Path(file).read_bytes()))
    except OSError:
        raise
    except Exception as error:  # of flatbuffers and of jax, of many kinds
        raise ValueError(
            f"{os.fspath(file)} is no program that jax {_VERSION} loads ({first_line(error)})"
        ) from error
    call = jax.jit(exported.call)

    def step(state: State, batch: Batch, root: jax.Array, frozen: Params | None = None):
        leaves, metrics = call(*jax.tree.leaves((state, batch, root, frozen)))
        return jax.tree.unflatten(jax.tree.structure(state), leaves), metrics

    return step
