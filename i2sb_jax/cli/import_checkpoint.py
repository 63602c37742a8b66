"""i2sb-import: published PyTorch weights, ADM's or I²SB's, as a model folder of this library.

    i2sb-import --source FILE --task NAME --workdir RUN [--weights ema|net] [--config.KEY=VALUE …]

i2sb-restore takes the folder as its --model, i2sb-train as --config.training.init_from.
"""

import argparse
import os
import shlex

from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax.cli import config_file, startup
from i2sb_jax.cli.tasks import task_file
from i2sb_jax.config import Config
from i2sb_jax.configs.imagenet256 import TASKS
from i2sb_jax.interop import import_weights
from i2sb_jax.interop.i2sb import WEIGHTS

_USAGE = (
    "use --source FILE --task NAME --workdir RUN [--weights ema|net] [--licence TEXT] "
    "[--config.KEY=VALUE …]"
)


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options, overrides = _parser().parse_known_args(arguments)
    workdir = options.workdir
    imported = import_weights(
        options.source,
        workdir,
        _config(options, overrides),
        weights=options.weights,
        licence=options.licence,
    )
    origin = imported.provenance
    print(f"{options.source}: sha256 {origin.sha256}")
    for note in imported.notes:
        print(f"note: {note}")
    print(f"{imported.tensors} tensors, {imported.parameters:,} parameters ({origin.weights})")
    print(f"licence of these weights: {origin.licence}")
    restore = f"i2sb-restore --model {shlex.quote(workdir)} … restores with it"
    if origin.is_initial:
        restore = "it restores nothing yet (of a trained bridge say --weights ema)"
    train = f"i2sb-train … {shlex.quote(f'--config.training.init_from={workdir}')} starts from it"
    print(f"{workdir} is a model folder: {restore}, {train}")


def _config(options: argparse.Namespace, overrides: list[str]) -> Config:
    """That of the task; without one, that of the export in which the source lies."""
    beside = epath.Path(options.source).parent
    if options.task is None:
        if overrides or not (beside / "config.json").exists():
            raise ValueError(f"--task is missing, and only the file of an export has it: {_USAGE}")
        return config_lib.load(beside)
    given = [f"--config={task_file(options.task)}", f"--workdir={options.workdir}", *overrides]
    return config_file.parse(given, program="i2sb-import", usage=_USAGE)[0]


def _parser() -> argparse.ArgumentParser:
    path = os.path.expanduser
    parser = startup.Parser(
        prog="i2sb-import",
        description=__doc__.partition("\n")[0],
        epilog="--config.KEY=VALUE overrides the task's configuration, as for i2sb-train",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--source", required=True, type=path, help="ADM's .pt, I²SB's latest.pt, or an export")
    tasks = f"{', '.join(TASKS)}, or a config file; an export's adm.safetensors needs none"
    add("--task", help=tasks)
    add("--workdir", required=True, type=path, help="a new folder for the model")
    which = "of latest.pt, default: ema; or says that one state dict is a trained bridge, not ADM's"
    add("--weights", choices=WEIGHTS, help=which)
    add("--licence", help="of the weights, where it is not the usual one")
    return parser


if __name__ == "__main__":
    main()
