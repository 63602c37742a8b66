"""The command line of i2sb-evaluate."""

import argparse
import dataclasses
import os

from i2sb_jax.bridge import SAMPLERS, SPACINGS
from i2sb_jax.cli import startup
from i2sb_jax.config import Config, EvaluationConfig
from i2sb_jax.evaluation.options import Options, parse_nfes


def parser(description: str) -> argparse.ArgumentParser:
    """The tool's parser; `description` is its docstring."""
    path, switch = os.path.expanduser, {"action": "store_true"}
    made = startup.Parser(prog="i2sb-evaluate", description=description.partition("\n")[0])
    add = made.add_argument
    add("--model", "--workdir", help="a run, a model folder, or a shipped model's name")
    add("--checkpoint", default="latest", help="latest, best (by training.best_metric) or a step")
    add("--data", type=path, help="folder of clean pictures; default: the run's held-out ones")
    add("--eval-data", type=path, help="where the run's data lie now: of these the held-out ones")
    add("--targets", type=path, help="of pairs: folder of targets, beside --data or --eval-data")
    add("--list", type=path, help="file of names, a line each with a label or not: these pictures")
    add("--output", type=path, help="folder for results; default: evaluation/ of a run")
    add("--nfe", help="network evaluations, such as 1,2,5,10,100; default: the run's")
    add("--sampler", help=f"{', '.join(SAMPLERS)}; default: the run's")
    add("--spacing", help=f"of its steps: {', '.join(SPACINGS)}; default: the run's")
    add("--eta", type=float, help="of --sampler implicit, 0 (ODE) to 1 (posterior)")
    add("--seed", type=int, default=0, help="of all noise and of the intervals (default 0)")
    add("--limit", type=int, default=0, help="the first so many pictures; 0: all")
    add("--batch", type=int, help="pictures a device computes at once; default: the run's")
    add("--clip", action="store_const", const=True, help="clip every predicted X_0 to [-1, 1]")
    add("--dtype", help="compute in float32 or bfloat16; default: the run's")
    add("--masks", type=path, help="the paper's .npz of freeform masks; default: the run's")
    add("--baseline", **switch, help="measure the classical repair of the task too")
    add("--png", **switch, help="write every restored picture as PNG too")
    for field in dataclasses.fields(EvaluationConfig):
        flag = f"--{field.name.replace('_', '-')}"
        add(flag, type=path, help=f"as the configuration's evaluation.{field.name}")
    add("--any-weights", **switch, help="take files of weights that are not the published ones")
    stats = {"nargs": 2, "metavar": ("PICTURES", "OUT.npz")}
    add(
        "--make-stats", type=path, **stats, help="write mean and covariance of Inception's features"
    )
    add("--image-size", type=int, default=256, help="of --make-stats: pictures are cut to it (256)")
    return made


def with_flags(config: Config, given: argparse.Namespace) -> Config:
    """The run's configuration with what the command line says otherwise.

    Raises:
        ValueError: a value that does not fit; one line.
    """
    names = [field.name for field in dataclasses.fields(EvaluationConfig)]
    files = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    changes = {"evaluation": dataclasses.replace(config.evaluation, **files)}
    if given.batch is not None:
        changes["sampling"] = dataclasses.replace(config.sampling, batch_size=given.batch)
    if given.masks is not None:
        changes["mask_file"] = given.masks
    return dataclasses.replace(config, **changes)


def chosen_options(given: argparse.Namespace) -> Options:
    """How pictures are restored and measured."""
    same = ("sampler", "spacing", "eta", "seed", "clip", "dtype", "limit", "any_weights", "png")
    nfes = parse_nfes(given.nfe) if given.nfe else ()
    return Options(nfes=nfes, **{name: getattr(given, name) for name in same})
