"""Pictures in a few array_record files: a million small files are slow on most file systems.

A directory holds shards, written in the order of the source they came from, and `index.json`, which
is written last: without it the directory is unfinished, and `unfinished.json` says of what. One
record is a little-endian uint32, the length of a JSON header {"name", "label"}, the header, and the
encoded picture.
"""

import concurrent.futures
import dataclasses
import io
import json
import os
import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from etils import epath

from i2sb_jax.data.record import IMAGENET_CLASSES, MissingPicture, Record, Source
from i2sb_jax.data.tiled import picture_of
from i2sb_jax.files import require_folder, require_new_folder, write_atomically
from i2sb_jax.pictures import UnreadableImage, encode_png, picture_size

INDEX = "index.json"
_JOB = "unfinished.json"
_FORMAT = "i2sb-records-1"
# One record a chunk: random access then reads only what it asks for.
_WRITER_OPTIONS = "group_size:1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsSource:
    """Pictures of a directory that `write_records` made.

    Attributes:
        names: of all pictures, from the index.
        data: their encoded records.
        num_classes: how many labels there are; None where that is not known.
        label_names: of labels 0, 1, …; empty where they have none.
        split: that the pictures were; "" where that is not known.
        is_tiled: whether the pictures are tiles of others.
    """

    names: Sequence[str]
    data: ArrayRecordDataSource
    num_classes: int | None = IMAGENET_CLASSES
    label_names: Sequence[str] = ()
    split: str = ""
    is_tiled: bool = False

    @property
    def held_out_by(self) -> Sequence[str]:
        """The names that decide on which side of a run each is: of tiles their pictures' names."""
        return tuple(map(picture_of, self.names)) if self.is_tiled else self.names

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
    return RecordsSource(
        names=names,
        data=ArrayRecordDataSource(paths),
        num_classes=index.get("num_classes", IMAGENET_CLASSES),  # older ones do not say
        label_names=tuple(index.get("label_names", ())),
        split=index.get("split", ""),
        is_tiled=index.get("tiles", 0) > 0,
    )


def write_records(
    source: Source,
    output: epath.PathLike,
    *,
    num_shards: int,
    report: Callable[[str], None],
    made_of: Mapping[str, Any] = MappingProxyType({}),
    workers: int = 1,
    on_picture: Callable[[], None] | None = None,
) -> int:
    """Writes a source as records, encoded pictures byte for byte.

    A file that cannot be read is written as an empty picture, and training treats it as it
    would have in its folder: numbers stay the same. Shards appear when they are complete; called
    again after a stop with the same arguments, it goes on with those that are missing.

    Args:
        source: what to write.
        output: a directory that is new or empty, or that a call with the same arguments began.
        num_shards: number of files, at most one a picture.
        report: told of each picture that cannot be read, or is none.
        made_of: what tells the source from others: what was begun of other pictures is left alone.
        workers: threads, each with a shard of its own.
        on_picture: called after each picture, those of an earlier call included.

    Returns:
        How many pictures cannot be read, or are none.

    Raises:
        ValueError: `output` is not empty, or num_shards or workers is out of range.
    """
    if not 1 <= num_shards <= len(source):
        raise ValueError(f"shards={num_shards} must lie in 1…{len(source)} (pictures)")
    if workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    job = {**made_of, "pictures": len(source), "shards": num_shards}
    output = _begin(output, job)
    bounds = [len(source) * shard // num_shards for shard in range(num_shards + 1)]

    def write(shard: int) -> dict[str, Any]:
        file = f"pictures-{shard:05d}-of-{num_shards:05d}.array_record"
        rows = range(bounds[shard], bounds[shard + 1])
        return _write_shard(source, output / file, rows, report=report, on_picture=on_picture)

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            parts = list(pool.map(write, range(num_shards)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    label_names = getattr(source, "label_names", ())
    index = {
        "format": _FORMAT,
        "shards": [{"file": part["file"], "count": len(part["names"])} for part in parts],
        "names": [name for part in parts for name in part["names"]],
        **({"num_classes": source.num_classes} if hasattr(source, "num_classes") else {}),
        **({"label_names": list(label_names)} if label_names else {}),
        "split": made_of.get("split") or getattr(source, "split", ""),
        "tiles": made_of.get("tiles") or int(getattr(source, "is_tiled", False)),
    }
    write_atomically(output / INDEX, json.dumps(index).encode())
    for part in parts:
        _part_file(output / part["file"]).unlink()
    (output / _JOB).unlink()
    return sum(part["broken"] for part in parts)


def check_output(output: epath.PathLike) -> None:
    """Raises ValueError, in one line, where a directory is neither new nor begun."""
    if not (epath.Path(output).expanduser() / _JOB).exists():
        require_new_folder(output)


def _begin(output: epath.PathLike, job: Mapping[str, Any]) -> epath.Path:
    """Notes in a new directory what it is made of, or finds the same noted there.

    Raises:
        ValueError: something else is there already; one line.
    """
    output = epath.Path(output).expanduser()
    if (output / _JOB).exists():
        begun = json.loads((output / _JOB).read_text())
        if begun != job:
            key = next(key for key in {**job, **begun} if begun.get(key) != job.get(key))
            raise ValueError(
                f"{output} was begun with {key}={begun.get(key)!r}, not {job.get(key)!r}: go on "
                "with the same, or name a new directory"
            )
        return output
    require_new_folder(output).mkdir(parents=True, exist_ok=True)
    write_atomically(output / _JOB, json.dumps(job).encode())
    return output


def _write_shard(
    source: Source,
    file: epath.Path,
    rows: range,
    *,
    report: Callable[[str], None],
    on_picture: Callable[[], None] | None,
) -> dict[str, Any]:
    """Writes some pictures into one file, or finds them written; returns what `_part_file` has.

    Nothing of an unfinished file stays but a temporary one, which the next call writes anew.
    """
    part_file = _part_file(file)
    if part_file.exists():
        part = json.loads(part_file.read_text())
        for _ in rows if on_picture else ():
            on_picture()
        return part
    unfinished = file.with_name(f".{file.name}.tmp")
    writer, names, broken = ArrayRecordWriter(os.fspath(unfinished), _WRITER_OPTIONS), [], 0
    for index in rows:
        record, reason = _read(source, index)
        if reason:
            broken += 1
            report(reason)
        names.append(record.name)
        writer.write(encode_record(record))
        if on_picture:
            on_picture()
    writer.close()
    unfinished.replace(file)
    part = {"file": file.name, "names": names, "broken": broken}
    write_atomically(part_file, json.dumps(part).encode())
    return part


def _part_file(file: epath.Path) -> epath.Path:
    """Beside a finished shard, until all are: its name, those of its pictures, how many broken."""
    return file.with_suffix(".json")


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


def _read(source: Source, index: int) -> tuple[Record, str]:
    """A picture, empty where it cannot be read, and what is wrong with it ("": nothing)."""
    try:
        record = source.read(index)
    except MissingPicture as error:
        return (
            Record(name=error.name, image=b""),
            f"{error.name} is written as an empty picture: {error}",
        )
    if isinstance(record.image, bytes):
        try:
            picture_size(io.BytesIO(record.image))
        except UnreadableImage as error:
            return record, f"{record.name} is written as it is, and cannot be read: {error}"
    return record, ""
