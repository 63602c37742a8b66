"""Large pictures as tiles, so that a small window is decoded from a tile and not from the whole."""

import dataclasses
import io
import re
import threading
from collections.abc import Iterator, Sequence

import numpy as np

from i2sb_jax.data.record import IMAGENET_CLASSES, MissingPicture, Record, Source
from i2sb_jax.pictures import UnreadableImage, decode_rgb, picture_size

SMALLEST = 64  # pixels
_SHARED = 8  # neighbours share at least a part in so many of their side
_MARK = "#"  # between the name of a picture and the number of a tile in it


class _Last(threading.local):
    """The picture that a thread has decoded last, and its number."""

    index = -1
    label = -1
    pixels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TiledSource:
    """The tiles of a source's pictures, each picture's together.

    They have the colours that training sees, 8 bits and upright. A picture that is no larger than a
    tile, or whose header cannot be read, is passed on as it is.

    Attributes:
        source: of the pictures.
        places: (picture, top, left, height, width) of each tile; a height of 0: the whole file.
        names: the picture's and a number: "photo.jpg#00002", "photo.jpg" of a whole one.
    """

    source: Source
    places: Sequence[tuple[int, int, int, int, int]]
    names: Sequence[str]
    _last: _Last = dataclasses.field(default_factory=_Last, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the pictures."""
        return getattr(self.source, "num_classes", IMAGENET_CLASSES)

    @property
    def label_names(self) -> Sequence[str]:
        """Names of the labels of the pictures."""
        return getattr(self.source, "label_names", ())

    def read(self, index: int) -> Record:
        picture, top, left, height, width = self.places[index]
        if not height:
            return self.source.read(picture)
        last, name = self._last, self.names[index]
        try:
            if last.index != picture:
                last.index = -1  # of what cannot be decoded nothing is remembered
                record = self.source.read(picture)
                image = record.image
                last.pixels = decode_rgb(image) if isinstance(image, bytes) else image
                last.index, last.label = picture, record.label
            tile = last.pixels[top : top + height, left : left + width]
            if tile.shape[:2] != (height, width):
                raise UnreadableImage(f"it has become {last.pixels.shape[1::-1]} pixels")
        except (MissingPicture, UnreadableImage) as error:
            raise MissingPicture(name, error) from error
        return Record(name=name, image=np.ascontiguousarray(tile), label=last.label)


def tiled(source: Source, side: int) -> TiledSource:
    """Cuts the pictures of a source into tiles; reads every header.

    Args:
        source: of pictures.
        side: of the tiles, pixels; of what is smaller there are smaller ones.

    Raises:
        ValueError: `side` is too small.
    """
    if side < SMALLEST:
        raise ValueError(f"tiles={side} must be at least {SMALLEST} pixels")
    places, names = [], []
    for index, name in enumerate(source.names):
        found = list(_tiles(source, index, side))
        places += found
        numbers = [f"{_MARK}{i:05d}" for i in range(len(found))] if found[0][3] else [""]
        names += [f"{name}{number}" for number in numbers]
    return TiledSource(source=source, places=places, names=names)


def picture_of(name: str) -> str:
    """Returns the name of the picture that a tile is of, by the tile's."""
    return re.sub(rf"{_MARK}\d{{5}}$", "", name)


def _tiles(source: Source, index: int, side: int) -> Iterator[tuple[int, int, int, int, int]]:
    try:
        image = source.read(index).image
        width, height = (
            picture_size(io.BytesIO(image)) if isinstance(image, bytes) else image.shape[1::-1]
        )
    except (MissingPicture, UnreadableImage):
        height = width = 0
    if max(height, width) <= side:
        yield index, 0, 0, 0, 0
        return
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield index, top, left, min(side, height), min(side, width)


def _starts(length: int, side: int) -> list[int]:
    """The first pixels of tiles along one axis, evenly spread from border to border."""
    if length <= side:
        return [0]
    shared = side // _SHARED
    count = -(-(length - shared) // (side - shared))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]
