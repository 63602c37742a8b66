"""Restores and scores pictures on all devices; the one place of this package that jits.

Pictures are dealt in shards, what one device computes at once. A network call always has one shard
a device, padded by its last picture, and a picture's noise is a function of its name: figures
depend neither on the devices and processes nor on where a job was stopped.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from i2sb_jax.accelerators import agreement, sharding
from i2sb_jax.accelerators.compiler import compile_options
from i2sb_jax.build import SampleFn
from i2sb_jax.evaluation.networks import Network
from i2sb_jax.evaluation.scores import make_score_fn
from i2sb_jax.evaluation.store import ShardStore, pictures_of, scores_of
from i2sb_jax.pictures import to_pixels, to_uint8
from i2sb_jax.sampling.noise import key_of_hash, name_hash
from i2sb_jax.types import Array, Batch, Params

CLEAN, DEGRADED = "clean", "degraded"

# numbers of pictures -> batches of so many rows of them, in this order
Pictures = Callable[[Sequence[int]], Iterator[Batch]]
View = Callable[[Batch], np.ndarray]


def evaluate(
    sample_fn: SampleFn,
    params: Params,
    pictures: Pictures,
    store: ShardStore,
    *,
    method: str,
    seed: int,
    mesh: Mesh,
    on_batch: Callable[[], None] = lambda: None,
) -> None:
    """Restores every picture that the store has not yet got by this method.

    Args:
        sample_fn: pure, as `build.make_sample_fn` gives it: (keys, params, x1, mask, cond, origin)
            -> Samples.
        params: of its network, on the mesh.
        pictures: numbers -> this process's batches of `store.size` pictures a device.
        store: where pictures go, uint8 by truncation, or float32 of pairs.
        method: its name there.
        seed: of the sampler's noise.
        mesh: all devices.
        on_batch: called after each batch.

    Raises:
        ValueError: a picture that could be read before cannot be read now.
    """
    restore = _restoring(sample_fn, mesh)
    in_bytes = functools.partial(_saved, store=store)
    hands = _deal(store, pictures_of(method), mesh)
    batches = pictures(_numbers(store, hands))
    running = None
    for hand in hands:
        batch = next(batches)
        _check_readable(store, hand, batch)
        inputs = batch.degraded, batch.to_restore, batch.cond
        hashes = np.array([name_hash(name) for name in _names(batch)], np.uint32)
        x0 = restore(params, np.uint32(seed), *_lay((hashes, *inputs), mesh))
        # the next batch is handed over before the last one is waited for
        if running is not None:
            _write(store, pictures_of(method), *running, in_bytes)
            on_batch()
        running = hand, {"image": x0}
    if running is not None:
        _write(store, pictures_of(method), *running, in_bytes)
        on_batch()


def write_views(
    pictures: Pictures,
    store: ShardStore,
    views: Mapping[str, View],
    *,
    mesh: Mesh,
    warn: Callable[[str], None],
) -> None:
    """Writes the clean pictures with names and labels, and views of the degraded ones.

    Args:
        pictures: as for `evaluate`.
        store: where they go.
        views: method -> its picture of a batch, float32 [batch, h, w, c] in [-1, 1]; whatever needs
            no network, such as a classical repair.
        mesh: all devices, whose processes share the work.
        warn: told of pictures that hold values that are not finite.
    """
    clean = pictures_of(CLEAN)
    kinds = {pictures_of(method): view for method, view in views.items()}
    missing = {n for kind in (clean, *kinds) for n in store.missing(kind)}
    # what could not be read then may be readable now
    gaps = _with_gaps(store)
    hands = _hands(sorted(missing | gaps), mesh)
    batches = pictures(_numbers(store, hands))
    for hand in hands:
        batch = next(batches)
        names = _names(batch)
        there = np.array([bool(name) for name in names])
        for i, name in enumerate(names):
            if there[i] and not all(np.isfinite(x[i]).all() for x in (batch.clean, batch.degraded)):
                there[i] = False
                warn(f"{name} holds values that are not finite: left out")
        told = {"name": np.asarray(batch.name, np.bytes_), "label": batch.label, "there": there}
        if batch.valid is not None:
            told["valid"] = np.asarray(batch.valid) > 0.5
        _remove_outdated(store, hand, there, gaps)
        arrays = {clean: told | _saved({"image": batch.clean}, store=store, exact=True)}
        arrays |= {
            kind: _saved({"image": view(batch)}, store=store) for kind, view in kinds.items()
        }
        for kind, values in arrays.items():
            _write(store, kind, hand, values)


def score_pictures(
    store: ShardStore,
    networks: Mapping[str, Network],
    arrays: Mapping[str, str],
    *,
    method: str,
    mesh: Mesh,
    border: int = 0,
) -> None:
    """Scores the pictures of a method against the clean ones, where the store has no scores yet.

    Args:
        store: holds both.
        networks: by name.
        arrays: which scores, from `score_arrays`.
        method: whose pictures.
        mesh: all devices.
        border: as for `score_arrays`.
    """
    hands = _deal(store, scores_of(method), mesh, arrays=tuple(arrays.values()))
    if not hands:
        return
    params = {name: network.params for name, network in networks.items() if name in arrays}
    params = sharding.replicate(params, mesh)
    on_batch = sharding.batch_sharding(mesh)
    score = jax.jit(make_score_fn(networks, arrays, border=border), out_shardings=on_batch)
    running = None
    with jax.default_matmul_precision("highest"):
        for hand in hands:
            read = [_read(store, kind, hand) for kind in (pictures_of(method), pictures_of(CLEAN))]
            read.append(_read(store, pictures_of(CLEAN), hand, "valid") if store.floats else None)
            found = score(params, *_lay(read, mesh))
            if running is not None:
                _write(store, scores_of(method), *running)
            running = hand, found
    _write(store, scores_of(method), *running)


def batches_left(store: ShardStore, method: str, mesh: Mesh) -> int:
    """How many batches `evaluate` has to do, the same number on all processes."""
    return len(_deal(store, pictures_of(method), mesh))


def seconds_per_evaluation(
    sample_fn: SampleFn, params: Params, pictures: Pictures, store: ShardStore, *, mesh: Mesh
) -> float:
    """How long one evaluation of the network takes for a batch, measured after compiling.

    Args:
        sample_fn: of a single evaluation.
        params: as for `evaluate`.
        pictures: as for `evaluate`.
        store: as for `evaluate`.
        mesh: all devices.
    """
    restore = _restoring(sample_fn, mesh)
    hands = _hands([0], mesh)
    batch = next(pictures(_numbers(store, hands)))
    hashes = np.zeros(len(batch.clean), np.uint32)
    inputs = _lay((hashes, batch.degraded, batch.to_restore, batch.cond), mesh)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(restore(params, np.uint32(0), *inputs))
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def trace(
    sample_fn: SampleFn, params: Params, batch: Batch, *, seed: int, device: jax.Device
) -> np.ndarray:
    """The states on the way from X_1 to X_0 of a few pictures, on one device.

    Args:
        sample_fn: records what is wanted.
        params: numpy, or on that device.
        batch: the pictures, numpy.
        seed: of the sampler's noise, as for `evaluate`.
        device: which.

    Returns:
        float32 [states, batch, h, w, c], X_1 first.
    """
    hashes = np.array([name_hash(name) for name in _names(batch)], np.uint32)
    run = jax.jit(_keyed(sample_fn))
    with jax.default_matmul_precision("highest"):
        arrays = jax.device_put(
            (params, batch.degraded, batch.to_restore, batch.cond, hashes), device
        )
        params, degraded, mask, cond, hashes = arrays
        samples = run(params, np.uint32(seed), hashes, degraded, mask, cond)
    return np.concatenate([np.asarray(batch.degraded)[None], np.asarray(samples.xt_path)])


def _keyed(sample_fn: SampleFn) -> Callable[..., Any]:
    """(params, seed, name hashes, x1, mask, cond) -> Samples, with the noise of `i2sb-restore`."""

    def run(params, seed, hashes, x1, mask, cond):
        keys = jax.vmap(lambda each: key_of_hash(seed, each))(hashes)
        origin = np.zeros((len(x1), 2), np.int32)
        return sample_fn(keys, params, x1, mask, cond, origin)

    return run


def _restoring(sample_fn: SampleFn, mesh: Mesh) -> Callable[..., jax.Array]:
    run = _keyed(sample_fn)
    program = jax.jit(
        lambda *a: run(*a).x0,
        out_shardings=sharding.batch_sharding(mesh),
        compiler_options=compile_options(mesh),
    )

    def restore(*arguments):
        with jax.default_matmul_precision("highest"):
            return program(*arguments)

    return restore


def _names(batch: Batch) -> list[str]:
    return [bytes(name).decode("utf-8", "surrogateescape") for name in batch.name]


# --- shards and devices -------------------------------------------------------------------------


def _deal(
    store: ShardStore, kind: str, mesh: Mesh, *, arrays: Sequence[str] = ()
) -> list[list[tuple[int, bool]]]:
    return _hands(store.missing(kind, arrays=arrays), mesh)


def _hands(missing: Sequence[int], mesh: Mesh) -> list[list[tuple[int, bool]]]:
    """Yields this process's work, batch by batch: (shard, whether it is the one to write it).

    All processes take part in every batch; where shards run out, the last is computed again.
    """
    missing = agreement.of_first_process(missing)
    process, local = jax.process_index(), mesh.size // jax.process_count()
    hands = []
    for start in range(process * local, len(missing) + process * local, mesh.size):
        mine = range(start, start + local)
        last = len(missing) - 1
        hands.append([(missing[min(place, last)], place <= last) for place in mine])
    return hands


def _numbers(store: ShardStore, hands: Sequence[Sequence[tuple[int, bool]]]) -> list[int]:
    """Numbers of the pictures of all batches, each shard padded by its last one."""
    found = []
    for hand in hands:
        for shard, _ in hand:
            numbers = list(store.numbers(shard))
            found += numbers + numbers[-1:] * (store.size - len(numbers))
    return found


def _lay(arrays: Sequence[Array | None], mesh: Mesh) -> list[jax.Array | None]:
    """Lays the rows that this process has of each array over its devices."""
    where = sharding.batch_sharding(mesh)
    return [
        None if x is None else jax.make_array_from_process_local_data(where, np.asarray(x))
        for x in arrays
    ]


def _check_readable(store: ShardStore, hand, batch: Batch) -> None:
    """Raises ValueError for a picture of a batch that is gone since `write_views` read it."""
    for place, (shard, _) in enumerate(hand):
        there = store.read(pictures_of(CLEAN), shard, arrays=("there",))["there"]
        names = batch.name[place * store.size :][: len(there)]
        for number, was, name in zip(store.numbers(shard), there, names, strict=True):
            if was and not name:
                raise ValueError(
                    f"picture {number} of the data could be read before and cannot be read now: "
                    "bring it back, or choose another --output; the same command goes on"
                )


def _with_gaps(store: ShardStore) -> set[int]:
    """Shards that hold pictures which could not be read."""
    clean = pictures_of(CLEAN)
    written = set(range(len(store))) - set(store.missing(clean))
    return {n for n in written if not store.read(clean, n, arrays=("there",))["there"].all()}


def _remove_outdated(store: ShardStore, hand, there: np.ndarray, gaps: set[int]) -> None:
    """Removes what was made of a shard when other pictures of it could be read."""
    for place, (shard, mine) in enumerate(hand):
        if mine and shard in gaps:
            before = store.read(pictures_of(CLEAN), shard, arrays=("there",))["there"]
            now = there[place * store.size :][: len(before)]
            if not np.array_equal(before, now):
                store.remove(shard)


def _saved(
    arrays: Mapping[str, np.ndarray], *, store: ShardStore, exact: bool = False
) -> dict[str, np.ndarray]:
    """Pictures as they are saved, and whether all their values were finite.

    They are clipped to what their files can hold. What came as bytes is given back by rounding
    (`exact`); the protocol truncates all else.
    """
    image = np.asarray(arrays["image"])
    finite = np.isfinite(image).all(axis=tuple(range(1, image.ndim)))
    image = np.clip(np.where(finite.reshape(-1, 1, 1, 1), image, 0), *store.limits)
    if store.floats:
        image = image.astype(np.float32)
    else:
        image = to_pixels(image, np.uint8) if exact else to_uint8(image)
    return {"image": image, "finite": finite}


def _write(
    store, kind: str, hand, arrays: Mapping[str, Array], convert: Callable[..., dict] = dict
) -> None:
    """Writes this process's rows of a batch, converted, shard by shard."""
    rows = convert({name: sharding.local_rows(values) for name, values in arrays.items()})
    for place, (shard, mine) in enumerate(hand):
        if mine:
            part = slice(place * store.size, (place + 1) * store.size)
            store.write(kind, shard, {name: values[part] for name, values in rows.items()})


def _read(store: ShardStore, kind: str, hand, name: str = "image") -> np.ndarray:
    """An array of this process's shards, each padded by its last row."""
    shards = [store.read(kind, shard, arrays=(name,))[name] for shard, _ in hand]
    padded = [
        np.concatenate([images, np.repeat(images[-1:], store.size - len(images), axis=0)])
        for images in shards
    ]
    return np.concatenate(padded)
