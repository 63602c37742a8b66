"""The interface of a source of pictures: a length, and random access."""

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np

IMAGENET_CLASSES = 1000  # the labels that are meant where a source does not say how many it has


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One picture of a source.

    Attributes:
        name: what the source calls it; unique within the source.
        image: an encoded file, or uint8 [h, w, 3]; of a pair both sides, float32 in [-1, 1]
            [h, w, target and source channels], NaN in all of them where either has no data.
        label: class, -1 where unknown.
    """

    name: str
    image: bytes | np.ndarray
    label: int = -1


class MissingPicture(OSError):
    """A picture that its source lists but cannot read.

    Attributes:
        name: of the picture.
    """

    def __init__(self, name: str, error: Exception):
        reason = error.strerror if isinstance(error, OSError) else None
        super().__init__(reason or " ".join(str(error).split()))
        self.name = name


class Source(Protocol):
    """Pictures by number: the same in every process and at every start."""

    def __len__(self) -> int: ...

    @property
    def names(self) -> Sequence[str]:
        """The names that `read` gives pictures; some sources have to read them all to know."""
        ...

    def read(self, index: int) -> Record:
        """Reads picture 0 <= index < len; called from many threads.

        Raises:
            MissingPicture: it cannot be read (whether it can be decoded is not looked at).
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subset:
    """Some pictures of a source, in its order.

    Attributes:
        source: the whole.
        indices: numbers in `source`.
    """

    source: Source
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def names(self) -> Sequence[str]:
        names = self.source.names
        return tuple(names[index] for index in self.indices)

    def read(self, index: int) -> Record:
        return self.source.read(self.indices[index])


def hold_out(names: Sequence[str], fraction: float, *, split: str, origin: str) -> list[int]:
    """The pictures of one side of a split that depends on nothing but their names.

    A name belongs to evaluation if its hash falls below `fraction`, so pictures stay on their side
    when others come or go. A small folder where no hash does gives the smallest one, so that one
    picture at least is held out.

    Args:
        names: of all pictures.
        fraction: for evaluation, in [0, 1).
        split: "train" or "eval".
        origin: where the pictures lie, for the error line.

    Returns:
        Ascending numbers of the names on that side.

    Raises:
        ValueError: that side would be empty.
    """
    hashes = [_unit_hash(name) for name in names]
    threshold = fraction
    if fraction > 0 and len(names) > 1 and min(hashes) >= fraction:
        threshold = np.nextafter(min(hashes), 1)
    side = [i for i, value in enumerate(hashes) if (value < threshold) == (split == "eval")]
    if not side:
        raise ValueError(
            f"{split} would have none of the {len(names)} pictures of {origin} with "
            f"data.eval_fraction={fraction}: change it, add pictures, or give data.eval_path"
        )
    return side


def held_out_of(source: Source, names: Collection[str], *, origin: str) -> Subset:
    """Those pictures of a source that a run held out, which it knows by their names.

    Raises:
        ValueError: there is none.
    """
    indices = [index for index, name in enumerate(source.names) if name in names]
    if not indices:
        shown = min(names, default="none")
        raise ValueError(
            f"none of the {len(names)} pictures that the run held out, such as {shown}, lies in "
            f"{origin}"
        )
    return Subset(source=source, indices=indices)


def _unit_hash(name: str) -> float:
    """The name's place in [0, 1)."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
