"""i2sb-prepare: writes any source of pictures as a few array_record files for training."""

import argparse
import sys
from collections.abc import Sequence

from i2sb_jax.cli import startup
from i2sb_jax.config import SOURCES
from i2sb_jax.data import open_source
from i2sb_jax.files import require_new_folder


def _parser() -> argparse.ArgumentParser:
    parser = startup.Parser(prog="i2sb-prepare", description=__doc__)
    parser.add_argument("--source", choices=SOURCES, default="folder", help="kind of pictures")
    parser.add_argument("--path", default="", help="folder of pictures, records, or TFDS data_dir")
    parser.add_argument("--tfds_name", default="", help="builder, for --source tfds")
    parser.add_argument("--split", default="train", help="of photos (train, eval) or of TFDS")
    parser.add_argument("--output", required=True, help="a new directory for the records")
    parser.add_argument("--shards", type=int, default=0, help="files; 0: about 1000 pictures each")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: without the program's name; None takes the process's own.

    Returns:
        0, or 2 after one line on stderr that says what to change.
    """
    arguments = _parser().parse_args(argv)
    try:
        _prepare(arguments)
    except (ValueError, OSError) as error:
        print(f"i2sb-prepare: {error}", file=sys.stderr)
        return 2
    return 0


def _prepare(arguments: argparse.Namespace) -> None:
    output = require_new_folder(arguments.output)  # before a large source is listed
    source = open_source(
        arguments.source,
        path=arguments.path,
        split=arguments.split,
        tfds_name=arguments.tfds_name,
    )
    # Imported late: the extra `train` is needed for this alone.
    from i2sb_jax.data.records import write_records

    write_records(
        source,
        output,
        num_shards=arguments.shards or -(-len(source) // 1000),
        report=lambda line: print(f"i2sb-prepare: {line}", file=sys.stderr),
    )
    print(f"{len(source)} pictures in {output}; train with data.source=records, data.path={output}")


if __name__ == "__main__":
    sys.exit(main())
