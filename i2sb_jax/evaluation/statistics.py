"""Statistics of a whole set of pictures, in constant memory, as reference for others."""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh

from i2sb_jax.accelerators import agreement, sharding
from i2sb_jax.evaluation.frechet import FeatureMoments, save_statistics
from i2sb_jax.files import write_atomically
from i2sb_jax.types import Array, Batch, Params

_PART = 4096  # pictures after which what was summed is saved
_MOST_PARTS = 32
_SUMMED = 1024  # features at once: a merge of covariances costs more than the sum of a few

Features = Callable[[Params, Array], jax.Array]


class PictureSet(NamedTuple):
    """Pictures by number.

    Attributes:
        batches: numbers -> this process's batches.
        count: of the pictures.
        key: what tells them, and the weights they are seen with, from others.
    """

    batches: Callable[[Sequence[int]], Iterator[Batch]]
    count: int
    key: str


def make_statistics(
    features_fn: Features,
    params: Params,
    pictures: PictureSet,
    output: epath.PathLike,
    *,
    batch_size: int,
    mesh: Mesh,
    part: int = _PART,
    on_batch: Callable[[int], None] = lambda pictures: None,
) -> FeatureMoments:
    """Writes mean and covariance of the features of pictures.

    Sums of every `part` pictures are saved beside `output` until all are there: a job that was
    stopped goes on, on any number of devices, and processes share the parts.

    Args:
        features_fn: pure (params, uint8 [batch, h, w, 3]) -> [batch, d].
        params: of its network, numpy.
        pictures: what is summed, in batches of `batch_size` pictures a device.
        output: an .npz, for `load_statistics`.
        batch_size: pictures a device.
        mesh: devices of this process; processes do not exchange anything but parts.
        part: pictures, at least.
        on_batch: told the number of pictures of each batch that is done, here.

    Returns:
        Of all readable pictures, on every process.

    Raises:
        ValueError: fewer than two pictures can be read.
    """
    count = pictures.count
    part = max(part, -(-count // _MOST_PARTS))
    output = epath.Path(output).expanduser()
    digest = hashlib.sha256(json.dumps([pictures.key, count, part]).encode()).hexdigest()[:16]
    folder = output.parent / f".{output.name}.{digest}.parts"
    files = [folder / f"{start:09d}.npz" for start in range(0, count, part)]
    process, processes = jax.process_index(), jax.process_count()
    features = jax.jit(features_fn, out_shardings=sharding.batch_sharding(mesh))
    params = jax.device_put(params, sharding.replicated(mesh))
    for number in range(process, len(files), processes):
        if files[number].exists():
            continue
        numbers = range(number * part, min((number + 1) * part, count))
        rows = _Rows(batch_size * mesh.size, mesh, on_batch)
        moments = rows.moments(lambda images: features(params, images), pictures.batches(numbers))
        _save(files[number], moments)
    agreement.barrier("statistics")
    merged = _merged(files)
    if merged is None or merged.count < 2:
        agreement.barrier("there are no statistics")
        if process == 0:  # they may be readable another time
            folder.rmtree(missing_ok=True)
        found = 0 if merged is None else merged.count
        raise ValueError(f"{found} of {count} pictures can be read: statistics need at least 2")
    if process == 0:
        save_statistics(output, merged)
    agreement.barrier("statistics are written")
    if process == 0:
        folder.rmtree(missing_ok=True)
    return merged


class _Rows:
    """Walks batches, one ahead of the device."""

    def __init__(self, size: int, mesh: Mesh, on_batch: Callable[[int], None]):
        self._size, self._where, self._on_batch = size, sharding.batch_sharding(mesh), on_batch

    def moments(self, features, batches: Iterator[Batch]) -> FeatureMoments | None:
        """Returns the statistics of all readable pictures; None without any."""
        total, found = None, []
        for rows in self._features(features, batches):
            found.append(rows)
            if sum(map(len, found)) >= _SUMMED:
                total, found = _added(total, found), []
        return _added(total, found)

    def _features(self, features, batches: Iterator[Batch]) -> Iterator[np.ndarray]:
        """Those of readable pictures, batch by batch."""
        running = None
        for batch in batches:
            images = np.zeros((self._size, *batch.clean.shape[1:]), np.uint8)
            images[: len(batch.clean)] = _bytes(batch.clean)
            readable = np.array([bool(name) for name in batch.name])
            started = features(jax.device_put(images, self._where)), readable
            if running is not None:
                yield self._finished(*running)
            running = started
        if running is not None:
            yield self._finished(*running)

    def _finished(self, features: jax.Array, readable: np.ndarray) -> np.ndarray:
        found = np.asarray(features)[: len(readable)][readable]
        self._on_batch(len(readable))
        return found


def _added(total: FeatureMoments | None, found: list[np.ndarray]) -> FeatureMoments | None:
    rows = np.concatenate(found) if found else np.empty((0, 0))
    if not len(rows):
        return total
    moments = FeatureMoments.of(rows)
    return moments if total is None else total.merge(moments)


def _bytes(clean: np.ndarray) -> np.ndarray:
    """Pictures that came as bytes, as bytes again: rounding undoes the scaling exactly."""
    return np.rint((np.asarray(clean) + 1) * 127.5).clip(0, 255).astype(np.uint8)


def _save(path: epath.Path, moments: FeatureMoments | None) -> None:
    arrays = {} if moments is None else vars(moments)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def _merged(files: Sequence[epath.Path]) -> FeatureMoments | None:
    total = None
    for path in files:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            if "count" not in file:
                continue
            arrays = {"mean": file["mean"], "scatter": file["scatter"]}
            moments = FeatureMoments(count=int(file["count"]), **arrays)
        total = moments if total is None else total.merge(moments)
    return total
