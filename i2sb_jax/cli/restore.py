"""i2sb-restore: restores pictures of any size and kind with a shipped model or a trained run.

i2sb-restore [--model NAME|RUN] --input PICTURES --output OUT [--nfe K] [--preview] …
"""

import argparse
import dataclasses
import os

from i2sb_jax.bridge import SAMPLERS, SPACINGS
from i2sb_jax.cli import startup
from i2sb_jax.cli.shipped import ListModels
from i2sb_jax.pictures import FORMATS
from i2sb_jax.restoration.folder import Outcome, restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_file import names_file


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> int:
    given = _parser().parse_args(arguments)
    options = Options(**{f.name: getattr(given, f.name) for f in dataclasses.fields(Options)})
    model = given.workdir or _chosen(given.input, options)
    startup.prepare_jax()
    outcome = restore_folder(model, given.input, given.output, options)
    _report(outcome, given.output)
    return 1 if outcome.unreadable else 0


def _chosen(pictures: str, options: Options) -> str:
    """Returns the shipped model for pictures; what looks at them needs SciPy, slow to import."""
    from i2sb_jax.restoration.choice import choose_for

    return choose_for(pictures, options)


def _parser() -> argparse.ArgumentParser:
    parser = startup.Parser(prog="i2sb-restore", description=__doc__.partition("\n")[0])
    add, switch = parser.add_argument, {"action": "store_true"}
    add("--workdir", "--model", help="a shipped model, a run or a model folder; default: what fits")
    add("--list-models", action=ListModels, help="say which models are shipped, and stop")
    add("--input", required=True, help="folder of pictures, or one picture")
    add("--output", required=True, help="folder for results, or of one picture a file, x.png")
    add("--checkpoint", default="latest", help="latest, best (by training.best_metric) or a step")
    add("--nfe", type=int, help="network evaluations; default: the run's")
    add("--sampler", help=f"{', '.join(SAMPLERS)}; default: the run's")
    add("--spacing", help=f"of its steps: {', '.join(SPACINGS)}; default: the run's")
    add("--eta", type=float, help="of --sampler implicit, 0 (ODE) to 1 (posterior)")
    add("--seed", type=int, default=0, help="of all noise (default 0)")
    add("--clip", action="store_const", const=True, help="clip every predicted X_0 to [-1, 1]")
    add("--dtype", help="compute in float32 or bfloat16; default: the run's")
    add("--tile", type=int, help="side in pixels of the windows pictures are cut into")
    add("--overlap", type=int, help="pixels that tiles share; default: by the network, as --tile")
    add("--masks", help="a mask picture (white = hole), a folder of them, or the paper's .npz")
    add("--member", help="of a run on a mixture: the corruption that the pictures suffered from")
    add("--strength", type=float, default=1.0, help="0 to 1: how much of the change to take")
    add("--samples", type=int, default=1, help="restore so often; write mean and deviation")
    add("--trajectory", **switch, help="write the states on the way as a strip too")
    add("--format", default="png", help=f"of results: {', '.join(FORMATS)} (default png)")
    add("--quality", type=int, default=95, help="of results in JPEG or WebP (default 95)")
    add("--preview", **switch, help="restore one crop of the first picture, and stop")
    add("--overwrite", **switch, help="restore anew; a stopped job goes on without it")
    add(
        "--degrade",
        **switch,
        help="take clean pictures: cut them to the run's size, degrade them, restore, and measure",
    )
    add("--side-by-side", **switch, help="take the source's half of pictures that hold pairs")
    return parser


def _report(outcome: Outcome, output: str) -> None:
    for title, (psnr, ssim) in outcome.scores.items():
        print(f"{title:<20} PSNR {psnr:5.2f} dB   SSIM {ssim:.4f}")
    line = f"{_pictures(outcome.restored)} restored into {output}"
    if outcome.skipped:
        line += f", {outcome.skipped} there already"
    folder = os.path.dirname(output) or "." if names_file(output) else output
    print("; ".join([line, *(f"see {folder}/{name}" for name in outcome.written)]))
    if outcome.unreadable:
        print(f"{_pictures(len(outcome.unreadable))} could not be restored and left out")


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"


if __name__ == "__main__":
    main()
