"""The command line of i2sb-evaluate."""

import argparse
import dataclasses
import os

from i2sb_jax.bridge import SAMPLERS, SPACINGS
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.config import Config, EvaluationConfig
from i2sb_jax.evaluation.options import Options, parse_nfes


def parser() -> ToolParser:
    """Returns the tool's parser."""
    path, switch = os.path.expanduser, {"action": "store_true"}
    made = ToolParser(
        prog="i2sb-evaluate",
        usage="--model NAME|RUN [--data CLEAN] [--output DIR] [options]",
        description="i2sb-evaluate: measures a trained run, and shows what it does.",
        examples=(
            Example(
                "i2sb-evaluate --model runs/mine --nfe 1,2,5,10 --baseline",
                "Measure a run on its held-out pictures at four numbers of evaluations.",
            ),
            Example(
                "i2sb-evaluate --make-stats PICTURES OUT.npz --inception pt_inception.pth",
                "Write what the FID compares with: the statistics of a folder of pictures.",
            ),
        ),
        former={"--workdir": "--model"},
    )
    add = made.add_argument_group("model and pictures").add_argument
    add("--model", help="A run, a model folder or a shipped model.")
    add("--checkpoint", default=LATEST, help="Checkpoint: latest, best or a step. Default: latest.")
    add("--data", type=path, help="A folder of clean pictures. Default: the run's held-out ones.")
    add("--eval-data", type=path, help="The place where the run's data lie now, if they moved.")
    add(
        "--targets",
        type=path,
        help="A folder of the targets of pairs, beside --data or --eval-data.",
    )
    add(
        "--list",
        type=path,
        help="A file that names the pictures, a line each, with labels or not.",
    )
    add("--limit", type=int, default=0, help="Number of pictures, from the first on. Default: all.")
    add("--masks", type=path, help="The paper's .npz of freeform masks. Default: the run's.")
    add = made.add_argument_group("sampling").add_argument
    add("--nfe", help="Network evaluations, such as 1,2,5,10,100. Default: the run's.")
    add("--sampler", help=f"One of {', '.join(SAMPLERS)}. Default: the run's.")
    add("--spacing", help=f"Spacing of the steps: {', '.join(SPACINGS)}. Default: the run's.")
    add("--eta", type=float, help="Noise of --sampler implicit, 0 (ODE) to 1 (posterior).")
    add("--seed", type=int, default=0, help="Seed of all noise and of the intervals. Default: 0.")
    add("--clip", action="store_const", const=True, help="Clip every predicted X_0 to [-1, 1].")
    add(
        "--consistency",
        nargs="?",
        const="projection",
        metavar="METHOD",
        help="Correct results to agree with X_1: projection (default) or gradient.",
    )
    add(
        "--realism",
        type=float,
        metavar="R",
        help="Between the first prediction (0) and the end of the walk (1). Default: the run's.",
    )
    add("--dtype", help="Compute in float32 or bfloat16. Default: the run's.")
    add("--batch", type=int, help="Pictures that a device computes at once. Default: the run's.")
    add = made.add_argument_group("metrics").add_argument
    add("--baseline", **switch, help="Measure the classical repair of the task too.")
    for field in dataclasses.fields(EvaluationConfig):
        help_text = f"A file: {field.metadata['meaning']}. Default: evaluation.{field.name}."
        add(f"--{field.name.replace('_', '-')}", type=path, metavar="FILE", help=help_text)
    add("--any-weights", **switch, help="Take files of weights that are not the published ones.")
    add = made.add_argument_group("results").add_argument
    add("--output", type=path, metavar="DIR", help="A folder. Default: evaluation/ of the run.")
    add("--png", **switch, help="Write every restored picture as PNG too.")
    add = made.add_argument_group("statistics, in place of an evaluation").add_argument
    stats = {"nargs": 2, "metavar": ("PICTURES", "OUT.npz")}
    add(
        "--make-stats",
        type=path,
        **stats,
        help="Write mean and covariance of Inception's features.",
    )
    add("--image-size", type=int, default=256, help="Side that pictures are cut to. Default: 256.")
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
    same = ("sampler", "spacing", "eta", "seed", "clip", "consistency", "realism", "dtype")
    same += ("limit", "any_weights", "png")
    nfes = parse_nfes(given.nfe) if given.nfe else ()
    return Options(nfes=nfes, **{name: getattr(given, name) for name in same})
