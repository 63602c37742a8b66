"""What evaluating costs beyond the network: evaluation against forward passes, and features.

python -m experiments.benchmarks.evaluation [--model RUN] [--inception FILE] [--output DIR]

Both sides of each ratio are measured alternately in one process, and the median of the repeats is
taken. Nothing here needs TensorFlow but the pipeline's own row.
"""

import argparse
import functools
import json
import statistics
import tempfile
import time

import jax
import numpy as np
from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax import interop
from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.compiler import compile_options
from i2sb_jax.cli import config_file
from i2sb_jax.cli.tasks import base_file
from i2sb_jax.evaluation.evaluate import evaluate
from i2sb_jax.evaluation.inception import features_from_params, inception_params
from i2sb_jax.evaluation.store import ShardStore
from i2sb_jax.files import write_atomically
from i2sb_jax.pictures import write_png
from i2sb_jax.run import Run
from i2sb_jax.types import Batch

_BATCHES, _REPEATS = 6, 5


def main(given: argparse.Namespace) -> None:
    """Measures, prints a table, and writes it."""
    config, params = _model(given.model)
    rows = {
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "pictures at once": config.sampling.batch_size,
        "image size": config.image_size,
        "parameters": sum(x.size for x in jax.tree.leaves(params)),
        "evaluation": [_evaluation(config, params, nfe) for nfe in given.nfe],
    }
    if given.inception:
        rows["features"] = _features(given.inception)
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    print(text)
    if given.output:
        write_atomically(epath.Path(given.output) / "evaluation.json", f"{text}\n".encode())


def _model(path: str | None) -> tuple[config_lib.Config, dict]:
    """A run, or the small ADM as it begins."""
    if path is not None:
        return interop.load_model_folder(path)
    small = base_file().parent / "small_adm.py"
    config, _ = config_file.parse([f"--config={small}"], program="benchmark", needs_workdir=False)
    return config, jax.jit(Run(config).init_params)(jax.random.key(0))


def _evaluation(config, params, nfe: int) -> dict[str, float]:
    """Seconds of a batch, by `evaluate` with all that it reads and writes, and by the network."""
    mesh, size = sharding.make_mesh(), config.sampling.batch_size
    shape = (size * mesh.size, config.image_size, config.image_size, config.image_channels)
    images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    names = np.array([b"%d" % n for n in range(len(images))])
    params = sharding.replicate(jax.device_get(params), mesh)
    network = Run(config).network

    @functools.partial(
        jax.jit,
        out_shardings=sharding.batch_sharding(mesh),
        compiler_options=compile_options(mesh),
    )
    def forward(params, x, level):
        return network.apply({"params": params}, x, level)

    arguments = sharding.replicate((images, np.full(len(images), 500, np.float32)), mesh)
    x, level = jax.device_put(arguments, sharding.batch_sharding(mesh))

    def pictures(numbers):
        for _ in range(0, len(numbers), len(images)):
            yield Batch(images, images, name=names)

    sample_fn = Run(config).sample_fn(config.choose_sampling(nfe=nfe))
    whole, passes = [], []
    with jax.default_matmul_precision("highest"):
        jax.block_until_ready(forward(params, x, level))
        for _ in range(_REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                store = ShardStore(folder, count=_BATCHES * len(images), size=size)
                ends: list[float] = []
                evaluate(
                    sample_fn, params, pictures, store, method="nfe", seed=0, mesh=mesh,
                    on_batch=lambda ends=ends: ends.append(time.perf_counter()),
                )  # fmt: skip
            whole.append((ends[-1] - ends[0]) / (len(ends) - 1))  # the first compiles
            start = time.perf_counter()
            for _ in range(nfe):
                out = forward(params, x, level)
            jax.block_until_ready(out)
            passes.append(time.perf_counter() - start)
    ratios = [one / other for one, other in zip(whole, passes, strict=True)]
    return {
        "nfe": nfe,
        "seconds a batch": statistics.median(whole),
        "seconds of its forward passes": statistics.median(passes),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def _features(path: str) -> dict[str, float]:
    """Pictures a second: the network, jitted by batch, and a picture at a time, and their input."""
    params = jax.device_put(inception_params(interop.read_weights_file(path)))
    run = jax.jit(features_from_params)
    rng = np.random.default_rng(0)
    found = {}
    for count in (1, 8, 32):
        images = rng.integers(0, 256, (count, 256, 256, 3), np.uint8)
        jax.block_until_ready(run(params, images))
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            jax.block_until_ready(run(params, images))
            seconds.append(time.perf_counter() - start)
        found[f"jitted, {count} at once"] = count / statistics.median(seconds)
    start = time.perf_counter()
    jax.block_until_ready(features_from_params(params, images[:1]))
    start = time.perf_counter()
    jax.block_until_ready(features_from_params(params, images[:1]))
    found["not jitted, 1 at once"] = 1 / (time.perf_counter() - start)
    found["input pipeline"] = _pipeline()
    return found


def _pipeline() -> float:
    """Pictures a second that decoding, resizing and cutting 500×375 PNGs give."""
    from i2sb_jax import data
    from i2sb_jax.data.pipeline import Examples, Share, eval_batches, undegraded

    with tempfile.TemporaryDirectory() as folder:
        rng, count = np.random.default_rng(0), 128
        for number in range(count):
            small = rng.integers(0, 256, (25, 33, 3), np.uint8)
            picture = small.repeat(15, axis=0).repeat(15, axis=1)
            write_png(epath.Path(folder) / f"{number}.png", picture)
        defaults = [f"--config={base_file()}", f"--config.data.path={folder}"]
        config, _ = config_file.parse(defaults, program="benchmark", needs_workdir=False)
        source = data.open_source("folder", path=folder)
        examples = Examples(undegraded, config.data, 256)
        for _ in range(2):  # the first is warm-up
            start = time.perf_counter()
            for _ in eval_batches(source, examples, Share(32)):
                pass
            seconds = time.perf_counter() - start
    return count / seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", help="a run; default: the small ADM, untrained")
    parser.add_argument("--inception", help="its weights; without them features are left out")
    parser.add_argument("--output", help="folder for evaluation.json")
    parser.add_argument("--nfe", type=int, nargs="+", default=[1, 5, 10, 50])
    main(parser.parse_args())
