"""The help of i2sb-train: its options, the keys that are changed most, and the config files."""

import ast
import dataclasses
import pathlib
import textwrap
from collections.abc import Iterator

from i2sb_jax.cli.dry_run import add_options
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.cli.tasks import base_file
from i2sb_jax.config import Config

KEYS = (
    *("corruption", "image_size", "seed"),
    *("data.source", "data.path"),
    *("training.num_steps", "training.batch_size", "training.accumulation_steps"),
    *("training.init_from", "training.best_metric", "optimizer.learning_rate"),
    *("model.dtype", "model.remat", "mesh.fsdp"),
)
_WIDTH = 96


def parser() -> ToolParser:
    """Returns a parser for the help; the options are read by `config_file.parse`."""
    made = ToolParser(
        prog="i2sb-train",
        usage="--config FILE --workdir DIR [--config.KEY=VALUE …] | --config FILE --dry-run",
        description="i2sb-train: trains a bridge from a config file, or goes on with its training.",
        examples=(
            Example(
                "i2sb-train --config configs/folder.py --workdir runs/mine "
                "--config.data.path=PHOTOGRAPHS",
                "Train on a folder of photographs; the same command continues a stopped run.",
            ),
            Example(
                "i2sb-train --config configs/imagenet256/sr4x_pool.py --dry-run --topology v5e:4x4",
                "Ask the compiler what a step takes on sixteen TPU chips, before there are any.",
            ),
        ),
        more="\n\n".join([_keys(), _configs(), _AFTER]),
    )
    add = made.add_argument_group("run").add_argument
    add("--config", metavar="FILE", help="The config file, a Python program.")
    add("--workdir", metavar="DIR", help="The run's folder, new or to be continued.")
    add_options(made.add_argument_group("before a run"))
    return made


_AFTER = """\
watching a run:
  tensorboard --logdir RUN/tensorboard

exit status:
  0 the last step is reached, 75 stopped by SIGTERM and saved, or another process is lost, 2 a
  mistake in what was asked for or a full disk, 3 a loss is not finite"""


def _keys() -> str:
    lines = ["keys, by --config.KEY=VALUE (python -m i2sb_jax.config prints all):"]
    for key in KEYS:
        lines += textwrap.wrap(
            meaning(key), _WIDTH, initial_indent=f"  {key:<29}", subsequent_indent=" " * 31
        )
    return "\n".join(lines)


def meaning(key: str) -> str:
    """Returns what a key of the configuration means, as its field says it."""
    *sections, name = key.split(".")
    cls = Config
    for section in sections:
        cls = {field.name: field.type for field in dataclasses.fields(cls)}[section]
    return {field.name: field for field in dataclasses.fields(cls)}[name].metadata["meaning"]


def _configs() -> str:
    folder = pathlib.Path(base_file()).parent
    lines = [f"configs, files of {folder}:"]
    for name, summary in config_files(folder):
        lines += textwrap.wrap(
            summary, _WIDTH, initial_indent=f"  {name:<38}", subsequent_indent=" " * 40
        )
    return "\n".join(lines)


def config_files(folder: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Yields name and first line of each config below a folder; none is executed."""
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        if any(isinstance(x, ast.FunctionDef) and x.name == "get_config" for x in tree.body):
            summary = (ast.get_docstring(tree) or "").partition("\n")[0]
            yield path.relative_to(folder).as_posix(), summary
