"""i2sb-train: trains a bridge from a config file.

    i2sb-train --config configs/quickstart.py --workdir runs/quickstart [--config.KEY=VALUE …]

The same command continues a run that was stopped.
"""

import jax
from etils import epath

from i2sb_jax import build, data
from i2sb_jax.cli import startup
from i2sb_jax.config import Config
from i2sb_jax.training.loop import check_start, train


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    if {"-h", "--help", "-help"} & set(arguments):
        print(__doc__)
        return
    # what only the extra `train` brings is imported late: without it, one line says so
    from i2sb_jax.cli import config_file

    config, workdir = config_file.parse(arguments, program="i2sb-train")
    startup.prepare_jax()
    check_start(config, workdir)
    corruption = build.make_corruption(config)
    train_source, eval_source = _open_sources(config, workdir)
    # only now, when nothing is left to complain of: TensorFlow takes seconds and is talkative
    from i2sb_jax.data.pipeline import eval_batches, train_batches
    from i2sb_jax.training.writers import make_writer

    cut = {"corruption": corruption, "config": config.data, "image_size": config.image_size}
    preview = next(eval_batches(eval_source, **cut, batch_size=config.sampling.batch_size))

    def batches(start_step: int):
        return train_batches(
            train_source,
            **cut,
            batch_size=config.training.batch_size,
            seed=config.seed,
            start_step=start_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    _describe(config, workdir)
    writer = make_writer(workdir, silent=jax.process_index() != 0)
    train(config, workdir, batches=batches, eval_batch=preview, writer=writer)


def _open_sources(config: Config, workdir: str):
    """The pictures for training and those held out."""
    index = epath.Path(workdir) / "index"
    if not index.exists():  # both sides must have pictures before the listing of one is written
        data.require_pictures(config.data)
    where = {"index_dir": index, "process_index": jax.process_index()}
    return tuple(data.make_source(config.data, split=split, **where) for split in ("train", "eval"))


def _describe(config: Config, workdir: str) -> None:
    if jax.process_index() != 0:
        return
    from clu import parameter_overview

    params = jax.eval_shape(lambda: build.init_params(jax.random.key(0), config))
    print(parameter_overview.get_parameter_overview(params, include_stats=False))
    print(
        f"{config.corruption} on {config.data.source} at {config.image_size} px, "
        f"{jax.device_count()} × {jax.devices()[0].device_kind}, "
        f"matmul precision {config.matmul_precision}, into {workdir}",
        flush=True,
    )
