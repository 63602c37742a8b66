"""i2sb-prepare: writes any source of pictures as a few array_record files for training."""

import os
import sys

from i2sb_jax.cli import startup
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.config import SOURCES
from i2sb_jax.data import open_source
from i2sb_jax.files import require_new_folder


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    output = require_new_folder(options.output)  # before a large source is listed
    source = open_source(
        options.source,
        path=options.path,
        split=options.split,
        tfds_name=options.tfds_name,
        tell=_warn,
    )
    # Imported late: the extra `train` is needed for this alone.
    from i2sb_jax.data.records import write_records

    write_records(
        source,
        output,
        num_shards=options.shards or -(-len(source) // 1000),
        report=_warn,
    )
    print(f"{len(source)} pictures in {output}; train with data.source=records, data.path={output}")


def _warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


def parser() -> ToolParser:
    """Returns the tool's parser."""
    path = os.path.expanduser
    made = ToolParser(
        prog="i2sb-prepare",
        usage="[--source KIND] --path FOLDER --output DIR [options]",
        description=__doc__,
        examples=(
            Example(
                "i2sb-prepare --path PHOTOGRAPHS --output records",
                "Write all pictures below a folder as records.",
            ),
            Example(
                "i2sb-prepare --source tfds --tfds-name cifar10 --split test --output records",
                "Write one split of a TFDS builder as records.",
            ),
        ),
        former={"--tfds_name": "--tfds-name"},
    )
    add = made.add_argument_group("pictures").add_argument
    kinds = f"Kind of source: {', '.join(SOURCES)}. Default: folder."
    add("--source", choices=SOURCES, default="folder", metavar="KIND", help=kinds)
    add("--path", type=path, default="", help="Folder of the pictures, or data_dir of TFDS.")
    add("--tfds-name", default="", metavar="NAME", help="The builder, for --source tfds.")
    add(
        "--split", default="train", help="Split of photos (train, eval) or of TFDS. Default: train."
    )
    add = made.add_argument_group("records").add_argument
    add("--output", type=path, required=True, metavar="DIR", help="A new folder for the records.")
    add("--shards", type=int, default=0, help="Number of files. Default: one a thousand pictures.")
    return made


if __name__ == "__main__":
    main()
