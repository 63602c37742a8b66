"""Reads pictures on request; `reading` runs it in a process of its own.

    python experiments/benchmarks/reading_process.py

The package that it measures is the one on PYTHONPATH, of this checkout or of an older one: nothing
but what both have is used. Each line of standard input is a request in JSON, the
arguments of `read`, each line of standard output its answer. One core is used.
"""

import hashlib
import json
import os
import sys
import time

import numpy as np

BATCH = 32


def read(folder: str, crop: str, batches: int, size: int, source: str) -> dict:
    """Seconds of a stream in its stride, by the clock and by the processor, and its first pixels.

    All is as `i2sb-train` has it, but for what it remembers of decoded pictures: nothing.
    """
    from i2sb_jax import data
    from i2sb_jax.cli import config_file
    from i2sb_jax.cli.tasks import base_file
    from i2sb_jax.data import pipeline
    from i2sb_jax.data.pipeline import train_batches, undegraded

    changes = ["--config.data.source=synthetic", f"--config.data.crop={crop}"]
    given = [f"--config={base_file()}", *changes]
    config, _ = config_file.parse(given, program="benchmark", needs_workdir=False)
    source = data.open_source(source, path=folder)
    if hasattr(pipeline, "Examples"):
        from i2sb_jax.pictures import Notes

        notes = Notes(lambda line: print(line, file=sys.stderr))
        stream = train_batches(
            source,
            pipeline.Examples(undegraded, config.data, size),
            pipeline.Share(BATCH),
            seed=0,
            reading=pipeline.Reading(notes=notes, cache_bytes=0),
        )
    else:  # an older checkout
        options = {"image_size": size, "batch_size": BATCH, "seed": 0, "cache_bytes": 0}
        stream = train_batches(source, undegraded, config.data, **options)
    first = next(stream).clean
    next(stream)  # the graph is traced, and its threads are busy
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(stream)
    return {
        "seconds": time.perf_counter() - wall,
        "processor seconds": time.process_time() - processor,
        "pictures": batches * BATCH,
        "pixels": hashlib.sha256(np.ascontiguousarray(first).tobytes()).hexdigest(),
    }


def main() -> None:
    """Answers until standard input ends."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])  # before TensorFlow counts them
    for line in sys.stdin:
        print(json.dumps(read(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
