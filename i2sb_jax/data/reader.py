"""Reads pictures for many threads, and decides what happens when one is broken."""

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from absl import logging

from i2sb_jax.data.examples import Examples
from i2sb_jax.data.preprocess import WHOLE, fitting_scale, prepare, reduce
from i2sb_jax.data.record import MissingPicture, Source
from i2sb_jax.pictures import Notes, UnreadableImage

# Squares of a large data set are rarely met twice; a small one fits whole.
CACHE_BYTES = 512 * 2**20

_Found: TypeAlias = tuple[np.ndarray, int, str]  # a picture, its label, its name


class TooManyUnreadable(ValueError):
    """More pictures are unreadable than `data.max_unreadable` allows."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """Who is told of what cannot be read, and how much of what was read is remembered.

    Attributes:
        warn: told of each broken picture once, from whichever thread met it.
        notes: told of what files hold that is not read.
        cache_bytes: how much of decoded pictures may be remembered.
    """

    warn: Callable[[str], None] = logging.warning
    notes: Notes | None = None
    cache_bytes: int = CACHE_BYTES


class PictureReader:
    """Prepared pictures by number, a few of them remembered.

    The memory is filled in the order of visits up to `Reading.cache_bytes` and never emptied. It
    changes nothing but speed.

    Attributes:
        unreadable: name -> reason of every picture found broken so far.
    """

    def __init__(
        self,
        source: Source,
        examples: Examples,
        *,
        leave_out: bool = False,
        reading: Reading = Reading(),
    ):
        """Reads from `source`.

        Args:
            source: the pictures.
            examples: what is to be cut from them.
            leave_out: nothing takes the place of a broken picture.
            reading: who is told, and how much is remembered.
        """
        config = examples.config
        self.unreadable: dict[str, str] = {}
        self._source = source
        self._prepare = functools.partial(
            prepare, image_size=examples.image_size, crop=config.crop, channels=examples.channels
        )
        self._image_size, self._scales = examples.image_size, config.scales
        self._max_unreadable = config.max_unreadable
        self._leave_out = leave_out
        self._warn, self._notes = reading.warn, reading.notes
        self._lock = threading.Lock()
        self._broken: set[int] = set()
        self._cache: dict[tuple[int, float], _Found] = {}
        self._cache_left = reading.cache_bytes

    def read(self, indices: Iterable[int], *, scale: float = WHOLE) -> _Found | None:
        """The first readable picture of `indices`; with `leave_out` the first of all, or None.

        Args:
            indices: numbers in the source, in order of preference.
            scale: the picture is reduced by it, or by the nearest larger one of the reader's scales
                that leaves a square.

        Returns:
            The picture as `prepare` leaves it, reduced, its label, its name.

        Raises:
            TooManyUnreadable: the limit is exceeded, or no picture of `indices` is readable.
        """
        for index in indices:
            found = self._read_one(index, scale)
            if found is not None or self._leave_out:
                return found
        raise TooManyUnreadable(f"none of the {len(self._source)} pictures is readable")

    def _read_one(self, index: int, asked: float) -> _Found | None:
        if (found := self._cache.get((index, asked))) is not None:
            return found
        if (whole := self._whole(index)) is None:
            return None
        if WHOLE in self._scales:
            self._remember(index, WHOLE, whole)
        image, label, name = whole
        scale = fitting_scale(asked, self._scales, image.shape, image_size=self._image_size)
        found = whole if scale == WHOLE else self._cache.get((index, scale))
        found = found or (reduce(image, scale), label, name)
        for key in (scale, asked):
            self._remember(index, key, found)
        return found

    def _whole(self, index: int) -> _Found | None:
        if (found := self._cache.get((index, WHOLE))) is not None:
            return found
        if index in self._broken:
            return None
        try:
            record = self._source.read(index)
        except MissingPicture as error:
            return self._report(index, error.name, error)
        tell = None if self._notes is None else functools.partial(self._notes.tell, record.name)
        try:
            return self._prepare(record.image, tell=tell), record.label, record.name
        except UnreadableImage as error:
            return self._report(index, record.name, error)

    def _remember(self, index: int, scale: float, found: _Found) -> None:
        """Keeps a picture while there is room; the same one in place of two scales costs once."""
        with self._lock:
            mine = [self._cache.get((index, other)) for other in (WHOLE, *self._scales)]
            size = 0 if any(one is found for one in mine) else found[0].nbytes
            if (index, scale) not in self._cache and size <= self._cache_left:
                self._cache[index, scale] = found
                self._cache_left -= size

    def _report(self, index: int, name: str, error: Exception) -> None:
        with self._lock:
            if index in self._broken:  # another thread was first
                return
            self._broken.add(index)
            self.unreadable[name] = str(error)
            count = len(self._broken)
        fate = "left out" if self._leave_out else "replaced by the next one"
        self._warn(f"unreadable picture {name} is {fate}: {error}")
        if count > self._max_unreadable:
            raise TooManyUnreadable(
                f"{count} pictures are unreadable, the last of them {name} ({error}), and "
                f"data.max_unreadable={self._max_unreadable}"
            )
