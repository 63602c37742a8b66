"""i2sb-export: a run's weights with their configuration and a model card, to be passed on."""

import argparse

from i2sb_jax.cli import startup
from i2sb_jax.interop import export_model
from i2sb_jax.interop.export import LAYOUTS
from i2sb_jax.interop.hub import check_can_push, push_folder


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    if options.push:
        check_can_push(options.push)
    provenance = export_model(
        options.workdir,
        options.output,
        layout=options.format,
        address=f"hf://{options.push}" if options.push else None,
    )
    print(f"{options.workdir} written to {options.output}; its README.md describes the model")
    if provenance is None:
        print("the weights carry no licence of a source: state yours in README.md")
    else:
        print(f"it carries {provenance}")
    if options.push:
        print(f"pushed to {push_folder(options.output, options.push)} (private where it is new)")


def _parser() -> argparse.ArgumentParser:
    parser = startup.Parser(prog="i2sb-export", description=__doc__)
    parser.add_argument("--workdir", required=True, help="the run's folder, or a model folder")
    parser.add_argument("--output", required=True, help="a new folder")
    parser.add_argument(
        "--format",
        choices=LAYOUTS,
        default="i2sb",
        help="adm: names and layouts of guided-diffusion, for PyTorch",
    )
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload it to the Hugging Face hub")
    return parser
