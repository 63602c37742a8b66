"""i2sb-prepare: writes any source of pictures as a few array_record files for training."""

import argparse
import os
import sys

from i2sb_jax.cli import startup
from i2sb_jax.config import SOURCES
from i2sb_jax.data import open_source
from i2sb_jax.files import require_new_folder


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
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


def _parser() -> argparse.ArgumentParser:
    path = os.path.expanduser
    parser = startup.Parser(prog="i2sb-prepare", description=__doc__)
    add = parser.add_argument
    add("--source", choices=SOURCES, default="folder", help="kind of pictures")
    add("--path", type=path, default="", help="folder of pictures, records, or TFDS data_dir")
    add("--tfds_name", default="", help="builder, for --source tfds")
    add("--split", default="train", help="of photos (train, eval) or of TFDS")
    add("--output", type=path, required=True, help="a new directory for the records")
    add("--shards", type=int, default=0, help="files; 0: about 1000 pictures each")
    return parser


if __name__ == "__main__":
    main()
