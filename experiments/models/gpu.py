"""Trains one of the shipped models on a GPU within a given time, without TensorFlow.

    python -m experiments.models.gpu jpeg --photographs DIR --output DIR [--seconds 600]

The network, its loss and what happens to a window are those of `configs/zoo.py`; only the feeding
differs. A GPU takes windows faster than a few processor cores degrade them, so workers fill a ring
of windows in the device's memory from which batches are drawn, each window a few times and mirrored
at random. The learning rate falls to zero, along a cosine, when the time is over.
"""

import argparse
import functools
import json
import multiprocessing
import os
import pathlib
import queue
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from i2sb_jax.config import Config, from_config_dict
from i2sb_jax.configs import zoo
from i2sb_jax.corruptions import make_corruption
from i2sb_jax.corruptions.photographic import round_levels, to_levels
from i2sb_jax.data.windows import WindowCorruption, window_at, window_corruption

_SIDE = 256  # of windows as they are degraded; cut into quarters, lest margins be most of the work
_CHUNK = 8  # such windows at a time
_LEAST = 2048  # windows in the ring before training starts
_PATIENCE = 5.0  # seconds for a chunk before the time is looked at again


class Windows(NamedTuple):
    """Windows as they travel and wait: cond is of a whole window, or None.

    Attributes:
        clean: uint8 [n, size, size, 3].
        degraded: the same.
        cond: float32 [n, c], or None.
    """

    clean: Any
    degraded: Any
    cond: Any = None


