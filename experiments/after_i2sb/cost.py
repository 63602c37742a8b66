"""Measures what a correction costs beside a pass of the quickstart's network.

    python -m experiments.after_i2sb.cost [--write cost.json]

Both are compiled as a sampler has them and run in turn, on eight windows of the run's own 64 pixels
and on one of 512. Counted are seconds of the processor, which other work on a machine changes less
than it does the clock's.
"""

import argparse
import io
import json
import pathlib
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from experiments.benchmarks import timing
from i2sb_jax import config as config_lib
from i2sb_jax.configs import quickstart
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.corruptions.consistency import Measurement
from i2sb_jax.pictures import to_uint8
from i2sb_jax.restoration.measured import Held, measure_array, measure_file
from i2sb_jax.run import Run

WINDOWS = ((8, 64), (1, 512))  # how many, and their side
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


def measure(count: int, side: int) -> dict[str, float | int]:
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints shares of a pass, and writes the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", type=pathlib.Path, help="a file for the seconds")
    given = parser.parse_args(arguments)
    rows = [measure(*windows) for windows in WINDOWS]
    if given.write is not None:
        given.write.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        shares = [f"{name} {100 * row[name] / row['network']:.1f} %" for name in list(row)[3:]]
        print(f"{row['windows']} × {row['side']}²: {', '.join(shares)} of a pass")


if __name__ == "__main__":
    main()
