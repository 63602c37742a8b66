"""i2sb-restore: restores pictures of any size and kind with a shipped model or a trained run.

i2sb-restore [--model NAME|RUN] --input PICTURES --output OUT [--nfe K] [--preview] …
"""

import dataclasses
import os

from i2sb_jax.accelerators.processes import Place, find_place, keep_to_own_devices
from i2sb_jax.bridge import SAMPLERS, SPACINGS
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.cli import startup
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.cli.shipped import ListModels
from i2sb_jax.pictures import FORMATS
from i2sb_jax.restoration.folder import Outcome, restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_file import names_file


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> int:
    given = parser().parse_args(arguments)
    options = Options(**{f.name: getattr(given, f.name) for f in dataclasses.fields(Options)})
    if given.share and (options.preview or names_file(given.output)):
        alone = "--preview" if options.preview else f"--output {given.output}, a file,"
        raise ValueError(f"--share is for processes that fill a folder: {alone} is of one process")
    place = find_place(os.environ) or (Place() if given.share else None)
    keep_to_own_devices(os.environ)
    model = given.model or _chosen(given.input, options)
    startup.prepare_jax()
    outcome = restore_folder(model, given.input, given.output, options, place=place)
    _report(outcome, given.output)
    return 1 if outcome.unreadable else 0


def _chosen(pictures: str, options: Options) -> str:
    """Returns the shipped model for pictures; what looks at them needs SciPy, slow to import."""
    from i2sb_jax.restoration.choice import choose_for

    return choose_for(pictures, options)


def parser() -> ToolParser:
    """Returns the tool's parser."""
    made = ToolParser(
        prog="i2sb-restore",
        usage="[--model NAME|RUN] --input PICTURES --output OUT [options]",
        description=__doc__.partition("\n")[0],
        examples=(
            Example(
                "i2sb-restore --input PHOTO.jpg --output RESTORED.png",
                "Restore one photograph with the shipped model that fits it.",
            ),
            Example(
                "i2sb-restore --model runs/mine --input BLURRED --output RESTORED --nfe 10",
                "Restore a folder with a run of your own, by ten evaluations a picture.",
            ),
        ),
        former={"--workdir": "--model"},
    )
    switch = {"action": "store_true"}
    add = made.add_argument_group("model and pictures").add_argument
    add("--model", help="A shipped model, a run or a model folder. Default: the model that fits.")
    add("--list-models", action=ListModels, help="List the shipped models, and stop.")
    add("--checkpoint", default=LATEST, help="Checkpoint: latest, best or a step. Default: latest.")
    add("--input", required=True, help="A folder of pictures, or one picture.")
    add("--output", required=True, help="A folder for results, or of one picture a file, x.png.")
    add = made.add_argument_group("degradation").add_argument
    add("--masks", help="A mask (white = hole), a folder of masks, or the paper's .npz.")
    add("--member", help="The corruption that pictures suffered from, of a run on a mixture.")
    add("--side-by-side", **switch, help="Take the source's half of pictures that hold pairs.")
    add(
        "--degrade",
        **switch,
        help="Take clean pictures: cut them to the run's size, degrade, restore and measure them.",
    )
    add = made.add_argument_group("sampling").add_argument
    add("--nfe", type=int, metavar="K", help="Network evaluations. Default: the run's.")
    add("--sampler", help=f"One of {', '.join(SAMPLERS)}. Default: the run's.")
    add("--spacing", help=f"Spacing of the steps: {', '.join(SPACINGS)}. Default: the run's.")
    add("--eta", type=float, help="Noise of --sampler implicit, 0 (ODE) to 1 (posterior).")
    add("--seed", type=int, default=0, help="Seed of all noise. Default: 0.")
    add("--clip", action="store_const", const=True, help="Clip every predicted X_0 to [-1, 1].")
    add(
        "--consistency",
        nargs="?",
        const="projection",
        metavar="METHOD",
        help="Correct results to agree with their inputs: projection (default) or gradient.",
    )
    add(
        "--operator",
        metavar="NAME",
        help="Operator that made the inputs, as bicubic; for --consistency.",
    )
    add(
        "--samples", type=int, default=1, metavar="K", help="Write mean and deviation of K results."
    )
    add(
        "--realism",
        type=float,
        metavar="R",
        help="Between the faithful mean (0) and a sharp sample (1). Default: the run's.",
    )
    add(
        "--strength",
        type=float,
        default=1.0,
        help="Share of the change to take, 0 to 1. Default: 1.",
    )
    add = made.add_argument_group("computation").add_argument
    add("--dtype", help="Compute in float32 or bfloat16. Default: the run's.")
    add(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="Side of windows. Default: as the network and the picture need.",
    )
    add(
        "--overlap",
        type=int,
        metavar="PIXELS",
        help="Pixels that windows share. Default: as the network needs.",
    )
    add(
        "--share",
        **switch,
        help="Share the pictures with other processes of this command, on any machines. Default: "
        "as a launcher says (Slurm, Kubernetes, JAX_NUM_PROCESSES).",
    )
    add = made.add_argument_group("results").add_argument
    add("--format", default="png", help=f"Format: {', '.join(FORMATS)}. Default: png.")
    add("--quality", type=int, default=95, help="Quality of JPEG and WebP, 1 to 100. Default: 95.")
    add("--trajectory", **switch, help="Write the states on the way as a strip too.")
    add("--preview", **switch, help="Restore one crop of the first picture, and stop.")
    add("--overwrite", **switch, help="Restore again what is there already.")
    return made


def _report(outcome: Outcome, output: str) -> None:
    for title, (psnr, ssim) in outcome.scores.items():
        print(f"{title:<20} PSNR {psnr:5.2f} dB   SSIM {ssim:.4f}")
    line = f"{_pictures(outcome.restored)} restored into {output}"
    if outcome.skipped:
        line += f", {outcome.skipped} there already"
    if outcome.elsewhere:
        line += f", {outcome.elsewhere} by other processes"
    folder = os.path.dirname(output) or "." if names_file(output) else output
    print("; ".join([line, *(f"see {folder}/{name}" for name in outcome.written)]))
    if outcome.unreadable:
        print(f"{_pictures(len(outcome.unreadable))} could not be restored and left out")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


if __name__ == "__main__":
    main()
