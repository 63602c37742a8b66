"""Forward pass and training step, against OpenAI's network in PyTorch where there is a checkout.

    python -m experiments.benchmarks.network [--size cpu] [--torch-reference DIR] [--output DIR]

All sides run the same weights and shapes in turn, PyTorch's in processes of their own. JAX's
training step also draws steps and noise, makes X_n and its target, and takes the gradient's norm;
PyTorch is given X_n and target. Its warm-up includes its choice between what it can do.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmarks import networks, reference_process, results, timing
from experiments.benchmarks.networks import Size
from experiments.benchmarks.reference_process import MODES, ReferenceFailed
from i2sb_jax.types import Params

NAME = "network"
WORKS = ("forward", "train")
_PAUSE = 0.3  # seconds; OpenMP's threads spin for 0.2 after their last work


def measure(
    *,
    size: str = "cpu",
    rounds: int = 5,
    runs: int = 3,
    torch_reference: str | None = None,
    dtype: str = "float32",
    precision: str = "default",
    works: tuple[str, ...] = WORKS,
    modes: tuple[str, ...] = MODES,
) -> dict[str, Any]:
    """Times the works of all sides.

    Args:
        size: one of `networks.SIZES`.
        rounds: rounds of each side.
        runs: runs of a side in a round.
        torch_reference: a checkout of guided-diffusion; None leaves PyTorch out.
        dtype: JAX's compute type, "float32" or "bfloat16".
        precision: JAX's precision of float32 matrix products.
        works: "forward" and "train", or one of them.
        modes: PyTorch's, "float32" and "best", or one of them.

    Returns:
        A row a work and side, the ratios, and what each side is.
    """
    chosen = networks.SIZES[size].replaced(dtype=dtype)
    params = networks.random_params(chosen)
    found: dict[str, Any] = {
        "size": size, "batch": chosen.batch_size, "pixels": chosen.image_size, "dtype": dtype,
        "matmul precision": precision, "parameters": sum(x.size for x in jax.tree.leaves(params)),
        "rounds": rounds, "runs a round": runs,
    }  # fmt: skip
    with contextlib.ExitStack() as stack, jax.default_matmul_precision(precision):
        children = {}
        if torch_reference is not None:
            children, found["PyTorch"] = _children(stack, torch_reference, chosen, params, modes)
        for work in works:
            sides = {"JAX": jax_side(work, chosen, params)}
            for mode, child in children.items():
                how = found["PyTorch"][mode][work] = _prepare(child, work)
                if how.get("kept"):
                    sides[f"PyTorch {mode}"] = child.side(work)
            pause = _PAUSE if len(sides) > 1 else 0.0
            seconds = timing.alternate(sides, rounds=rounds, runs=runs, pause=pause)
            found[work] = rows(seconds, chosen.batch_size)
    return found


def jax_side(work: str, size: Size, params: Params) -> timing.Side:
    """The library's forward pass or training step."""
    if work == "train":
        state = networks.start_state(params)
        batch = networks.train_batch(size)
        return timing.timed(networks.Trainer(networks.train_step(size), state, batch))
    forward = networks.jit(networks.forward_fn(size))
    given = [jnp.asarray(x) for x in (networks.pictures(size), networks.noise_levels(size))]
    params = jax.device_put(params)
    return timing.timed(lambda: forward(params, *given))


def rows(seconds: dict[str, list[float]], batch: int) -> list[dict[str, Any]]:
    """Name, seconds, pictures a second and how much faster JAX is, of each side."""
    found = []
    for side, values in seconds.items():
        spread = timing.spread(values)
        row = {"side": side, "seconds": spread, "pictures a second": batch / spread["median"]}
        if side != "JAX":
            row["its time over JAX's"] = timing.ratio(values, seconds["JAX"])
        found.append(row)
    return found


def _children(
    stack: contextlib.ExitStack, reference: str, size: Size, params: Params, modes: Sequence[str]
) -> tuple[dict[str, reference_process.ReferenceProcess], dict[str, Any]]:
    """The children whose output is JAX's, and what is to be said of all of them."""
    expected = reference_process.expected_output(size, params)
    children, told = {}, {}
    for mode in modes:
        try:
            child = stack.enter_context(
                reference_process.start(reference, mode, size, params, expected=expected)
            )
            told[mode] = {"facts": child.ask("facts"), "difference from JAX": child.ask("check")}
            children[mode] = child
        except ReferenceFailed as error:
            told[mode] = {"error": str(error)}
    return children, told


def _prepare(child: reference_process.ReferenceProcess, work: str) -> dict[str, Any]:
    try:
        return child.ask("prepare", work=work)
    except ReferenceFailed as error:
        return {"kept": None, "error": str(error)}


def main() -> None:
    """Measures, prints and writes."""
    parser = results.make_parser(__doc__)
    results.add_size(parser)
    results.add_torch_reference(parser)
    parser.add_argument(
        "--runs", type=results.positive, default=3, help="runs of a side in a round"
    )
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--precision", default="default", choices=("default", "high", "highest"))
    parser.add_argument("--works", nargs="+", default=WORKS, choices=WORKS)
    parser.add_argument("--modes", nargs="+", default=MODES, choices=MODES, help="PyTorch's")
    given = parser.parse_args()
    found = measure(
        size=given.size, rounds=given.repeats, runs=given.runs, dtype=given.dtype,
        torch_reference=given.torch_reference, precision=given.precision, works=given.works,
        modes=given.modes,
    )  # fmt: skip
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
