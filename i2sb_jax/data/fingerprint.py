"""Fingerprints that tell the pictures of a source from others, without reading them."""

import hashlib
from collections.abc import Iterator, Sequence

from etils import epath

from i2sb_jax.data.folder import FolderSource
from i2sb_jax.data.name_list import ListedSource
from i2sb_jax.data.pairs import PairsSource
from i2sb_jax.data.record import IMAGENET_CLASSES, Source, Subset
from i2sb_jax.data.scaling import to_json
from i2sb_jax.data.webdataset_source import WebDatasetSource
from i2sb_jax.files import is_remote


def fingerprint(source: Source, *, count: int) -> str:
    """Returns 16 hexadecimal digits for the first `count` pictures of a source.

    Names of files, their sizes and times of change, and what the values of pairs become; of files
    in a bucket the names alone, and of sources without files how many pictures there are.
    """
    digest = hashlib.sha256(f"{type(source).__name__} {len(source)}".encode())
    for number in range(count):
        for text in _told(source, number):
            digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()[:16]


def imagenet_labels(source: Source) -> Sequence[int] | None:
    """Labels that hold in place of those that pictures come with; None: theirs hold.

    A list's, as far as it has them; and none of data that has other classes than ImageNet.
    """
    whole = source.source if isinstance(source, ListedSource | Subset) else source
    classes = getattr(whole, "num_classes", IMAGENET_CLASSES)
    if isinstance(source, ListedSource) and any(label is not None for label in source.labels):
        return [-1 if label is None else label for label in source.labels]
    return None if classes == IMAGENET_CLASSES else [-1] * len(source)


def _told(source: Source, number: int) -> Iterator[str]:
    match source:
        case Subset() | ListedSource():
            yield str(source.indices[number])
            yield from _told(source.source, source.indices[number])
        case FolderSource():
            yield source.names[number]
            yield _stamp(source.folder / source.names[number])
        case WebDatasetSource():
            sample = source.samples[number]
            yield source.names[number]
            yield _stamp(source.tars[sample.tar])
            yield str(sample.image)
        case PairsSource():
            if number == 0:
                yield to_json(source.ranges)
            yield "\0".join(source.files.pairs[number])
            yield from map(_stamp, source.files.paths(number))


def _stamp(path: epath.Path) -> str:
    """Size and time of change of a local file."""
    if is_remote(path):
        return ""
    try:
        stat = path.stat()
    except OSError:
        return "gone"
    return f"{stat.length} {stat.mtime}"
