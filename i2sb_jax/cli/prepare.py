"""i2sb-prepare: writes any source of pictures as a few array_record files for training."""

import os
import sys
import threading

from i2sb_jax.cli import startup
from i2sb_jax.cli.parser import Example, ToolParser
from i2sb_jax.data.shards import Columns
from i2sb_jax.data.sources import PREPARED, open_source
from i2sb_jax.data.tiled import tiled
from i2sb_jax.files import real_path
from i2sb_jax.progress import Progress

_PER_SHARD = 1000  # pictures
_SAY_EVERY = 10.0  # seconds


def main() -> None:
    """The console script."""
    startup.run(_main)


def _main(arguments: list[str]) -> None:
    options = parser().parse_args(arguments)
    columns = Columns(image=options.image_column, label=options.label_column, keys=options.keys)
    # Imported late: the extra `train` is needed for this alone.
    from i2sb_jax.data.records import check_output, write_records

    check_output(options.output)  # before a large source is listed
    source = open_source(
        options.source,
        path=options.path,
        split=options.split,
        tfds_name=options.tfds_name,
        columns=columns,
        tell=_warn,
    )
    if options.tiles:
        source = tiled(source, options.tiles)
    made_of = {
        "source": options.source,
        "path": real_path(options.path) if options.path else "",
        "tfds_name": options.tfds_name,
        "tiles": options.tiles,
        **columns._asdict(),
    }
    if options.source in ("photos", "tfds", "parquet", "webdataset"):
        made_of["split"] = options.split
    with Progress(len(source), unit="picture") as progress:
        lock = threading.Lock()

        def count() -> None:
            with lock:
                progress.advance()
                progress.say("", at_most_every=_SAY_EVERY)

        broken = write_records(
            source,
            options.output,
            num_shards=options.shards or -(-len(source) // _PER_SHARD),
            report=_warn,
            made_of={key: value for key, value in made_of.items() if value},
            workers=options.workers,
            on_picture=count,
        )
    pictures = f"{len(source)} {'tiles' if options.tiles else 'pictures'}"
    if broken:
        pictures += f" ({broken} of them broken)"
    print(
        f"{pictures} in {options.output}; train with data.source=records, "
        f"data.path={options.output}"
    )


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
                "i2sb-prepare --source parquet --path imagenet-1k --split validation --output val",
                "Write one split of a data set of Hugging Face, with its labels.",
            ),
            Example(
                "i2sb-prepare --source tfds --tfds-name cifar10 --split test --output records",
                "Write one split of a TFDS builder as records.",
            ),
        ),
        former={"--tfds_name": "--tfds-name"},
    )
    add = made.add_argument_group("pictures").add_argument
    kinds = f"Kind of source: {', '.join(PREPARED)}. Default: folder."
    add("--source", choices=PREPARED, default="folder", metavar="KIND", help=kinds)
    add(
        "--path", type=path, default="",
        help="Folder of the pictures; Parquet files or WebDataset's tars, one or a folder of them; "
        "an LMDB; data_dir of TFDS.",
    )  # fmt: skip
    add("--tfds-name", default="", metavar="NAME", help="The builder, for --source tfds.")
    add(
        "--split", default="train",
        help="Split of photos (train, eval), of TFDS, or that the names of Parquet files and tars "
        "say. Default: train.",
    )  # fmt: skip
    add(
        "--image-column", default="", metavar="NAME",
        help="Column of the pictures in Parquet (image), or their suffix in samples of tars.",
    )  # fmt: skip
    add(
        "--label-column", default="", metavar="NAME",
        help="Column of the labels in Parquet, or their key in the JSON of samples (label).",
    )  # fmt: skip
    add(
        "--keys", type=path, default="", metavar="FILE",
        help="Keys of an LMDB's pictures, one a line. Default: all whose value is a picture.",
    )  # fmt: skip
    add = made.add_argument_group("records").add_argument
    add(
        "--output", type=path, required=True, metavar="DIR",
        help="A new folder for the records, or the one of a job that was stopped: it goes on.",
    )  # fmt: skip
    add(
        "--tiles", type=int, default=0, metavar="SIDE",
        help="Cut what is larger into tiles of so many pixels, kept as PNG, for training on small "
        "windows.",
    )  # fmt: skip
    add("--shards", type=int, default=0, help="Number of files. Default: one a thousand pictures.")
    add("--workers", type=int, default=1, help="Files that are written at once. Default: 1.")
    return made


if __name__ == "__main__":
    main()
