"""i2sb-restore: restores every picture of a folder with a trained run.

i2sb-restore --workdir RUN --input PICTURES --output OUT [--nfe K] [--degrade] [--seed S]
"""

import argparse

from i2sb_jax.cli import startup
from i2sb_jax.restoration.folder import SHEET, Outcome, restore_folder


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    startup.prepare_jax()
    outcome = restore_folder(
        options.workdir,
        options.input,
        options.output,
        nfe=options.nfe,
        sampler=options.sampler,
        seed=options.seed,
        clip=True if options.clip else None,
        degrade=options.degrade,
    )
    _report(outcome, options.output)
    return 1 if outcome.unreadable else 0


def _parser() -> argparse.ArgumentParser:
    parser = startup.Parser(
        prog="i2sb-restore", description="Restores every picture of a folder with a trained run."
    )
    parser.add_argument("--workdir", required=True, help="the run's folder, or a model folder")
    parser.add_argument("--input", required=True, help="folder of pictures")
    parser.add_argument("--output", required=True, help="folder for PNGs of the same names")
    parser.add_argument("--nfe", type=int, default=10, help="network evaluations (default 10)")
    parser.add_argument("--sampler", help="ddpm (SDE) or ode (OT-ODE); default: the run's")
    parser.add_argument("--seed", type=int, default=0, help="of all noise (default 0)")
    parser.add_argument("--clip", action="store_true", help="clip every predicted X_0 to [-1, 1]")
    parser.add_argument(
        "--degrade",
        action="store_true",
        help="take clean pictures: cut them to the run's size, degrade them, restore, and measure",
    )
    return parser


def _report(outcome: Outcome, output: str) -> None:
    for title, (psnr, ssim) in outcome.scores.items():
        print(f"{title:<20} PSNR {psnr:5.2f} dB   SSIM {ssim:.4f}")
    print(f"{outcome.restored} pictures restored into {output}; see {output}/{SHEET}")
    if outcome.unreadable:
        print(f"{len(outcome.unreadable)} pictures could not be read and were left out")
