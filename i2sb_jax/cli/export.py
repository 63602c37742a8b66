"""i2sb-export: writes a run's weights with configuration and model card, to be passed on."""

import argparse
import os
import shlex
import tempfile
from collections.abc import Callable

from i2sb_jax.bridge import SAMPLERS, SPACINGS
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.cli import startup
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.files import is_remote, require_new_folder
from i2sb_jax.interop import export_model, load_model_folder, read_provenance
from i2sb_jax.interop.export import LAYOUTS
from i2sb_jax.interop.hub import check_can_push, push_folder

PROGRAMS = ("jax", "onnx")  # the formats that are no layout of weights


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    _check_format(options)
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
    if options.format in PROGRAMS:
        _export_programs(options, output)
        return
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


def _check_format(options: argparse.Namespace) -> None:
    """Raises ValueError, in one line, where an option is of the other kind of format."""
    if options.format in PROGRAMS:
        if options.push:
            raise ValueError(
                f"--push {options.push}: weights go to the hub, not --format {options.format}"
            )
        return
    for name in ("nfe", "sampler", "spacing", "tile", "batch"):
        if (value := getattr(options, name)) is not None:
            right = " or ".join(PROGRAMS)
            raise ValueError(f"--{name} {value} is for --format {right}, not {options.format}")


def _export_programs(options: argparse.Namespace, output: str) -> None:
    # imported late: weights alone need neither a network nor a device
    from i2sb_jax.restoration.programs import save_programs
    from i2sb_jax.run import restoring_run

    if options.batch is not None and options.batch < 1:
        raise ValueError(f"--batch {options.batch} must be at least 1")
    is_onnx = options.format == "onnx"
    save = _onnx_saver() if is_onnx else save_programs
    require_new_folder(output)  # before minutes of tracing
    startup.prepare_jax()
    config, params = load_model_folder(options.model, checkpoint=options.checkpoint)
    chosen = config.choose_sampling(
        nfe=options.nfe, sampler=options.sampler, spacing=options.spacing
    )
    run = restoring_run(config, dtype="float32" if is_onnx else None)
    provenance = read_provenance(options.model)
    save(
        run, params, output, sampling=chosen, tile=options.tile, batch=options.batch,
        provenance=provenance,
    )  # fmt: skip
    print(f"{options.model} written to {output} as programs; its README.md says how to run them")
    if provenance is not None:
        print(f"they carry {provenance}")


def _onnx_saver() -> Callable[..., None]:
    """Returns `save_onnx`.

    Raises:
        ValueError: a package that it needs is missing.
    """
    try:
        from i2sb_jax.restoration.onnx_programs import save_onnx
    except ModuleNotFoundError as error:
        if error.name not in ("onnx", "onnxruntime"):
            raise
        raise ValueError(
            f"--format onnx needs {error.name}: pip install 'i2sb_jax[onnx]'"
        ) from None
    return save_onnx


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
                "i2sb-export --model deblur --format jax --nfe 1 --output deblur-programs",
                "Write programs that restore pictures where JAX is installed, and nothing else.",
            ),
            Example(
                "i2sb-export --model deblur --format onnx --nfe 1 --output deblur-onnx",
                "Write programs for onnxruntime, or whatever else runs ONNX.",
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
        choices=(*LAYOUTS, *PROGRAMS),
        default="i2sb",
        help="Weights by this library's names (i2sb, the default) or, for PyTorch, by "
        "guided-diffusion's (adm); or programs that JAX alone runs (jax), or any ONNX runtime "
        "(onnx, float32).",
    )
    add(
        "--push",
        metavar="OWNER/NAME",
        help="Upload to the Hugging Face hub. Where that failed, the same command without --output "
        "uploads again, by a temporary folder.",
    )
    add = made.add_argument_group("programs (--format jax or onnx)").add_argument
    add("--nfe", type=int, help="Network evaluations. Default: the run's.")
    add("--sampler", help=f"One of {', '.join(SAMPLERS)}. Default: the run's.")
    add("--spacing", help=f"Spacing of the steps: {', '.join(SPACINGS)}. Default: the run's.")
    add("--tile", type=int, metavar="SIDE", help="Side of windows. Default: any, if it may be.")
    add("--batch", type=int, metavar="N", help="Windows a call. Default: any number.")
    return made


if __name__ == "__main__":
    main()