def degraded_windows(
    rng: np.random.Generator,
    pictures: Sequence[np.ndarray],
    corruption: WindowCorruption,
    config: Config,
    count: int,
) -> Windows:
    """Draws windows of photographs and degrades them, as the input pipeline of training does.

    Args:
        rng: decides everything.
        pictures: uint8 [h, w, 3], each at least as large as the corruption's windows.
        corruption: of windows with their margin; its windows are cut into ones of
            `config.image_size`.
        config: of the run; its `data` section says what is drawn.
        count: of the corruption's windows.

    Returns:
        count · (corruption.image_size / config.image_size)² windows.
    """
    roots = np.sqrt([picture.shape[0] * picture.shape[1] for picture in pictures])
    squares = []
    for number in rng.choice(len(pictures), count, p=roots / roots.sum()):
        picture = pictures[number]
        top, left = (
            rng.integers((side - corruption.image_size) // corruption.grid + 1) * corruption.grid
            for side in picture.shape[:2]
        )
        square = window_at(
            picture, top, left, image_size=corruption.image_size, margin=corruption.margin
        )
        square = np.rot90(square, rng.integers(4))[:, :: rng.choice((-1, 1))]
        square = square[..., rng.permutation(3)].astype(np.float32)
        grain = rng.uniform(*config.data.grain)
        square += grain * rng.standard_normal(square.shape, np.float32)
        squares.append(np.clip(square, 0, 255) / 127.5 - 1)
    clean, corrupted = corruption(rng, np.stack(squares))
    size = config.image_size
    cond = None if corrupted.cond is None else _cut(corrupted.cond, size)[:, 0, 0]
    clean, degraded = (
        round_levels(to_levels(_cut(squares, size))) for squares in (clean, corrupted.image)
    )
    return Windows(clean, degraded, cond)


def _cut(squares: np.ndarray, size: int) -> np.ndarray:
    """Squares [n, k·size, k·size, c] as [n·k², size, size, c]."""
    number, side, _, channels = squares.shape
    pieces = side // size
    squares = squares.reshape(number, pieces, size, pieces, size, channels)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(-1, size, size, channels)


def read_pictures(folder: pathlib.Path, scales: Sequence[float]) -> list[np.ndarray]:
    """The photographs of a folder, each at all scales at which a window of them fits."""
    pictures = []
    for path in sorted(folder.glob("*.png")):
        picture = Image.open(path).convert("RGB")
        for scale in scales:
            sides = [round(scale * side) for side in picture.size]
            if min(sides) >= _SIDE:
                resized = picture.resize(sides, Image.Resampling.LANCZOS, reducing_gap=None)
                pictures.append(np.asarray(resized if scale != 1 else picture))
    return pictures


def _work(config: Config, folder: pathlib.Path, seed: int, ready: Any) -> None:
    pictures = read_pictures(folder, config.data.scales)
    corruption = window_corruption(
        make_corruption(config.corruption, image_size=_SIDE), image_size=_SIDE, crop="window"
    )
    rng = np.random.default_rng(seed)
    while True:
        ready.put(degraded_windows(rng, pictures, corruption, config, _CHUNK))


def train(
    config: Config,
    folder: pathlib.Path,
    *,
    seconds: float,
    workers: int,
    ring_size: int,
    log_every: int = 100,
) -> tuple[Any, list[dict[str, float]]]:
    """Trains for so many seconds, compilation included.

    Args:
        config: of the run.
        folder: of photographs, PNG.
        seconds: from now to the end.
        workers: processes that degrade windows.
        ring_size: windows kept on the device.
        log_every: updates between lines.

    Returns:
        The averaged parameters, and the log's lines.
    """
    start = time.monotonic()
    context = multiprocessing.get_context("spawn")
    ready = context.Queue(4 * workers)
    processes = [
        context.Process(target=_work, args=(config, folder, seed, ready), daemon=True)
        for seed in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        return _train(config, ready, start, seconds, ring_size, log_every)
    finally:
        for process in processes:
            process.kill()


def _train(
    config: Config, ready: Any, start: float, seconds: float, ring_size: int, log_every: int
) -> tuple[Any, list[dict[str, float]]]:
    import jax  # the workers are spawned, and need no device
    import jax.numpy as jnp
    import optax

    from i2sb_jax.run import Run
    from i2sb_jax.training import create_state
    from i2sb_jax.types import Batch

    peak = config.optimizer.learning_rate
    tx = optax.chain(
        optax.clip_by_global_norm(config.optimizer.clip_norm),
        optax.inject_hyperparams(optax.adamw)(
            learning_rate=peak, weight_decay=config.optimizer.weight_decay
        ),
    )
    run = Run(config)
    update = make_update(run, tx)

    @functools.partial(jax.jit, donate_argnums=0)
    def write(ring: Windows, chunk: Windows, place: jax.Array) -> Windows:
        def put(old, new):
            return jax.lax.dynamic_update_slice_in_dim(old, new, place, axis=0)

        return jax.tree.map(put, ring, chunk)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, ring: Windows, filled: jax.Array, rate: jax.Array, root: jax.Array):
        key, key_place, key_flip = jax.random.split(jax.random.fold_in(root, state.step), 3)
        size = config.training.batch_size
        places = jax.random.randint(key_place, (size,), 0, filled)
        flips = jax.random.bernoulli(key_flip, shape=(2, size, 1, 1, 1))

        def images(levels):
            x = levels[places].astype(jnp.float32) / 127.5 - 1
            x = jnp.where(flips[0], x[:, ::-1], x)
            return jnp.where(flips[1], x[:, :, ::-1], x)

        batch = Batch(images(ring.clean), images(ring.degraded))
        if ring.cond is not None:
            cond = ring.cond[places][:, None, None]
            shape = (*batch.clean.shape[:-1], cond.shape[-1])
            batch = batch._replace(cond=jnp.broadcast_to(cond, shape))
        clip_state, adamw_state = state.opt_state
        adamw_state.hyperparams["learning_rate"] = rate
        state = state._replace(opt_state=(clip_state, adamw_state))
        return update(state, batch, key)

    root = jax.random.key(config.seed)
    state = create_state(jax.jit(run.init_params)(root), tx)
    chunk = ready.get()
    size = len(chunk.clean)
    ring_size = ring_size // size * size

    def empty(x):
        return jnp.zeros((ring_size, *x.shape[1:]), x.dtype)

    ring, written = jax.tree.map(empty, chunk), 0
    lines, losses, first = [], [], None
    while (passed := time.monotonic() - start) < seconds:
        filled = min(written, ring_size)
        try:  # one chunk an update at most; wait for the first ones
            chunk = ready.get(block=filled < min(_LEAST, ring_size), timeout=_PATIENCE)
            ring = write(ring, chunk, written % ring_size)
            written += size
        except queue.Empty:
            pass
        if filled < min(_LEAST, ring_size):
            continue
        done = len(losses) + (lines[-1]["step"] if lines else 0)
        if first is None:
            first = passed
        share = (passed - first) / (seconds - first)
        warm = min(1.0, (done + 1) / config.optimizer.warmup_steps)
        rate = peak * warm * (1 + np.cos(np.pi * share)) / 2
        state, metrics = step(state, ring, filled, np.float32(rate), root)
        losses.append(metrics["loss"])
        if len(losses) == log_every:
            lines.append(_line(done + 1, jax.device_get(losses), written, passed))
            losses = []
    if losses:
        done = len(losses) + (lines[-1]["step"] if lines else 0)
        lines.append(_line(done, jax.device_get(losses), written, passed))
    return jax.device_get(state.ema_params), lines


def make_update(run: Any, tx: Any) -> Callable[..., Any]:
    """Returns the training step of a run's bridge by another optimizer than the run's.

    Args:
        run: a `Run`.
        tx: of optax.
    """
    from i2sb_jax.training import make_train_step

    config = run.config
    return make_train_step(
        apply_fn=run.network.apply, tx=tx, schedule=run.bridge,
        ema_decay=config.training.ema_decay, deterministic=config.bridge.deterministic,
        prediction=config.bridge.prediction, weighting=config.bridge.weighting,
        end_share=config.bridge.end_share, log_floor=config.bridge.log_floor,
    )  # fmt: skip


def _line(step: int, losses: list[Any], windows: int, passed: float) -> dict[str, float]:
    """Prints and returns a line of the log: the mean loss since the last one."""
    line = {"step": step, "loss": float(np.mean(losses)), "windows": windows}
    line["seconds"] = round(passed, 1)
    print(json.dumps(line), flush=True)
    return line


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one model and writes it as a model folder."""
    from i2sb_jax import config as config_lib
    from i2sb_jax.interop.provenance import MODEL_FILE
    from i2sb_jax.interop.weights import save_safetensors

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("task", choices=zoo.TASKS)
    parser.add_argument("--photographs", type=pathlib.Path, required=True, help="folder of PNGs")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--seconds", type=float, default=600, help="from start to end")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--ring", type=int, default=8192, help="windows on the device")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True)
    values = zoo.get_config(given.task)
    values.data.path = str(given.photographs)
    values.training.batch_size = given.batch_size
    values.model.dtype = given.dtype
    config = from_config_dict(values.to_dict())
    params, lines = train(
        config, given.photographs, seconds=given.seconds, workers=given.workers,
        ring_size=given.ring,
    )  # fmt: skip
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (given.output / "metrics.jsonl").write_text(text)
    save_safetensors(given.output / MODEL_FILE, params)
    values.model.dtype = "float32"
    config_lib.save(given.output, from_config_dict(values.to_dict()))


if __name__ == "__main__":
    main()
