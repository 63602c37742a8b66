"""i2sb-train --dry-run: what a step computes, holds and exchanges, before any device is bought.

    i2sb-train --config configs/imagenet256/sr4x_pool.py --dry-run [--topology h100:8 | v5e:4x4 …]

Compiles the step for the devices of this machine, or for those that --topology names, and prints
the compiler's account of it. Nothing is allocated, no data is read. Bytes are those of the compiler
asked: only a TPU topology's are a TPU's. A GPU's compiler does not choose algorithms without the
GPU, and knows no bound of memory: what JAX takes of the GPU's is compared here.
"""

from typing import Any

import jax

from i2sb_jax.accelerators import topologies
from i2sb_jax.accelerators.memory import is_out_of_memory
from i2sb_jax.cli import config_file, startup
from i2sb_jax.run import Run
from i2sb_jax.training.dry_run import dry_run, report, room_on_gpu
from i2sb_jax.training.kept import check_new, save_program

_USAGE = "use --config FILE [--config.KEY=VALUE …] --dry-run [--topology h100:8 | v5e:4x4 …]"


def add_options(place: Any) -> None:
    """Adds the options of a dry run to a parser, or to a group of one."""
    place.add_argument(
        "--dry-run",
        action="store_true",
        help="Print what a step computes, holds and exchanges, and stop.",
    )
    place.add_argument(
        "--topology",
        help="Devices that it is compiled for: h100:8, h100:2x8 (hosts × GPUs), v5e:4x4, cpu:8 … "
        "Default: this machine's.",
    )
    place.add_argument(
        "--target-config",
        metavar="FILE",
        help="Description of another GPU (XLA's GpuTargetConfigProto as text), for --topology "
        "gpu:8.",
    )
    place.add_argument(
        "--save-program",
        metavar="FILE",
        help="Keep the step as a program that JAX loads, on as many devices of the kind.",
    )


def main(arguments: list[str]) -> int:
    """Prints the account; 1 where the step does not fit the devices."""
    parser = startup.Parser(prog="i2sb-train", allow_abbrev=False, add_help=False)
    add_options(parser)
    options, rest = parser.parse_known_args(arguments)
    config, _ = config_file.parse(rest, program="i2sb-train", usage=_USAGE, needs_workdir=False)
    if options.save_program is not None:
        check_new(options.save_program)  # before minutes of compiling
    if options.topology is None:
        if options.target_config is not None:
            raise ValueError(
                "--target-config describes a GPU of --topology gpu:8, which is missing"
            )
        topologies.check_accelerator_visible()
        described = topologies.Described(jax.devices())
    else:
        described = topologies.describe(options.topology, target_config=options.target_config)
    room = None if described.memory is None else room_on_gpu(described.memory)
    run = Run(config, described.devices)
    try:
        found = dry_run(run)
    except jax.errors.JaxRuntimeError as error:
        if not is_out_of_memory(error):
            raise
        print("does not fit:", _reason(str(error)))
        return 1
    print(report(run, found, room))
    if options.save_program is not None:
        print(save_program(run, options.save_program))
    if described.devices[0].platform == "cpu":
        print("these bytes are the CPU compiler's: --topology h100:8 asks a GPU's, v5e:4x4 a TPU's")
    return 1 if room and found.program.memory.total > room.bytes else 0


def _reason(text: str) -> str:
    """The compiler's own line about memory."""
    lines = [line.strip() for line in text.splitlines() if " of " in line]
    return (lines or text.splitlines())[0]
