"""Measures what a correction costs, and a step of second order, beside the quickstart's network.

    python -m experiments.after_i2sb.cost [--write cost.json] [--parts corrections steps]

Corrections are compiled as a sampler has them and run in turn with a pass of the network, on eight
windows of the run's own 64 pixels and on one of 512. Walks of second order are run in turn with
those of first order that evaluate the network as often, on the eight windows, and of each the
compiler says what memory it needs besides arguments and results. Counted are seconds of the
processor, which other work on a machine changes less than it does the clock's.
"""

import argparse
import io
import json
import pathlib
import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.benchmarks import timing
from i2sb_jax import config as config_lib
from i2sb_jax.accelerators.program import memory_of
from i2sb_jax.config import SamplingConfig
from i2sb_jax.configs import quickstart
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.corruptions.consistency import Measurement
from i2sb_jax.pictures import to_uint8
from i2sb_jax.restoration.measured import Held, measure_array, measure_file
from i2sb_jax.run import Run
from i2sb_jax.sampling import make_sample_fn

WINDOWS = ((8, 64), (1, 512))  # how many, and their side
SECOND = {"heun": "implicit", "exponential": "implicit", "ode2": "ode"}  # and the first order's
NFES = (5, 17)  # evaluations, of which all samplers make as many
_ROUNDS = 7


def measurements(side: int) -> dict[str, Measurement]:
    """What one window may be held consistent with, by the task."""
    picture = np.random.default_rng(0).uniform(-1, 1, (side, side, 3)).astype(np.float32)
    small, file = enlarge_smoothly(picture[::4, ::4], 4), io.BytesIO()
    Image.fromarray(to_uint8(picture)).save(file, "JPEG", quality=75, subsampling=2)
    reduced, blurred = Held("sr4x-photo", "projection", "bicubic"), "gauss-1.5"
    made = {
        "sr4x-photo, bicubic": measure_array(reduced, small),
        f"blur-photo, {blurred}": measure_array(Held("blur-photo", "projection", blurred), picture),
        "JPEG, 4:2:0": measure_file(file.getvalue(), (side, side)),
    }
    return {name: measure(0, 0, side) for name, measure in made.items()}


def corrections(count: int, side: int) -> dict[str, float | int]:
    """Seconds of the processor of a pass, and of each correction."""
    run = Run(config_lib.from_config_dict(quickstart.get_config().to_dict()))
    x = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (count, side, side, 3)), jnp.float32)
    params, level = run.init_params(jax.random.key(0)), jnp.ones(count)
    network = jax.jit(lambda p, x: run.network.apply({"params": p}, x, level, None))
    correct = jax.jit(jax.vmap(lambda each, x: each.correct(x)))
    sides = {"network": timing.timed(lambda: network(params, x), clock=time.process_time)}
    for name, one in measurements(side).items():
        every = jax.tree.map(lambda part: jnp.stack([jnp.asarray(part)] * count), one)
        sides[name] = timing.timed(lambda every=every: correct(every, x), clock=time.process_time)
    seconds = timing.alternate(sides, rounds=_ROUNDS, runs=3)
    medians = {name: round(float(np.median(each)), 6) for name, each in seconds.items()}
    return {"windows": count, "side": side, **medians}


def steps(count: int, side: int) -> list[dict[str, float | int | str]]:
    """A row a sampler of second order and number of evaluations, beside the first order's.

    Seconds are medians, the ratio is that of each round's two walks; temporaries are the compiled
    program's, bytes.
    """
    run = Run(config_lib.from_config_dict(quickstart.get_config().to_dict()))
    x1 = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (count, side, side, 3)), jnp.float32)
    params, keys = run.init_params(jax.random.key(0)), jax.random.split(jax.random.key(1), count)
    found = []
    for nfe in NFES:
        walks, bytes_of = {}, {}
        for sampler in dict.fromkeys((*SECOND.values(), *SECOND)):
            sampling = SamplingConfig(sampler=sampler, nfe=nfe)
            sample_fn = make_sample_fn(run.network, run.bridge, sampling)
            program = jax.jit(sample_fn).lower(keys, params, x1, None, None).compile()
            bytes_of[sampler] = memory_of(program).temporaries
            walks[sampler] = timing.timed(
                lambda program=program: program(keys, params, x1, None, None),
                clock=time.process_time,
            )
        seconds = timing.alternate(walks, rounds=_ROUNDS, warm_up=1)
        for second, first in SECOND.items():
            ratio = timing.ratio(seconds[second], seconds[first])
            found.append({
                "sampler": second, "beside": first, "nfe": nfe, "windows": count, "side": side,
                "seconds": round(float(np.median(seconds[second])), 4),
                "seconds beside": round(float(np.median(seconds[first])), 4),
                "ratio": {name: round(value, 4) for name, value in ratio.items()},
                "temporaries": bytes_of[second], "temporaries beside": bytes_of[first],
            })  # fmt: skip
    return found


def report(measured: Mapping[str, list]) -> str:
    """A line a row."""
    lines = []
    for row in measured.get("corrections", ()):
        shares = [f"{name} {100 * row[name] / row['network']:.1f} %" for name in list(row)[3:]]
        lines.append(f"{row['windows']} × {row['side']}²: {', '.join(shares)} of a pass")
    for row in measured.get("steps", ()):
        ratio, more = row["ratio"], row["temporaries"] / row["temporaries beside"]
        lines.append(
            f"{row['sampler']} beside {row['beside']}, {row['nfe']} evaluations of "
            f"{row['windows']} × {row['side']}²: {row['seconds']:.3f} and "
            f"{row['seconds beside']:.3f} s, ratio {ratio['median']:.3f} "
            f"({ratio['lowest']:.3f} … {ratio['highest']:.3f}); "
            f"{row['temporaries'] / 2**20:.1f} MiB, {more:.3f} of the other's"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints a line a row, and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=pathlib.Path, help="a file for the rows")
    parts = ("corrections", "steps")
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    given = parser.parse_args(arguments)
    measured = {}
    if given.write is not None and given.write.exists():  # the other part stays
        measured = json.loads(given.write.read_text())
    if "corrections" in given.parts:
        measured["corrections"] = [corrections(*windows) for windows in WINDOWS]
    if "steps" in given.parts:
        measured["steps"] = steps(*WINDOWS[0])
    if given.write is not None:
        given.write.write_text(json.dumps(measured, indent=1) + "\n")
    print(report({part: measured[part] for part in given.parts}))


if __name__ == "__main__":
    main()
