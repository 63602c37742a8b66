"""What all benchmarks share beside their clock: facts of the machine, flags, files of results."""

import argparse
import json
import os
import pathlib
import platform
from typing import Any

import jax

from experiments.benchmarks import report
from experiments.benchmarks.networks import SIZES
from i2sb_jax.cli.startup import Parser
from i2sb_jax.files import write_atomically


def make_parser(doc: str) -> Parser:
    """A parser with --output and --repeats; its description is the first line of `doc`."""
    parser = Parser(description=doc.partition("\n")[0])
    parser.add_argument("--output", type=_folder, help="folder for the JSON; default: print only")
    parser.add_argument("--repeats", type=positive, default=5, help="rounds of each side")
    return parser


def add_size(parser: argparse.ArgumentParser, default: str = "cpu") -> None:
    """Adds --size."""
    parser.add_argument("--size", choices=SIZES, default=default, help="network and pictures")


def add_torch_reference(parser: argparse.ArgumentParser) -> None:
    """Adds --torch-reference, a folder that must hold guided-diffusion."""
    parser.add_argument(
        "--torch-reference", type=_checkout, metavar="DIR",
        help="a checkout of github.com/openai/guided-diffusion (MIT), for PyTorch's side",
    )  # fmt: skip


def facts() -> dict[str, Any]:
    """What the numbers are of."""
    return {
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def finish(name: str, found: dict[str, Any], *, output: pathlib.Path | None) -> None:
    """Prints results as tables, and writes them as `output`/`name`.json."""
    found = {"machine": facts(), **found}
    print(report.text(name, found))
    if output is not None:
        text = json.dumps(found, indent=2, ensure_ascii=False)
        write_atomically(output / f"{name}.json", f"{text}\n".encode())


def _processor() -> str:
    """The processor's name, where Linux tells it."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _folder(text: str) -> pathlib.Path:
    path = pathlib.Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path


def _checkout(text: str) -> str:
    path = pathlib.Path(text).expanduser()
    if not (path / "guided_diffusion" / "unet.py").is_file():
        raise argparse.ArgumentTypeError(f"{text} holds no guided_diffusion/unet.py")
    return str(path.resolve())


def positive(text: str) -> int:
    """An argument that counts something."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} must be a positive integer")
    return int(text)
