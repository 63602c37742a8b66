"""Pictures in a few array_record files: a million small files are slow on most file systems.

A directory holds shards, written in the order of the source they came from, and `index.json`, which
is written last: without it the directory is unfinished. One record is a little-endian uint32, the
length of a JSON header {"name", "label"}, the header, and the encoded picture.
"""

import dataclasses
import json
import os
import struct
from collections.abc import Callable, Sequence

from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath

from i2sb_jax.data.record import MissingPicture, Record, Source
from i2sb_jax.files import require_folder, require_new_folder, write_atomically
from i2sb_jax.pictures import encode_png

INDEX = "index.json"
_FORMAT = "i2sb-records-1"
# One record a chunk: random access then reads only what it asks for.
_WRITER_OPTIONS = "group_size:1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsSource:
    """Pictures of a directory that `write_records` made.

    Attributes:
        names: of all pictures, from the index.
        data: their encoded records.
    """

    names: Sequence[str]
    data: ArrayRecordDataSource

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Record:
        try:
            return decode_record(self.data[index])
        except (RuntimeError, ValueError, LookupError, struct.error) as error:
            raise MissingPicture(self.names[index], error) from error


def records_source(path: epath.PathLike) -> RecordsSource:
    """Opens a directory of records.

    Raises:
        ValueError: it is missing, or is not a finished directory of records.
    """
    folder = require_folder(path)
    make = f"write it with: i2sb-prepare --source folder --path PICTURES --output {folder}"
    if not (folder / INDEX).exists():
        raise ValueError(
            f"{folder} has no {INDEX}, so it is not (or not completely) written; {make}"
        )
    try:
        index = json.loads((folder / INDEX).read_text())
        if index["format"] != _FORMAT:
            raise ValueError
        shards, names = index["shards"], tuple(index["names"])
        # Giving the counts spares opening every shard.
        paths = [f"{os.fspath(folder / s['file'])}[0:{s['count']}]" for s in shards]
        missing = [s["file"] for s in shards if not (folder / s["file"]).exists()]
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{folder / INDEX} is no index of i2sb-prepare; {make}") from None
    if missing:
        raise ValueError(f"{folder} lacks {missing[0]} that its {INDEX} names; {make}")
    return RecordsSource(names=names, data=ArrayRecordDataSource(paths))


def write_records(
    source: Source,
    output: epath.PathLike,
    *,
    num_shards: int,
    report: Callable[[str], None],
) -> None:
    """Writes a source as records, encoded pictures byte for byte.

    A file that cannot be read is written as an empty picture, and training treats it as it
    would have in its folder: numbers stay the same.

    Args:
        source: what to write.
        output: a directory that is new or empty.
        num_shards: number of files, at most one a picture.
        report: told of each file that could not be read.

    Raises:
        ValueError: `output` is not empty, or num_shards is out of range.
    """
    output = require_new_folder(output)
    if not 1 <= num_shards <= len(source):
        raise ValueError(f"shards={num_shards} must lie in 1…{len(source)} (pictures)")
    output.mkdir(parents=True, exist_ok=True)
    bounds = [len(source) * shard // num_shards for shard in range(num_shards + 1)]
    names, shards = [], []
    for shard in range(num_shards):
        file = f"pictures-{shard:05d}-of-{num_shards:05d}.array_record"
        writer = ArrayRecordWriter(os.fspath(output / file), _WRITER_OPTIONS)
        for index in range(bounds[shard], bounds[shard + 1]):
            record = _read_or_empty(source, index, report)
            names.append(record.name)
            writer.write(encode_record(record))
        writer.close()
        shards.append({"file": file, "count": bounds[shard + 1] - bounds[shard]})
    index = {"format": _FORMAT, "shards": shards, "names": names}
    write_atomically(output / INDEX, json.dumps(index).encode())


def encode_record(record: Record) -> bytes:
    """One record's bytes; arrays become PNG."""
    header = json.dumps({"name": record.name, "label": record.label}).encode()
    image = record.image if isinstance(record.image, bytes) else encode_png(record.image)
    return struct.pack("<I", len(header)) + header + image


def decode_record(data: bytes) -> Record:
    """The inverse of `encode_record`; the picture stays encoded."""
    start = 4 + struct.unpack_from("<I", data)[0]
    header = json.loads(data[4:start])
    return Record(name=header["name"], image=data[start:], label=header["label"])


def _read_or_empty(source: Source, index: int, report: Callable[[str], None]) -> Record:
    try:
        return source.read(index)
    except MissingPicture as error:
        report(f"{error.name} is written as an empty picture: {error}")
        return Record(name=error.name, image=b"")
