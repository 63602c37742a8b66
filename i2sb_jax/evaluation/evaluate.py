"""Restores and scores pictures on all devices; the one place of this package that jits.

Pictures are assigned to devices in shards, each what one device computes at once. A network call
always has one shard a device, padded by its last picture, and a picture's noise is a function of
its name: figures depend neither on the devices and processes nor on where a job was stopped.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
from jax.sharding import Mesh

from i2sb_jax.accelerators import agreement, sharding
from i2sb_jax.evaluation.networks import Network
from i2sb_jax.evaluation.scores import make_score_fn
from i2sb_jax.evaluation.store import ShardStore, pictures_of, scores_of
from i2sb_jax.pictures import to_pixels, to_uint8
from i2sb_jax.sampling import DeviceSampler, SampleFn, Window, picture_keys
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
        sample_fn: pure, as `sampling.make_sample_fn` gives it.
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
    sampler = DeviceSampler(sample_fn, mesh)
    in_bytes = functools.partial(_saved, store=store)
    assignments = _assignments(store, pictures_of(method), mesh)
    batches = pictures(_numbers(store, assignments))
    running = None
    for assigned in assignments:
        batch = next(batches)
        _check_readable(store, assigned, batch)
        x0 = sampler(params, sampler.lay(_windows(batch, seed))).x0
        # the next batch is handed over before the last one is waited for
        if running is not None:
            _write(store, pictures_of(method), *running, in_bytes)
            on_batch()
        running = assigned, {"image": x0}
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
    assignments = _assign(sorted(missing | gaps), mesh)
    batches = pictures(_numbers(store, assignments))
    for assigned in assignments:
        batch = next(batches)
        names = _names(batch)
        there = np.array([bool(name) for name in names])
        for i, name in enumerate(names):
            if there[i] and not all(np.isfinite(x[i]).all() for x in (batch.clean, batch.degraded)):
                there[i] = False
                warn(f"{name} holds values that are not finite: left out")
        described = {
            "name": np.asarray(batch.name, np.bytes_),
            "label": batch.label,
            "there": there,
        }
        if batch.valid is not None:
            described["valid"] = np.asarray(batch.valid) > 0.5
        _remove_outdated(store, assigned, there, gaps)
        arrays = {clean: described | _saved({"image": batch.clean}, store=store, exact=True)}
        arrays |= {
            kind: _saved({"image": view(batch)}, store=store) for kind, view in kinds.items()
        }
        for kind, values in arrays.items():
            _write(store, kind, assigned, values)


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
    assignments = _assignments(store, scores_of(method), mesh, arrays=tuple(arrays.values()))
    if not assignments:
        return
    params = {name: network.params for name, network in networks.items() if name in arrays}
    params = sharding.replicate(params, mesh)
    on_batch = sharding.batch_sharding(mesh)
    score = jax.jit(make_score_fn(networks, arrays, border=border), out_shardings=on_batch)
    running = None
    with jax.default_matmul_precision("highest"):
        for assigned in assignments:
            read = [
                _read(store, kind, assigned) for kind in (pictures_of(method), pictures_of(CLEAN))
            ]
            read.append(
                _read(store, pictures_of(CLEAN), assigned, "valid") if store.floats else None
            )
            found = score(params, *sharding.lay(read, on_batch))
            if running is not None:
                _write(store, scores_of(method), *running)
            running = assigned, found
    _write(store, scores_of(method), *running)


def batches_left(store: ShardStore, method: str, mesh: Mesh) -> int:
    """How many batches `evaluate` has to do, the same number on all processes."""
    return len(_assignments(store, pictures_of(method), mesh))


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
    sampler = DeviceSampler(sample_fn, mesh)
    assignments = _assign([0], mesh)
    batch = next(pictures(_numbers(store, assignments)))
    windows = sampler.lay(_windows(batch, 0))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(sampler(params, windows))
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
    sampler = DeviceSampler(sample_fn, sharding.make_mesh(devices=[device]))
    windows = sampler.lay(_windows(batch, seed))
    samples = sampler(jax.device_put(params, device), windows)
    return np.concatenate([np.asarray(batch.degraded)[None], np.asarray(samples.xt_path)])


def _windows(batch: Batch, seed: int) -> Window:
    """Whole pictures as windows, with the noise that `i2sb-restore` draws for their names."""
    return Window(
        key=picture_keys(seed, _names(batch)),
        x1=batch.degraded,
        mask=batch.to_restore,
        cond=batch.cond,
        origin=np.zeros((len(batch.degraded), 2), np.int32),
    )


def _names(batch: Batch) -> list[str]:
    return [bytes(name).decode("utf-8", "surrogateescape") for name in batch.name]


# --- shards and devices -------------------------------------------------------------------------


def _assignments(
    store: ShardStore, kind: str, mesh: Mesh, *, arrays: Sequence[str] = ()
) -> list[list[tuple[int, bool]]]:
    return _assign(store.missing(kind, arrays=arrays), mesh)


def _assign(missing: Sequence[int], mesh: Mesh) -> list[list[tuple[int, bool]]]:
    """Yields this process's work, batch by batch: (shard, whether it is the one to write it).

    All processes take part in every batch; where shards run out, the last is computed again.
    """
    missing = agreement.of_first_process(missing)
    process, local = jax.process_index(), mesh.size // jax.process_count()
    assignments = []
    for start in range(process * local, len(missing) + process * local, mesh.size):
        mine = range(start, start + local)
        last = len(missing) - 1
        assignments.append([(missing[min(place, last)], place <= last) for place in mine])
    return assignments


def _numbers(store: ShardStore, assignments: Sequence[Sequence[tuple[int, bool]]]) -> list[int]:
    """Numbers of the pictures of all batches, each shard padded by its last one."""
    found = []
    for assigned in assignments:
        for shard, _ in assigned:
            numbers = list(store.numbers(shard))
            found += numbers + numbers[-1:] * (store.size - len(numbers))
    return found


def _check_readable(store: ShardStore, assigned, batch: Batch) -> None:
    """Raises ValueError for a picture of a batch that is gone since `write_views` read it."""
    for place, (shard, _) in enumerate(assigned):
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


def _remove_outdated(store: ShardStore, assigned, there: np.ndarray, gaps: set[int]) -> None:
    """Removes what was made of a shard when other pictures of it could be read."""
    for place, (shard, mine) in enumerate(assigned):
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
    store, kind: str, assigned, arrays: Mapping[str, Array], convert: Callable[..., dict] = dict
) -> None:
    """Writes this process's rows of a batch, converted, shard by shard."""
    rows = convert({name: sharding.local_rows(values) for name, values in arrays.items()})
    for place, (shard, mine) in enumerate(assigned):
        if mine:
            part = slice(place * store.size, (place + 1) * store.size)
            store.write(kind, shard, {name: values[part] for name, values in rows.items()})


def _read(store: ShardStore, kind: str, assigned, name: str = "image") -> np.ndarray:
    """An array of this process's shards, each padded by its last row."""
    shards = [store.read(kind, shard, arrays=(name,))[name] for shard, _ in assigned]
    padded = [
        np.concatenate([images, np.repeat(images[-1:], store.size - len(images), axis=0)])
        for images in shards
    ]
    return np.concatenate(padded)
