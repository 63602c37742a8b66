"""i2sb-export: writes a run's weights with configuration and model card, to be passed on."""

import argparse
import os
import shlex
import tempfile

from i2sb_jax.checkpoint import LATEST
from i2sb_jax.cli import startup
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.files import is_remote
from i2sb_jax.interop import export_model
from i2sb_jax.interop.export import LAYOUTS
from i2sb_jax.interop.hub import check_can_push, push_folder


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    if options.push:
        check_can_push(options.push)
        if options.output and is_remote(options.output):
            raise ValueError(f"--output {options.output}: --push uploads a local folder")
    elif not options.output:
        raise ValueError("--output is missing: name a new folder, or a repository by --push")
    if options.output:
        _export(options, options.output)
    else:
        with tempfile.TemporaryDirectory() as folder:
            _export(options, folder)


def _export(options: argparse.Namespace, output: str) -> None:
    provenance = export_model(
        options.model,
        output,
        layout=options.format,
        address=f"hf://{options.push}" if options.push else None,
        checkpoint=options.checkpoint,
    )
    if options.output:
        print(f"{options.model} written to {output}; its README.md describes the model")
    if provenance is None:
        print("the weights carry no licence of a source: state yours in README.md")
    else:
        print(f"it carries {provenance}")
    if options.push:
        try:
            address = push_folder(output, options.push)
        except ValueError as error:
            again = ["i2sb-export", "--model", options.model, "--format", options.format]
            again += ["--checkpoint", options.checkpoint, "--push", options.push]
            again = shlex.join(again)
            raise ValueError(f"{error}; to try again without --output: {again}") from error
        print(f"pushed to {address} (private where it is new)")


def parser() -> ToolParser:
    """Returns the tool's parser."""
    path = os.path.expanduser
    made = ToolParser(
        prog="i2sb-export",
        usage="--model NAME|RUN [--output DIR] [--push OWNER/NAME] [options]",
        description=__doc__,
        examples=(
            Example(
                "i2sb-export --model runs/mine --output model --checkpoint best",
                "Write the weights of the best checkpoint, their configuration and a model card.",
            ),
            Example(
                "i2sb-export --model runs/mine --format adm --push OWNER/NAME",
                "Upload the weights by the names of guided-diffusion, for PyTorch.",
            ),
        ),
        former={"--workdir": "--model"},
    )
    add = made.add_argument_group("model").add_argument
    add("--model", required=True, type=path, help="A run, a model folder or a shipped model.")
    add("--checkpoint", default=LATEST, help="Checkpoint: latest, best or a step. Default: latest.")
    add = made.add_argument_group("result").add_argument
    add("--output", type=path, metavar="DIR", help="A new folder. With --push it may be left out.")
    add(
        "--format",
        choices=LAYOUTS,
        default="i2sb",
        help="Names and layouts of weights: this library's, or for PyTorch guided-diffusion's. "
        "Default: i2sb.",
    )
    add(
        "--push",
        metavar="OWNER/NAME",
        help="Upload to the Hugging Face hub. Where that failed, the same command without --output "
        "uploads again, by a temporary folder.",
    )
    return made


if __name__ == "__main__":
    main()
