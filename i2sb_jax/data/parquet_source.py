"""Parquet files as Hugging Face's data sets have them: a picture a row, with a label or without.

The column of pictures holds encoded files, as binary or as a struct of `bytes` and `path`. Rows are
compressed in groups, of which a picture can only be had with those before it. So they are read from
the first to the last; an order of training would read each group once a picture.
"""

import dataclasses
import json
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from i2sb_jax.data.record import MissingPicture, Record
from i2sb_jax.data.shards import USUAL, Columns, distinct_names, shard_files

_IMAGE, _LABEL = "image", "label"  # as Hugging Face's data sets of pictures call them
_ROWS = 16  # pictures that are in memory at once
_BUFFER = 2**20  # bytes; a column's pages are read by so many, and not the column


class _Group(threading.local):
    """A reader's place in a group of rows; each thread has its own."""

    number = -1
    batches: Iterator[pa.RecordBatch] = iter(())
    first = 0  # row of the data set
    images: Sequence[Any] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParquetSource:
    """The pictures of Parquet files, row by row.

    Attributes:
        files: in their order.
        groups: (file, group of rows in it) of each group.
        starts: the row of the data set at which each group begins, and at last how many there are.
        column: the pictures' bytes, such as "image.bytes".
        names: of all pictures.
        labels: int64, -1 where unknown.
        label_names: of labels 0, 1, …; empty where the files do not say.
    """

    files: Sequence[epath.Path]
    groups: Sequence[tuple[int, int]]
    starts: np.ndarray
    column: str
    names: Sequence[str]
    labels: np.ndarray
    label_names: Sequence[str] = ()
    _place: _Group = dataclasses.field(default_factory=_Group, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def num_classes(self) -> int | None:
        """How many labels there are; None where the files do not say."""
        return len(self.label_names) or None

    def read(self, index: int) -> Record:
        try:
            image = self._image(index)
            if image is None:
                raise ValueError(f"no bytes in {self.column}")
        except (OSError, ValueError, pa.ArrowException) as error:
            self._place.number = -1
            raise MissingPicture(self.names[index], error) from error
        return Record(name=self.names[index], image=image, label=int(self.labels[index]))

    def _image(self, index: int) -> bytes | None:
        place = self._place
        group = int(np.searchsorted(self.starts, index, side="right")) - 1
        if group != place.number or index < place.first:
            place.number, place.first, place.images = group, int(self.starts[group]), ()
            place.batches = self._batches(*self.groups[group])
        while index >= place.first + len(place.images):
            batch = next(place.batches)
            place.first, place.images = place.first + len(place.images), _leaf(batch.column(0))
        return place.images[index - place.first].as_py()

    def _batches(self, file: int, group: int) -> Iterator[pa.RecordBatch]:
        with self.files[file].open("rb") as opened:
            parquet = pq.ParquetFile(opened, buffer_size=_BUFFER, pre_buffer=False)
            yield from parquet.iter_batches(_ROWS, row_groups=[group], columns=[self.column])


def parquet_source(
    path: epath.PathLike, *, split: str = "train", columns: Columns = USUAL
) -> ParquetSource:
    """Opens Parquet files; reads their names and labels, and no picture.

    Args:
        path: of a file, or a folder of files, local or gs://.
        split: of the files' names, as `shard_files` tells them.
        columns: "image" and "label" where it does not say, the second if there is one.

    Raises:
        ValueError: there are no files, they have not these columns, or columns of other types.
    """
    files = shard_files(path, suffix=".parquet", split=split)
    groups, rows, names, labels, places = [], [0], [], [], []
    layouts = [_Layout.of(file, columns) for file in files]
    for number, (file, layout) in enumerate(zip(files, layouts, strict=True)):
        if layout.tells != layouts[0].tells:
            raise ValueError(f"{file} has other columns of pictures or labels than {files[0]}")
        with file.open("rb") as opened:
            parquet = pq.ParquetFile(opened)
            for group in range(parquet.num_row_groups):
                groups.append((number, group))
                rows.append(rows[-1] + parquet.metadata.row_group(group).num_rows)
            count = parquet.metadata.num_rows
            names += _names(parquet, layout.path, count)
            labels.append(_labels(parquet, layout.label, count))
        places += [(file, row) for row in range(count)]
    if not names:
        raise ValueError(f"{path} has no rows: name files with pictures")
    _check_bytes(files, layouts[0].image, names)
    return ParquetSource(
        files=files,
        groups=groups,
        starts=np.array(rows),
        column=layouts[0].image,
        names=distinct_names(names, places),
        labels=np.concatenate(labels),
        label_names=layouts[0].label_names,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layout:
    """The columns of a file: of bytes, of names and of labels ("": there is none)."""

    image: str
    path: str
    label: str
    label_names: tuple[str, ...]

    @property
    def tells(self) -> tuple[str, str, tuple[str, ...]]:
        """All that the files of a data set must have in common."""
        return self.image, self.label, self.label_names

    @classmethod
    def of(cls, file: epath.Path, columns: Columns) -> "_Layout":
        try:
            with file.open("rb") as opened:
                schema = pq.read_schema(opened)
        except pa.ArrowException as error:
            raise ValueError(f"{file} is no Parquet file: {_line(error)}") from None
        wanted = columns.image or _IMAGE
        if wanted not in schema.names:
            raise ValueError(
                f"{file} has no column {wanted!r} of pictures, it has "
                f"{', '.join(schema.names)}: name it by --image-column"
            )
        kind, image, path = schema.field(wanted).type, wanted, ""
        if pa.types.is_struct(kind):
            parts = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
            image, kind = f"{wanted}.bytes", parts.get("bytes")
            path = f"{wanted}.path" if "path" in parts else ""
        fits = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_null
        if kind is None or not any(is_one(kind) for is_one in fits):
            raise ValueError(
                f"column {wanted!r} of {file} is {schema.field(wanted).type}: pictures are binary, "
                "or a struct of bytes and path"
            )
        label = columns.label or (_LABEL if _LABEL in schema.names else "")
        if label and label not in schema.names:
            raise ValueError(
                f"{file} has no column {label!r} of labels, it has {', '.join(schema.names)}"
            )
        if label and not pa.types.is_integer(schema.field(label).type):
            if columns.label:
                raise ValueError(
                    f"column {label!r} of {file} is {schema.field(label).type}: labels are whole "
                    "numbers"
                )
            label = ""
        return cls(image=image, path=path, label=label, label_names=_label_names(schema, label))


def _check_bytes(files: Sequence[epath.Path], column: str, names: Sequence[str | None]) -> None:
    """Raises ValueError, in one line, where no row has the bytes of its picture."""
    for file in files:
        with file.open("rb") as opened:
            batches = pq.ParquetFile(opened).iter_batches(_ROWS, columns=[column])
            if any(_leaf(batch.column(0)).null_count < len(batch) for batch in batches):
                return
    raise ValueError(
        f"{files[0]} has no bytes of pictures in {column}, only the paths they had, as {names[0]}: "
        "write them into it (datasets' push_to_hub does, its to_parquet does not)"
    )


def _names(parquet: pq.ParquetFile, column: str, count: int) -> list[str | None]:
    if not column:
        return [None] * count
    paths = _leaf(parquet.read([column]).column(0)).to_pylist()
    # an absolute one is where the picture was on the machine that wrote the file
    return [path and (path.rpartition("/")[2] if path.startswith("/") else path) for path in paths]


def _labels(parquet: pq.ParquetFile, column: str, count: int) -> np.ndarray:
    if not column:
        return np.full(count, -1)
    return parquet.read([column]).column(0).fill_null(-1).to_numpy().astype(np.int64)


def _leaf(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Returns the one field of a column of structs, or the column."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return column.flatten()[0] if pa.types.is_struct(column.type) else column


def _label_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """The names of labels as `datasets` notes them in a file; () where there are none."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])
        return tuple(noted["info"]["features"][label]["names"])
    except (KeyError, TypeError, ValueError):
        return ()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
