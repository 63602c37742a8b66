"""i2sb-train: trains a bridge from a config file.

    i2sb-train --config configs/quickstart.py --workdir DIR [--config.KEY=VALUE …] | --dry-run

The same command continues a run. Exit status: 0 the last step is reached, 75 stopped by SIGTERM and
saved, or another process is lost, 2 a mistake in what was asked for, or a full disk, 3 a loss is
not finite.
"""

import functools
import sys

import jax

from i2sb_jax import data
from i2sb_jax.accelerators import processes
from i2sb_jax.cli import config_file, dry_run, startup, train_help
from i2sb_jax.cli.describe import describe
from i2sb_jax.pictures import Notes
from i2sb_jax.run import Run
from i2sb_jax.training.loop import Preempted, Start, check_start, train


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> int:
    if {"-h", "--help", "-help"} & set(arguments):
        train_help.parser().print_help()
        return 0
    if "--dry-run" in arguments:
        return dry_run.main(arguments)
    startup.require("clu", "tensorflow")  # of the extra `train`: before anything is written
    config, workdir = config_file.parse(arguments, program="i2sb-train")
    if config.training.wandb_project:
        startup.require("wandb")
    processes.join(config.distributed, heartbeat=config.heartbeat)
    startup.prepare_jax()
    processes.check_shared(workdir)
    run = Run(config)
    start = check_start(run, workdir)
    try:
        _train(start)
    except Preempted as stop:
        print(stop, file=sys.stderr)
        return 75
    return 0


def _train(start: Start) -> None:
    run, workdir = start
    config, process = run.config, jax.process_index()
    corruption = run.corruption  # reads its masks before the data
    warn = functools.partial(print, "warning:", file=sys.stderr)
    sources = data.make_sources(config.data, workdir, process_index=process, report=warn)
    # only now, when nothing is left to complain of: TensorFlow takes seconds and is talkative
    from i2sb_jax.data.pipeline import Examples, Reading, Share, eval_batches, train_batches
    from i2sb_jax.training.writers import make_writer

    examples = Examples(corruption, config.data, config.image_size)
    reading = Reading(notes=Notes(startup.tell) if process == 0 else None)
    shown = Share(config.sampling.batch_size)
    preview = next(eval_batches(sources[1], examples, shown, reading=reading))
    share = Share(config.training.batch_size, process, jax.process_count())
    writer = make_writer(config, workdir, silent=process != 0)
    describe(run, workdir)
    train(
        start,
        batches=lambda step: train_batches(
            sources[0], examples, share, seed=config.seed, start_step=step, reading=reading
        ),
        eval_batch=preview,
        writer=writer,
        must_stop=processes.preemption_notice(config.distributed),
    )
    writer.close()  # what an error ended W&B ends itself, with the exit status


if __name__ == "__main__":
    main()
