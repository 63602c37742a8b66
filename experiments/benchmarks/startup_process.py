"""One start, told part by part; `startup` runs it in a process of its own.

    python -m experiments.benchmarks.startup_process WORK SIZE

Nothing but the standard library is imported before the clock runs.
"""

import itertools
import json
import sys
import time


def start(work: str, size: str) -> dict[str, float]:
    """Comes to the first result of "forward" or "train"; seconds by part."""
    marks = [("", time.perf_counter())]

    def mark(name: str) -> None:
        marks.append((name, time.perf_counter()))

    import jax

    mark("import jax")
    from experiments.benchmarks import networks

    mark("import i2sb_jax")
    jax.devices()
    mark("devices")
    chosen = networks.SIZES[size]
    params = networks.random_params(chosen)
    if work == "train":
        step = networks.train_step(chosen)
        given = networks.start_state(params), networks.train_batch(chosen), jax.random.key(0)
    else:
        step = networks.jit(networks.forward_fn(chosen))
        given = params, networks.pictures(chosen), networks.noise_levels(chosen)
    jax.block_until_ready(given)
    mark("weights and pictures")
    lowered = step.lower(*given)
    mark("trace and lower")
    compiled = lowered.compile()
    mark("compile")
    jax.block_until_ready(compiled(*given))
    mark("first run")
    return {name: now - before for (_, before), (name, now) in itertools.pairwise(marks)}


if __name__ == "__main__":
    print(json.dumps(start(*sys.argv[1:])))
