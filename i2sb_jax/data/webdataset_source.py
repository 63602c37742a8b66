"""Tars as WebDataset writes them: files of one name and several suffixes are one sample.

`0001.jpg` and `0001.cls` are a picture and its label; a label may lie in `0001.json`, too. A tar
that is not compressed can be read anywhere once it is known where its files begin.
"""

import dataclasses
import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from etils import epath

from i2sb_jax.data.folder import kept_index
from i2sb_jax.data.record import MissingPicture, Record
from i2sb_jax.data.shards import USUAL, Columns, distinct_names, shard_files
from i2sb_jax.files import IMAGE_SUFFIXES, real_path

_LABEL = "label"  # in a sample's JSON
_NUMBER, _JSON = "cls", "json"  # suffixes of labels


class _Member(NamedTuple):
    """The place of a file's bytes in its tar."""

    suffix: str
    start: int
    length: int


class _Sample(NamedTuple):
    """A picture, and the file with its label, if any."""

    tar: int
    image: _Member
    label: _Member | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class WebDatasetSource:
    """The pictures of tars, in their order.

    Attributes:
        tars: the files.
        samples: where each picture lies.
        names: of all pictures.
        label_key: of a sample's JSON.
        num_classes: of labels: tars do not say.
    """

    tars: Sequence[epath.Path]
    samples: Sequence[_Sample]
    names: Sequence[str]
    label_key: str = _LABEL
    num_classes: int | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, index: int) -> Record:
        sample = self.samples[index]
        try:
            with self.tars[sample.tar].open("rb") as file:
                image = _bytes(file, sample.image)
                label = -1 if sample.label is None else self._label(file, sample.label)
        except (OSError, ValueError) as error:
            raise MissingPicture(self.names[index], error) from error
        return Record(name=self.names[index], image=image, label=label)

    def require_labels(self) -> None:
        """Raises ValueError, in one line, where the first sample's JSON has no such label."""
        sample, tar = self.samples[0], self.tars[self.samples[0].tar]
        wanted = f"--label-column {self.label_key}"
        if sample.label is None:
            raise ValueError(f"{wanted}: {self.names[0]} of {tar} has no JSON with a label")
        with tar.open("rb") as file:
            found = json.loads(_bytes(file, sample.label))
        keys = list(found) if isinstance(found, dict) else []
        if self.label_key not in keys:
            has = ", ".join(keys[:8]) or "no keys"
            raise ValueError(f"{wanted}: the JSON of {self.names[0]} of {tar} has {has}")

    def _label(self, file: Any, member: _Member) -> int:
        text = _bytes(file, member).decode()
        if member.suffix == _JSON:
            found = json.loads(text)
            value = found.get(self.label_key, -1) if isinstance(found, dict) else -1
        else:
            value = text.strip()
        if not re.fullmatch(r"-1|\d+", str(value)):
            raise ValueError(f"its label {str(value)[:40]!r} is no whole number")
        return int(value)


def webdataset_source(
    path: epath.PathLike,
    *,
    split: str = "train",
    columns: Columns = USUAL,
    index_dir: epath.PathLike | None = None,
    process_index: int = 0,
    read_only: bool = False,
) -> WebDatasetSource:
    """Opens tars; reads where their files lie, and no picture.

    Args:
        path: of a tar, or a folder of them, local or gs://.
        split: of the files' names, as `shard_files` tells them.
        columns: the pictures' suffix, needed where samples have several, and the label's key in a
            sample's JSON; where it does not say, labels are a sample's number, or else its JSON's
            "label", if any.
        index_dir: as of `folder_source`, like the rest: what the tars hold is kept there.
        process_index: see there.
        read_only: see there.

    Raises:
        ValueError: there are no tars, or one is cut off, compressed, or has no pictures; one line.
    """
    tars = shard_files(path, suffix=".tar", split=split)
    suffix = columns.image.removeprefix(".")
    labels = (_JSON,) if columns.label else (_NUMBER, _JSON)

    def list_tars() -> dict[str, Any]:
        found = [
            one
            for number, tar in enumerate(tars)
            for one in _samples(tar, number, suffix, labels=labels)
        ]
        return told | dict(zip(("names", "samples"), zip(*found, strict=True), strict=True))

    told = {"tars": [real_path(tar) for tar in tars], "image": suffix, "labels": labels}
    index = None
    if index_dir is not None:
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        index = epath.Path(index_dir) / f"webdataset-{digest[:16]}.json"
    kept = kept_index(index, list_tars, process_index=process_index, read_only=read_only)
    samples = [
        _Sample(tar, _Member(*image), label and _Member(*label))
        for tar, image, label in kept["samples"]
    ]
    places = [(tars[sample.tar], number) for number, sample in enumerate(samples)]
    names = distinct_names(kept["names"], places)
    source = WebDatasetSource(
        tars=tars, samples=samples, names=names, label_key=columns.label or _LABEL
    )
    if columns.label:
        source.require_labels()
    return source


def _samples(
    tar: epath.Path, number: int, suffix: str, *, labels: Sequence[str]
) -> Iterator[tuple[str, _Sample]]:
    """The names and samples of one tar; labels lie in the first of these suffixes that is there."""
    groups: dict[str, dict[str, _Member]] = {}
    for name, start, length in _files(tar):
        folder, _, base = name.rpartition("/")
        stem, dot, ending = base.partition(".")
        if not (stem and dot):
            continue
        members = groups.setdefault(f"{folder}/{stem}".lstrip("/"), {})
        if ending.lower() in members:
            raise ValueError(f"{tar} has {name} twice")
        members[ending.lower()] = _Member(ending, start, length)
    pictures = {key: _images(members, suffix) for key, members in groups.items()}
    if not any(pictures.values()):
        kinds = sorted({ending for members in groups.values() for ending in members})
        raise ValueError(
            f"{tar} has no pictures{f' with suffix {suffix}' if suffix else ''}: its files end in "
            f"{', '.join(kinds[:8]) or 'nothing'}"
        )
    for key, images in pictures.items():
        if len(images) > 1:
            raise ValueError(
                f"sample {key} of {tar} has several pictures, {', '.join(images)}: name one of "
                "these suffixes by --image-column"
            )
        for image in images:
            members = groups[key]
            label = next((members[kind] for kind in labels if kind in members), None)
            if label is not None:
                label = label._replace(suffix=label.suffix.lower())
            member = members[image]
            yield f"{key}.{member.suffix}", _Sample(number, member, label)


def _images(members: dict[str, _Member], suffix: str) -> list[str]:
    if suffix:
        return [suffix.lower()] if suffix.lower() in members else []
    return [ending for ending in members if f".{ending.rpartition('.')[2]}" in IMAGE_SUFFIXES]


def _files(tar: epath.Path) -> Iterator[tuple[str, int, int]]:
    """Name, first byte and length of each file in a tar."""
    size = tar.stat().length
    try:
        with tar.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as opened:
            for member in opened:
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError("unexpected end of data")
                if member.isreg() and not member.issparse():
                    yield member.name.removeprefix("./"), member.offset_data, member.size
    except tarfile.TarError as error:
        raise ValueError(
            f"{tar} is cut off, damaged or compressed ({error}): tars are read as they are"
        ) from None


def _bytes(file: Any, member: _Member) -> bytes:
    file.seek(member.start)
    data = file.read(member.length)
    if len(data) != member.length:
        raise ValueError(f"the tar ends after {len(data)} of {member.length} bytes")
    return data
