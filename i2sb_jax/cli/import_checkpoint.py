"""i2sb-import: makes a model folder of published PyTorch weights, ADM's or I²SB's.

    i2sb-import --source FILE --task NAME --workdir RUN [--weights ema|net] [--config.KEY=VALUE …]

i2sb-restore takes the folder as its --model, i2sb-train as --config.training.init_from.
"""

import argparse
import os
import shlex

from etils import epath

from i2sb_jax import config as config_lib
from i2sb_jax.cli import config_file, startup
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.cli.tasks import task_file
from i2sb_jax.config import Config
from i2sb_jax.configs.imagenet256 import TASKS
from i2sb_jax.interop import import_weights
from i2sb_jax.interop.i2sb import WEIGHTS

_SOURCE = "ADM's .pt, I²SB's latest.pt, or a file of an export."
_WEIGHTS = (
    "Which weights of latest.pt. Default: ema. Given for a file of one state dict: it is a trained "
    "bridge's, and not ADM's."
)
_USAGE = (
    "use --source FILE --task NAME --workdir RUN [--weights ema|net] [--licence TEXT] "
    "[--config.KEY=VALUE …]"
)


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options, overrides = parser().parse_known_args(arguments)
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


def parser() -> ToolParser:
    """Returns the tool's parser; what it does not know are keys of the configuration."""
    path = os.path.expanduser
    made = ToolParser(
        prog="i2sb-import",
        usage="--source FILE --task NAME --workdir DIR [options]",
        description=__doc__.partition("\n")[0],
        examples=(
            Example(
                "i2sb-import --source latest.pt --task jpeg-5 --workdir weights/jpeg5",
                "Make a model folder of I²SB's weights; i2sb-restore takes it as --model.",
            ),
            Example(
                "i2sb-import --source 256x256_diffusion_uncond.pt --task sr4x-pool --workdir adm",
                "Make initial weights of ADM's, for i2sb-train --config.training.init_from=adm.",
            ),
        ),
        more="--config.KEY=VALUE changes a key of the task's configuration, as for i2sb-train.",
        allow_abbrev=False,
    )
    add = made.add_argument_group("weights").add_argument
    add("--source", required=True, type=path, metavar="FILE", help=_SOURCE)
    add("--weights", choices=WEIGHTS, help=_WEIGHTS)
    add("--licence", metavar="TEXT", help="Licence of the weights, where it is not the usual one.")
    add = made.add_argument_group("model folder").add_argument
    tasks = (
        f"The task: {', '.join(TASKS)}, or a config file. An export's adm.safetensors needs none."
    )
    add("--task", metavar="NAME", help=tasks)
    add("--workdir", required=True, type=path, metavar="DIR", help="A new folder for the model.")
    return made


if __name__ == "__main__":
    main()
