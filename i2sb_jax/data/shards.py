"""The files that a data set was published as: those of one split, and names for their pictures."""

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from etils import epath

from i2sb_jax.files import list_images

# what published files call their splits, as words of a path; each with the others of its meaning
_SPLITS = (
    ("train", "training"),
    ("validation", "valid", "val", "dev"),
    ("test", "testing", "eval", "evaluation"),
)


class Columns(NamedTuple):
    """The parts of a data set that are taken, where that does not follow from the set itself.

    Attributes:
        image: the column, or within a sample of a tar the suffix, of the pictures.
        label: the column, or within a sample's JSON the key, of whole numbers from 0 on.
        keys: a file of keys, one a line, of those pictures of an LMDB that are wanted.
    """

    image: str = ""
    label: str = ""
    keys: str = ""


USUAL = Columns()


def shard_files(path: epath.PathLike, *, suffix: str, split: str) -> list[epath.Path]:
    """Returns the files of one split, sorted by name.

    A file is of a split whose name, or another with its meaning, is a word of its path:
    "data/train-00000-of-00005.parquet", "val/shard-12.tar". Where no file names a split, all are of
    the split "train".

    Args:
        path: one such file, which is taken whatever it is called, or a folder, local or gs://.
        suffix: of the files, such as ".parquet".
        split: such as "train"; "": all files.

    Raises:
        ValueError: there is no such file, or none of that split; one line.
    """
    given = epath.Path(path).expanduser()
    if given.exists() and not given.is_dir():
        if not given.name.lower().endswith(suffix):
            raise ValueError(f"{given} must be a folder of {suffix} files, or one of them")
        return [given]
    names = list_images(given, suffixes=(suffix,))
    marked = {name: _splits_in(name) for name in names}
    if not split or (split == "train" and not any(marked.values())):
        return [given / name for name in names]
    wanted = next((words[0] for words in _SPLITS if split in words), split)
    if files := [given / name for name, splits in marked.items() if wanted in splits]:
        return files
    there = sorted({one for splits in marked.values() for one in splits}) or ["train"]
    raise ValueError(f"{given} has no files of split {split!r}: it has {', '.join(there)}")


def _splits_in(name: str) -> set[str]:
    words = set(re.split(r"[^a-z]+", name.lower()))
    return {one[0] for one in _SPLITS if words & set(one)}


def distinct_names(
    names: Sequence[str | None], places: Sequence[tuple[epath.Path, int]]
) -> tuple[str, ...]:
    """Returns a name of its own for each picture.

    Its own name where all differ; else the file that it lies in stands before it, and where that
    is not enough its number there stands in its place.

    Args:
        names: as the data set has them; None: it has none.
        places: the file of each, and its number in it.
    """
    if None not in names and len(set(names)) == len(names):
        return tuple(names)
    stems = [file.name.partition(".")[0] for file, _ in places]
    if None not in names:
        longer = tuple(f"{stem}/{name}" for stem, name in zip(stems, names, strict=True))
        if len(set(longer)) == len(longer):
            return longer
    suffixes = [os.path.splitext(name or "")[1] for name in names]
    return tuple(
        f"{stem}/{number:08d}{suffix}"
        for stem, (_, number), suffix in zip(stems, places, suffixes, strict=True)
    )
