"""i2sb-export: a run's weights with their configuration and a model card, to be passed on."""

import argparse
import os
import shlex
import tempfile

from i2sb_jax.cli import startup
from i2sb_jax.files import is_remote
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
        options.workdir,
        output,
        layout=options.format,
        address=f"hf://{options.push}" if options.push else None,
        checkpoint=options.checkpoint,
    )
    if options.output:
        print(f"{options.workdir} written to {output}; its README.md describes the model")
    if provenance is None:
        print("the weights carry no licence of a source: state yours in README.md")
    else:
        print(f"it carries {provenance}")
    if options.push:
        try:
            address = push_folder(output, options.push)
        except ValueError as error:
            again = ["i2sb-export", "--workdir", options.workdir, "--format", options.format]
            again += ["--checkpoint", options.checkpoint, "--push", options.push]
            again = shlex.join(again)
            raise ValueError(f"{error}; to try again without --output: {again}") from error
        print(f"pushed to {address} (private where it is new)")


def _parser() -> argparse.ArgumentParser:
    path = os.path.expanduser
    parser = startup.Parser(prog="i2sb-export", description=__doc__)
    add = parser.add_argument
    add("--workdir", "--model", required=True, type=path, help="a run, a model folder or name")
    add("--checkpoint", default="latest", help="latest, best (by training.best_metric) or a step")
    add("--output", type=path, help="a new folder; with --push it may be left out")
    add(
        "--format",
        choices=LAYOUTS,
        default="i2sb",
        help="adm: names and layouts of guided-diffusion, for PyTorch",
    )
    add(
        "--push",
        metavar="OWNER/NAME",
        help="upload it to the Hugging Face hub; where that failed, the same command without "
        "--output uploads again, by a temporary folder",
    )
    return parser


if __name__ == "__main__":
    main()
