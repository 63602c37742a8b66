"""i2sb-import: published PyTorch weights, ADM's or I²SB's, as a model folder of this library.

    i2sb-import --source FILE --task NAME --workdir RUN [--weights ema|net] [--config.KEY=VALUE …]

i2sb-restore takes the folder as its --workdir, i2sb-train as --config.training.init_from.
"""

import argparse
import re

from etils import epath

from i2sb_jax.cli import config_file, startup
from i2sb_jax.config import nearest
from i2sb_jax.interop import import_weights
from i2sb_jax.interop.convert import INITIAL
from i2sb_jax.interop.i2sb import WEIGHTS

_USAGE = (
    "use --source FILE --task NAME --workdir RUN [--weights ema|net] [--licence TEXT] "
    "[--config.KEY=VALUE …]"
)
# beside the package in a clone, and in an installation too
_CONFIGS = epath.Path(__file__).parents[2] / "configs"
_TASKS = _CONFIGS / "imagenet256"


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options, overrides = _parser().parse_known_args(arguments)
    given = [f"--config={_overlay(options.task)}", f"--workdir={options.workdir}", *overrides]
    config, workdir = config_file.parse(given, program="i2sb-import", usage=_USAGE)
    imported = import_weights(
        options.source, workdir, config, weights=options.weights, licence=options.licence
    )
    origin = imported.provenance
    print(f"{options.source}: sha256 {origin.sha256}")
    print(f"{imported.tensors} tensors, {imported.parameters:,} parameters ({origin.weights})")
    print(f"licence of these weights: {origin.licence}")
    use = f"i2sb-train … --config.training.init_from={workdir} starts from it"
    if origin.weights != INITIAL:
        use = f"i2sb-restore --workdir {workdir} restores with it, {use}"
    print(f"{workdir} is a model for {config.corruption}: {use}")


def _parser() -> argparse.ArgumentParser:
    parser = startup.Parser(
        prog="i2sb-import",
        description=__doc__.partition("\n")[0],
        epilog="--config.KEY=VALUE overrides the task's configuration, as for i2sb-train",
        allow_abbrev=False,
    )
    parser.add_argument("--source", required=True, help="ADM's .pt or I²SB's latest.pt")
    parser.add_argument("--task", required=True, help=f"{', '.join(_tasks())}, or a config file")
    parser.add_argument("--workdir", required=True, help="a new folder for the model")
    parser.add_argument("--weights", choices=WEIGHTS, help="of latest.pt; default: ema")
    parser.add_argument("--licence", help="of the weights, where it is not the usual one")
    return parser


def _tasks() -> list[str]:
    files = _TASKS.glob("*.py")  # among them what the tasks have in common
    return sorted(path.stem for path in files if "def get_config(" in path.read_text())


def _overlay(task: str) -> epath.Path:
    """The config file of a task, by its own name or its corruption's."""
    if task.endswith(".py"):
        return epath.Path(task).expanduser()
    if "/" in task and (_CONFIGS / f"{task}.py").is_file():
        return _CONFIGS / f"{task}.py"
    plain = re.sub("[-_]", "", task)
    for name in _tasks():
        if name.replace("_", "") == plain:
            return _TASKS / f"{name}.py"
    raise ValueError(f"--task {task} is not known: {nearest(task, tuple(_tasks()))}")
