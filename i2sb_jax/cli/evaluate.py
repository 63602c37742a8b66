"""i2sb-evaluate: measures a trained run, and shows what it does.

    i2sb-evaluate --model RUN [--nfe 1,2,5,10] [--data CLEAN | --eval-data MOVED] [--output DIR] …
    i2sb-evaluate --make-stats PICTURES OUT.npz --inception FILE

Writes results.json, pictures.csv and report.html. The same command goes on where it was stopped.
"""

import functools
import sys
from collections.abc import Callable

import jax
from etils import epath

from i2sb_jax import interop
from i2sb_jax.accelerators import processes, sharding
from i2sb_jax.cli import evaluation_data, make_stats, startup
from i2sb_jax.cli.evaluation_flags import chosen_options, parser, with_flags
from i2sb_jax.evaluation.job import evaluate_model
from i2sb_jax.evaluation.results import REPORT, Model, check_finite, figure_table
from i2sb_jax.files import require_apart


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    given = parser().parse_args(arguments)
    startup.require("tensorflow")  # of the extra `train`: it feeds pictures
    if given.make_stats:
        return make_stats.main(given)
    if given.model is None:
        raise ValueError("--model is missing: name a run, or a model folder")
    folder = interop.local_folder(given.model)
    config = with_flags(interop.load_config(folder), given)
    options = chosen_options(given)
    options.resolve(config)  # before anything is read
    if given.output is None and interop.is_model_folder(folder):
        raise ValueError(f"--output is missing: {given.model} is no run, and no place for results")
    output = epath.Path(given.output or epath.Path(folder) / "evaluation")
    for pictures in filter(None, (given.data, given.eval_data, given.targets)):
        require_apart(pictures, output, what="--output")
    processes.join(config.distributed, heartbeat=config.heartbeat)
    startup.prepare_jax()
    processes.check_shared(output, option="--output")
    _, params = interop.load_model_folder(folder, checkpoint=given.checkpoint)
    name = given.model + f" ({given.checkpoint})" * (given.checkpoint != "latest")
    digest = interop.weights_digest(params)
    model = Model(name, config, jax.device_get(params), digest)
    first = jax.process_index() == 0
    warn = _once(speaks=first)
    data = evaluation_data.open_data(config, folder, given, warn=warn)
    results = evaluate_model(model, data, output, options, mesh=sharding.make_mesh(), warn=warn)
    if first:
        print(figure_table(results))
        print(f"see {output / REPORT}")
        check_finite(results)


def _once(*, speaks: bool) -> Callable[[str], None]:
    """A printer of warnings that says each of them once."""

    @functools.cache
    def warn(line: str) -> None:
        if speaks:
            print("warning:", startup.printable(line), file=sys.stderr, flush=True)

    return warn


if __name__ == "__main__":
    main()
