"""Restoring by the number of network evaluations (NFE): time and memory, against a forward pass.

    python -m experiments.benchmarks.sampler [--size cpu] [--nfe 1 2 5 10 20 50] [--output DIR]

Each NFE is a program of its own. Beside each, the jitted network runs in turn with it, as often as
the program calls it. The seconds are fitted by a + b · NFE; b over the seconds of a pass says what
the sampler adds to the network, and memory is to be the same whatever the NFE.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import networks, results, timing
from experiments.benchmarks.networks import Size
from i2sb_jax.bridge import make_sampler, step_grid
from i2sb_jax.models import UNet
from i2sb_jax.sampling import make_predict_x0, normal_each
from i2sb_jax.types import Params

NAME = "sampler"
NFES = (1, 2, 5, 10, 20, 50)


def measure(
    *,
    size: str = "cpu",
    nfes: Sequence[int] = NFES,
    rounds: int = 5,
    sampler: str = "ddpm",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Times restoring a batch.

    Args:
        size: one of `networks.SIZES`.
        nfes: numbers of evaluations.
        rounds: rounds of each program.
        sampler: one of `bridge.SAMPLERS`.
        dtype: compute type, "float32" or "bfloat16".

    Returns:
        A row an NFE, and the line through them.
    """
    chosen = networks.SIZES[size].replaced(dtype=dtype)
    params = jax.device_put(networks.random_params(chosen))
    x1, level = (jnp.asarray(x) for x in (networks.pictures(chosen), networks.noise_levels(chosen)))
    forward = networks.jit(networks.forward_fn(chosen)).lower(params, x1, level).compile()
    keys = jax.random.split(jax.random.key(0), chosen.batch_size)
    rows = []
    for nfe in nfes:
        sample = sample_fn(chosen, nfe, sampler=sampler)
        program = networks.jit(sample).lower(keys, params, x1).compile()
        sides = {
            "sampler": timing.timed(lambda program=program: program(keys, params, x1)),
            "network": timing.timed(lambda: forward(params, x1, level)),
        }
        # as many passes as the program makes, so that both sides see as much of the machine
        runs = {"sampler": 1, "network": nfe}
        seconds = timing.alternate(sides, rounds=rounds, runs=runs, warm_up=1)  # all is compiled
        spread, passes = timing.spread(seconds["sampler"]), nfe * np.array(seconds["network"])
        rows.append(
            {
                "nfe": nfe,
                "seconds": spread,
                "seconds of a pass": timing.spread(seconds["network"]),
                "over its passes": timing.ratio(seconds["sampler"], passes),
                "pictures a second": chosen.batch_size / spread["median"],
                "temporary bytes": program.memory_analysis().temp_size_in_bytes,
            }
        )
    return {
        "size": size, "batch": chosen.batch_size, "pixels": chosen.image_size, "dtype": dtype,
        "sampler": sampler, "rows": rows,
        "forward's temporary bytes": forward.memory_analysis().temp_size_in_bytes,
        "line": line(rows),
    }  # fmt: skip


def sample_fn(
    size: Size, nfe: int, *, sampler: str
) -> Callable[[jax.Array, Params, jax.Array], jax.Array]:
    """(keys [batch], params, x1) -> X_0, un-jitted, as `sampling.make_sample_fn` gives it."""
    schedule, network = networks.make_schedule(), UNet(size.network)
    steps = step_grid(networks.NUM_STEPS, nfe)

    def sample(keys, params, x1):
        predict = make_predict_x0(network, schedule, params)
        run = make_sampler(sampler)
        return run(keys, schedule, predict, x1, steps=steps, normal_fn=normal_each).x0

    return sample


def line(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of seconds = a + b · NFE the a and b, by least squares of relative errors; b over a pass.

    Relative, because the longest times would else decide alone, and with them their noise.
    """
    nfe = np.array([row["nfe"] for row in rows], float)
    seconds = np.array([row["seconds"]["median"] for row in rows])
    pass_seconds = float(np.median([row["seconds of a pass"]["median"] for row in rows]))
    design = np.stack([np.ones_like(nfe), nfe], axis=1) / seconds[:, None]
    (a, b), *_ = np.linalg.lstsq(design, np.ones_like(nfe), rcond=None)
    return {
        "a": float(a), "b": float(b), "seconds of a pass": pass_seconds,
        "b over a pass": float(b) / pass_seconds,
    }  # fmt: skip


def main() -> None:
    """Measures, prints and writes."""
    parser = results.make_parser(__doc__)
    results.add_size(parser)
    parser.add_argument("--nfe", type=int, nargs="+", default=NFES)
    parser.add_argument("--sampler", default="ddpm", choices=("ddpm", "ode", "implicit"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    given = parser.parse_args()
    found = measure(
        size=given.size, nfes=given.nfe, rounds=given.repeats, sampler=given.sampler,
        dtype=given.dtype,
    )  # fmt: skip
    results.finish(NAME, found, output=given.output)


if __name__ == "__main__":
    main()
