"""i2sb-train --dry-run: what a step computes, holds and exchanges, before any device is bought.

    i2sb-train --config configs/imagenet256/sr4x_pool.py --dry-run [--topology cpu:8 | v5e:4x4 …]

Compiles the step for the devices of this machine, or for those that --topology names, and prints
the compiler's account of it. Nothing is allocated, no data is read. Bytes are those of the compiler
asked: only a TPU topology's are a TPU's.
"""

from typing import Any

import jax

from i2sb_jax.accelerators import topologies
from i2sb_jax.cli import config_file, startup
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import dry_run, report

_USAGE = "use --config FILE [--config.KEY=VALUE …] --dry-run [--topology cpu:8 | v5e:4x4 …]"


def add_options(place: Any) -> None:
    """Adds the options of a dry run to a parser, or to a group of one."""
    place.add_argument(
        "--dry-run",
        action="store_true",
        help="Print what a step computes, holds and exchanges, and stop.",
    )
    place.add_argument(
        "--topology",
        help="Devices that it is compiled for: cpu:8, v5e:4x4 … Default: this machine's.",
    )


def main(arguments: list[str]) -> int:
    """Prints the account; 1 where the step does not fit the devices that the compiler knows."""
    parser = startup.Parser(prog="i2sb-train", allow_abbrev=False, add_help=False)
    add_options(parser)
    options, rest = parser.parse_known_args(arguments)
    config, _ = config_file.parse(rest, program="i2sb-train", usage=_USAGE, needs_workdir=False)
    if options.topology is None:
        topologies.check_accelerator_visible()
        devices = jax.devices()
    else:
        devices = topologies.described_devices(options.topology)
    run = Run(config, devices)
    try:
        found = dry_run(run)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        print("does not fit:", _reason(str(error)))
        return 1
    print(report(run, found))
    if devices[0].platform == "cpu":
        print("these bytes are the CPU compiler's: --topology v5e:4x4 asks a TPU's")
    return 0


def _reason(text: str) -> str:
    """The compiler's own line about memory."""
    lines = [line.strip() for line in text.splitlines() if " of " in line]
    return (lines or text.splitlines())[0]
