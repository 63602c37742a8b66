"""Batches with tf.data, whose order is a pure function of (seed, step).

Position p = step · batch_size + i of the stream belongs to epoch e = p // n of a source of n
pictures and shows picture shuffle_{seed, e}(p mod n). Scale, window, flip, turn, grain and the
seeds of the corruption are functions of (seed, p). So a stream that starts at any step equals the
rest of one that started at 0, at no cost, and the processes of a run, each with its slice of every
batch, never overlap and together see what one process would.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from i2sb_jax.config import DataConfig
from i2sb_jax.corruptions import Corrupted, Corruption
from i2sb_jax.data import host_only  # noqa: F401
from i2sb_jax.data.channels import PairedDegradation
from i2sb_jax.data.examples import Examples, Share
from i2sb_jax.data.grain import add_grain
from i2sb_jax.data.preprocess import WHOLE, cut
from i2sb_jax.data.reader import PictureReader, Reading
from i2sb_jax.data.record import Source
from i2sb_jax.data.windows import WindowCorruption, central_window
from i2sb_jax.pictures import Notes
from i2sb_jax.types import Batch

_PHILOX = "philox"  # named, for the default may differ between machines


class BatchStream(Iterator[Batch]):
    """Batches of this process, as numpy arrays.

    An error of a picture's reader is raised here as itself, in the batch that it belongs to.
    """

    def __init__(
        self, dataset: tf.data.Dataset, load: "_Load", *, notes: Notes | None, epoch: int | None
    ):
        """Takes what makes batches, and after how many of them every picture has come once."""
        self._elements = dataset.as_numpy_iterator()
        self._load = load
        self._failed = False
        self._notes, self._remaining = notes, epoch

    def __next__(self) -> Batch:
        if not self._failed:
            try:
                element = next(self._elements)
            except StopIteration:
                self._tell_others()
                raise
            self._failed = bool(element.pop("failed"))
        if self._failed:  # there is nothing behind it
            raise self._load.failures[0]
        if self._remaining is not None:
            self._remaining -= 1
            if not self._remaining:
                self._tell_others()
        return Batch(**element)

    def _tell_others(self) -> None:
        """Says of how many files beside the first each note is true."""
        if self._notes is not None:
            self._notes.finish()

    @property
    def unreadable(self) -> dict[str, str]:
        """Name -> reason of the pictures found broken so far; batches in preparation count."""
        return dict(self._load.reader.unreadable)


def train_batches(
    source: Source,
    examples: Examples,
    share: Share,
    *,
    seed: int,
    start_step: int = 0,
    reading: Reading = Reading(),
) -> BatchStream:
    """The endless, shuffled and augmented batches of training.

    An unreadable picture is replaced by the next readable one of the same shuffle; no other
    position moves.

    Args:
        source: n pictures, or pairs.
        examples: what is made of them.
        share: of this process in every batch.
        seed: of the order and of every draw.
        start_step: the first batch is that of this step.
        reading: who is told of what cannot be read, and how much is remembered; notes are finished
            after an epoch, and are best on one process alone.

    Returns:
        A stream of batches with static shapes: clean and degraded float32 [b, image_size,
        image_size, 3 or the target's channels] in [-1, 1], label int32 [b], name bytes [b], and of
        pairs valid float32 [b, image_size, image_size, 1]. Its
        `next` raises `TooManyUnreadable` when the limit is exceeded.

    Raises:
        ValueError: no pictures.
    """
    count = _count(source)
    config, windows = examples.config, examples.windows
    load = _Load(
        reader=PictureReader(source, examples, reading=reading),
        order=lambda p: shuffled_index(p, count=count, seed=seed),
        window=_random_window(config, windows),
        count=count,
        side=windows.side,
        channels=examples.channels,
        scales=config.scales,
    )
    start = start_step * share.batch_size
    stream = _stream(
        _positions(start_step, share),
        load,
        corrupt=_corrupting(examples.corruption, lambda seeds, clean, _: windows(seeds, clean)),
        batch=lambda dataset: dataset.batch(share.rows, drop_remainder=True),
        seed=seed,
        grain=config.grain if config.has_grain else None,
    )
    # the first epoch that is whole
    epoch = -(-(-(-start // count) * count + count - start) // share.batch_size)
    return BatchStream(stream, load, notes=reading.notes, epoch=epoch)


def _random_window(config: DataConfig, windows: WindowCorruption) -> Callable:
    return functools.partial(
        cut,
        image_size=windows.image_size,
        margin=windows.margin,
        grid=windows.grid,
        flip=config.flip,
        quarter_turns=config.quarter_turns,
        shuffle_channels=config.shuffle_channels,
    )


def eval_batches(
    source: Source,
    examples: Examples,
    share: Share,
    *,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    leave_out: bool = False,
    reading: Reading = Reading(),
) -> BatchStream:
    """Every picture once, in the source's order, its central square.

    An unreadable picture is replaced by the next readable one. The corruption is given each
    picture's number. The last batch may be smaller, and of several processes some may have less of
    it, or nothing, and then one batch fewer.

    Args:
        source: n pictures, or pairs.
        examples: what is made of them; nothing is flipped, turned or grained.
        share: of this process in every batch.
        seed: of what the corruption draws.
        numbers: of the pictures that are wanted, in this order; all if None.
        leave_out: an unreadable picture is a black one without a name, and no other takes its
            place.
        reading: who is told of what cannot be read; notes are finished at the end, and are best on
            one process alone.

    Returns:
        A finite stream of batches as `train_batches` gives.

    Raises:
        ValueError: no pictures.
    """
    count = _count(source)
    numbers = np.asarray(range(count) if numbers is None else numbers, np.int64)
    rows = np.arange(len(numbers)) % share.batch_size
    mine = numbers[rows // share.rows == share.process_index]
    windows = examples.windows
    cut_out = functools.partial(
        central_window, image_size=windows.image_size, margin=windows.margin, grid=windows.grid
    )
    once = dataclasses.replace(reading, cache_bytes=0)  # no picture comes twice
    load = _Load(
        reader=PictureReader(source, examples, leave_out=leave_out, reading=once),
        order=tf.identity,
        window=lambda image, _: np.ascontiguousarray(cut_out(image)),
        count=count,
        side=windows.side,
        channels=examples.channels,
    )

    def numbered(seeds, clean, index):
        return windows(seeds, clean, index=index)

    stream = _stream(
        tf.data.Dataset.from_tensor_slices(mine),
        load,
        corrupt=_corrupting(examples.corruption, numbered),
        batch=lambda dataset: dataset.batch(share.rows),
        seed=seed,
    )
    return BatchStream(stream, load, notes=reading.notes, epoch=None)


def undegraded(seeds: tf.Tensor, clean: tf.Tensor, *, index: tf.Tensor | None = None) -> Corrupted:
    """In place of a corruption where only clean pictures are wanted."""
    del seeds, index
    return Corrupted(clean)


def shuffled_index(position: tf.Tensor, *, count: int, seed: int) -> tf.Tensor:
    """Which of `count` pictures a position of the endless stream shows.

    Args:
        position: int64 scalar.
        count: n; every n consecutive positions from a multiple of n on show each picture once.
        seed: of the run.

    Returns:
        int64 scalar in [0, count).
    """
    epoch = position // count
    key = tf.stack([tf.constant(_int64(seed), tf.int64), epoch])
    return tf.random.experimental.index_shuffle(
        position % count, seed=key, max_index=tf.constant(count - 1, tf.int64)
    )


def _positions(start_step: int, share: Share) -> tf.data.Dataset:
    """Positions of one process: its rows of every batch, without end."""
    local = share.rows

    def position(k: tf.Tensor) -> tf.Tensor:
        return (k // local) * share.batch_size + share.process_index * local + k % local

    return tf.data.Dataset.range(start_step * local, tf.int64.max).map(position)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Load:
    """The part of the pipeline that is Python: a position's square, in a thread of TensorFlow.

    Attributes:
        reader: of the source.
        order: position -> number in the source.
        window: (prepared picture, draws) -> square.
        count: pictures in the source.
        side: of the square, margin included.
        channels: of a pair's float32; None of a uint8 RGB picture.
        scales: those that are drawn from.
        failures: errors so far. An error raised in TensorFlow's thread would be logged with a
            traceback, and reach the caller as text: so it is kept here, and told by a flag.
    """

    reader: PictureReader
    order: Callable[[tf.Tensor], tf.Tensor]
    window: Callable[[np.ndarray, np.ndarray], np.ndarray]
    count: int
    side: int
    channels: int | None
    scales: Sequence[float] = (WHOLE,)
    failures: list[Exception] = dataclasses.field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.side, self.side, self.channels or 3

    @property
    def dtype(self) -> type:
        return np.uint8 if self.channels is None else np.float32

    def __call__(self, position, index, draws, scale_draw):
        square = np.zeros(self.shape, self.dtype)
        label, name = -1, ""
        if not self.failures:
            try:
                candidates = self._candidates(int(position), int(index))
                scale = self.scales[int(float(scale_draw) * len(self.scales))]
                if (found := self.reader.read(candidates, scale=scale)) is not None:
                    image, label, name = found
                    square = self.window(image, draws)
            except Exception as error:
                self.failures.append(error)
        failed = bool(self.failures)
        return square, np.int32(label), name.encode("utf-8", "surrogateescape"), failed

    def _candidates(self, position: int, index: int) -> Iterator[int]:
        """The picture of a position, then those after it in its epoch, round to the start."""
        yield index
        place = position % self.count
        for step in range(1, self.count):
            later = position - place + (place + step) % self.count
            yield int(self.order(tf.constant(later, tf.int64)))


def _stream(
    positions: tf.data.Dataset,
    load: _Load,
    *,
    corrupt: Callable,
    batch: Callable[[tf.data.Dataset], tf.data.Dataset],
    seed: int,
    grain: tuple[float, float] | None = None,
) -> tf.data.Dataset:
    """Positions (int64) -> squares -> batches -> X_0 and X_1."""

    @tf.autograph.experimental.do_not_convert
    def visit(position):
        key = tf.stack([tf.constant(_int64(seed), tf.int64), position])
        seeds = tf.random.stateless_uniform(
            [2, 2], key, minval=None, maxval=None, dtype=tf.int32, alg=_PHILOX
        )
        draws = tf.random.stateless_uniform([5], seeds[0], alg=_PHILOX)
        more = tf.zeros([2])
        if grain is not None or len(load.scales) > 1:  # else the time of drawing them shows
            later = tf.random.experimental.stateless_fold_in(seeds[0], 1, alg=_PHILOX)
            # of the scale, of the grain
            more = tf.random.stateless_uniform([2], later, alg=_PHILOX)
        loaded = tf.numpy_function(
            load,
            [position, load.order(position), draws, more[0]],
            [load.dtype, tf.int32, tf.string, tf.bool],
        )
        loaded[0].set_shape(load.shape)
        for scalar in loaded[1:]:
            scalar.set_shape([])
        if grain is not None:
            later = tf.random.experimental.stateless_fold_in(later, 1, alg=_PHILOX)
            loaded[0] = add_grain(later, loaded[0], more[1], grain)
        return *loaded, seeds[1], position

    @tf.autograph.experimental.do_not_convert
    def finish(image, label, name, failed, seeds, position):
        clean, (degraded, mask, cond), valid = corrupt(seeds, image, position)
        optional = {"mask": mask, "cond": cond, "valid": valid}
        present = {key: value for key, value in optional.items() if value is not None}
        told = {"label": label, "name": name, "failed": tf.reduce_any(failed)}
        return {"clean": clean, "degraded": degraded, **told, **present}

    options = tf.data.Options()
    options.deterministic = True
    dataset = positions.map(visit, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = batch(dataset).map(finish, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _corrupting(corruption: Corruption | PairedDegradation, corrupt: Callable) -> Callable:
    """(seeds, squares, numbers) -> clean, (degraded, mask, cond), valid."""

    def picture(seeds, image, index):
        clean = tf.cast(image, tf.float32) / 127.5 - 1.0
        return *corrupt(seeds, clean, index), None

    def pair(seeds, both, index):
        valid = tf.reduce_all(tf.math.is_finite(both), axis=-1, keepdims=True)
        clean, source = corruption.split(tf.where(valid, both, 0.0))
        degraded, cond = corruption.inputs(source)
        return clean, (degraded, None, cond), tf.cast(valid, tf.float32)

    return pair if isinstance(corruption, PairedDegradation) else picture


def _count(source: Source) -> int:
    if not len(source):
        raise ValueError("the source has no pictures")
    return len(source)


def _int64(seed: int) -> int:
    """Any Python int as an int64."""
    return seed % 2**63
