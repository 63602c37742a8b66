"""i2sb-train: trains a bridge from a config file.

    i2sb-train --config configs/quickstart.py --workdir runs/quickstart [--config.KEY=VALUE …]

The same command continues a run that was stopped.
"""

import sys

import jax

from i2sb_jax import build, data
from i2sb_jax.cli import config_file, startup
from i2sb_jax.config import Config
from i2sb_jax.training.loop import check_start, train


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    if {"-h", "--help", "-help"} & set(arguments):
        print(__doc__)
        return
    startup.require("clu", "tensorflow")  # of the extra `train`: before anything is written
    config, workdir = config_file.parse(arguments, program="i2sb-train")
    startup.prepare_jax()
    check_start(config, workdir)
    corruption = build.make_corruption(config)
    process = jax.process_index()
    sources = data.make_sources(config.data, workdir, process_index=process, report=_report)
    # only now, when nothing is left to complain of: TensorFlow takes seconds and is talkative
    from i2sb_jax.data.pipeline import eval_batches, train_batches
    from i2sb_jax.training.writers import make_writer

    cut = {"corruption": corruption, "config": config.data, "image_size": config.image_size}
    preview = next(eval_batches(sources[1], **cut, batch_size=config.sampling.batch_size))

    def batches(start_step: int):
        return train_batches(
            sources[0],
            **cut,
            batch_size=config.training.batch_size,
            seed=config.seed,
            start_step=start_step,
            process_index=process,
            process_count=jax.process_count(),
        )

    if process == 0:
        _describe(config, workdir)
    writer = make_writer(workdir, silent=process != 0)
    train(config, workdir, batches=batches, eval_batch=preview, writer=writer)


def _report(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def _describe(config: Config, workdir: str) -> None:
    from clu import parameter_overview

    params = jax.eval_shape(lambda: build.init_params(jax.random.key(0), config))
    print(parameter_overview.get_parameter_overview(params, include_stats=False))
    print(
        f"{config.corruption} on {config.data.source} at {config.image_size} px, "
        f"{jax.device_count()} × {jax.devices()[0].device_kind}, "
        f"matmul precision {config.matmul_precision}, into {workdir}",
        flush=True,
    )


if __name__ == "__main__":
    main()
