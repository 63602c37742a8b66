"""i2sb-train: trains a bridge from a config file.

    i2sb-train --config configs/quickstart.py --workdir runs/quickstart [--config.KEY=VALUE …]

The same command continues a run that was stopped.
"""

import functools

import jax
from clu import parameter_overview

from i2sb_jax import build, data
from i2sb_jax.cli import config_file, startup
from i2sb_jax.config import Config, check_same_run
from i2sb_jax.data.pipeline import eval_batches, train_batches
from i2sb_jax.training.loop import train
from i2sb_jax.training.writers import make_writer


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    config, workdir = config_file.parse(arguments, program="i2sb-train")
    check_same_run(workdir, config)  # before a device or a large folder is touched
    startup.prepare_jax()
    corruption = build.make_corruption(config)
    open_source = functools.partial(
        data.make_source,
        config.data,
        index_dir=f"{workdir}/index",
        process_index=jax.process_index(),
    )
    cut = functools.partial(
        dict, corruption=corruption, config=config.data, image_size=config.image_size
    )
    preview = eval_batches(
        open_source(split="eval"), **cut(), batch_size=config.sampling.batch_size
    )
    batches = functools.partial(
        _batches_from, open_source(split="train"), config=config, cut=cut()
    )
    _describe(config, workdir)
    writer = make_writer(workdir, silent=jax.process_index() != 0)
    train(config, workdir, batches=batches, eval_batch=next(preview), writer=writer)


def _batches_from(source, start_step: int, *, config: Config, cut: dict):
    return train_batches(
        source,
        **cut,
        batch_size=config.training.batch_size,
        seed=config.seed,
        start_step=start_step,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _describe(config: Config, workdir: str) -> None:
    if jax.process_index() != 0:
        return
    params = jax.eval_shape(lambda: build.init_params(jax.random.key(0), config))
    print(parameter_overview.get_parameter_overview(params, include_stats=False))
    print(
        f"{config.corruption} on {config.data.source} at {config.image_size} px, "
        f"{jax.device_count()} × {jax.devices()[0].device_kind}, "
        f"matmul precision {config.matmul_precision}, into {workdir}",
        flush=True,
    )
