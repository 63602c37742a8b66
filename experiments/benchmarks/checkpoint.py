"""What saving costs a training: how long until it is on disk, and how long the steps wait for it.

python -m experiments.benchmarks.checkpoint [--size-mb N ...] [--folder DIR] [--output DIR]

States are ADM's U-Net, as narrow as the size asks for, with its average and AdamW's moments: as
many tensors as that of the paper. Their values are noise, which does not compress. Files that are
restored were just written, and come from the page cache.
"""

import argparse
import json
import statistics
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath

from i2sb_jax.checkpoint import Checkpoints, abstract_like, checkpoint_folder, silence_orbax
from i2sb_jax.files import write_atomically
from i2sb_jax.learning.state import create_state
from i2sb_jax.models import UNet, adm_256
from i2sb_jax.training import TrainState

_MB, _GB = 1e6, 1e9
_NARROWEST = 8  # channels; all widths are multiples of it
_SIDE = 512  # of the matrices that stand for a network
_ALONE = 10  # steps beside no save


def main(given: argparse.Namespace) -> None:
    """Measures, prints a table, and writes it."""
    silence_orbax()
    rows = {
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "states": [
            measure(make_state(size_mb=size), folder=given.folder) for size in given.size_mb
        ],
    }
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    print(text)
    if given.output:
        write_atomically(epath.Path(given.output) / "checkpoint.json", f"{text}\n".encode())


def measure(
    state: TrainState, *, folder: str | None = None, repeats: int = 5, products: int = 8
) -> dict[str, float]:
    """Medians of several saves of one state, alone and beside steps that it is donated to.

    Args:
        state: what is saved; donated, and gone afterwards.
        folder: where checkpoints are written, and removed again; default: the system's.
        repeats: saves of each kind, and restores.
        products: of matrices in a step, beside what it does to every tensor.

    Returns:
        By name: seconds, GB (10⁹ bytes) a second, shares and counts.
    """
    leaves = jax.tree.leaves(state)
    size = sum(x.nbytes for x in leaves)
    with tempfile.TemporaryDirectory(dir=folder) as workdir, Checkpoints(workdir) as checkpoints:
        blocked, checked, whole = _saves(checkpoints, state, repeats=repeats + 1)
        found = {
            "MB": size / _MB,
            "tensors": len(leaves),
            "first save, seconds until on disk": whole[0],
            "first save, seconds blocked": blocked[0],
            "save, seconds until on disk": statistics.median(whole[1:]),
            "save, GB/s": size / _GB / statistics.median(whole[1:]),
            "save, seconds blocked": statistics.median(blocked[1:]),
            "save, longest seconds blocked": max(blocked[1:]),
            "save, share blocked": statistics.median(
                one / other for one, other in zip(blocked[1:], whole[1:], strict=True)
            ),
            "check_saves meanwhile, longest seconds": max(checked),
            "restore, GB/s": size / _GB / _restore(checkpoints, state, repeats=repeats),
        }
        steps = _beside_steps(
            checkpoints, checkpoint_folder(workdir), state, repeats=repeats, products=products
        )
    return found | steps


def make_state(*, size_mb: float) -> TrainState:
    """`abstract_state` filled with noise."""
    rng = np.random.default_rng(0)

    def draw(x: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(rng.standard_normal(x.shape, np.float32)).astype(x.dtype)

    return jax.tree.map(draw, abstract_state(size_mb=size_mb))


def abstract_state(*, size_mb: float) -> TrainState:
    """The shapes of a state of about `size_mb` · 10⁶ bytes, or of the narrowest."""
    narrowest = _state_shapes(_NARROWEST)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(narrowest))
    multiple = max(1, round((size_mb * _MB / size) ** 0.5))  # parameters grow as its square
    return narrowest if multiple == 1 else _state_shapes(multiple * _NARROWEST)


def _state_shapes(channels: int) -> TrainState:
    network = UNet(adm_256(model_channels=channels, norm_groups=8, head_channels=8))
    images, levels = jnp.zeros((1, 64, 64, 3)), jnp.zeros(1)
    params = jax.eval_shape(network.init, jax.random.key(0), images, levels)["params"]
    return jax.eval_shape(lambda params: create_state(params, optax.adamw(1e-4)), params)


def _saves(
    checkpoints: Checkpoints, state: TrainState, *, repeats: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds that saves block, that looking at them blocks, and until they are on disk."""
    blocked, checked, whole = [], [], []
    for step in range(1, repeats + 1):
        start = time.perf_counter()
        checkpoints.save(step, state)
        blocked.append(time.perf_counter() - start)
        checkpoints.check_saves()
        checked.append(time.perf_counter() - start - blocked[-1])
        checkpoints.wait()
        whole.append(time.perf_counter() - start)
    return blocked, checked, whole


def _restore(checkpoints: Checkpoints, state: TrainState, *, repeats: int) -> float:
    """Seconds of restoring."""
    abstract = abstract_like(state, jax.tree.map(lambda x: x.sharding, state))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(checkpoints.restore(abstract))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _beside_steps(
    checkpoints: Checkpoints,
    folder: epath.Path,
    state: TrainState,
    *,
    repeats: int,
    products: int,
) -> dict[str, float]:
    """What saves do to a loop that is a step ahead of the device, as that of training is."""

    def update(state: TrainState, matrix: jax.Array) -> tuple[TrainState, jax.Array]:
        for _ in range(products):
            matrix = jnp.tanh(matrix @ matrix)
        # the state waits for the products, as it does for gradients
        small = 1e-9 * matrix[0, 0]
        return jax.tree.map(lambda x: x + small.astype(x.dtype), state), matrix[0, 0]

    step_fn = jax.jit(update, donate_argnums=0)
    matrix = jnp.asarray(np.random.default_rng(1).standard_normal((_SIDE, _SIDE), np.float32))
    state, pending = step_fn(state, matrix)
    jax.block_until_ready((state, pending))

    def step() -> float:
        nonlocal state, pending
        start = time.perf_counter()
        state, result = step_fn(state, matrix)
        jax.block_until_ready(pending)
        pending = result
        return time.perf_counter() - start

    usual, whole, longest, lost = [], [], [], []
    first = checkpoints.latest_step() + 1
    for number in range(first, first + repeats):
        usual.append(statistics.median(step() for _ in range(_ALONE)))
        jax.block_until_ready(pending)  # metrics are looked at before a state is saved
        start = time.perf_counter()
        checkpoints.save(number, state)
        gaps = [time.perf_counter() - start]  # the step that follows ends it
        while not (folder / str(number)).is_dir():
            gaps.append(step())
            checkpoints.check_saves()
        lost.append(time.perf_counter() - start - (len(gaps) - 1) * usual[-1])
        longest.append(max([sum(gaps[:2]), *gaps[2:]]))
        whole.append(time.perf_counter() - start)
        checkpoints.wait()
    return {
        "step, seconds": statistics.median(usual),
        "save beside steps, seconds until on disk": statistics.median(whole),
        "save beside steps, longest seconds between two steps": statistics.median(longest),
        "save beside steps, seconds that steps lost": statistics.median(lost),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size-mb", type=float, nargs="+", default=[10, 200, 1000])
    parser.add_argument("--folder", help="where to write; default: the system's temporary folder")
    parser.add_argument("--output", help="folder for checkpoint.json")
    main(parser.parse_args())
