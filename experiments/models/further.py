"""Goes on with a trained denoiser on a CPU, with thresholded pictures that it learns to weigh.

    python -m experiments.models.further --model MODEL --photographs DIR --output DIR --updates 1000

The network, its loss and the windows are those of `configs/zoo.py:denoise`, but that the noise of a
window is drawn from one of two ranges in equal shares, lest weak noise be rare. Where MODEL was
trained without `model.thresholded`, the weights of those inputs start at zero and the gates at the
least squares' solution, in which windows count as they do in the loss.
"""

import argparse
import functools
import json
import pathlib
import shutil
import time
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.models import gpu
from i2sb_jax import config as config_lib
from i2sb_jax.accelerators.compiler import compile_options
from i2sb_jax.config import from_config_dict
from i2sb_jax.configs import zoo
from i2sb_jax.corruptions import make_corruption
from i2sb_jax.data.windows import window_corruption
from i2sb_jax.interop.provenance import MODEL_FILE
from i2sb_jax.interop.weights import load_model_folder, save_safetensors
from i2sb_jax.models.threshold import thresholded
from i2sb_jax.models.unet import space_to_depth
from i2sb_jax.pictures import from_uint8
from i2sb_jax.run import Run
from i2sb_jax.training import create_state
from i2sb_jax.types import Batch, Params

LOG = "further.jsonl"
CORRUPTIONS = ("noise-0-25", "noise-0-60")
_SIDE = 256  # of windows as they are degraded
_CHUNK = 8  # such windows of each corruption at a time
_DAMPING = 1e-6  # of the normal equations' diagonal
_WARM_UP = 50  # updates
_LOG_EVERY = 50  # updates
_SAVE_EVERY = 500  # updates


def batches(run: Run, folder: pathlib.Path, size: int) -> Iterator[Batch]:
    """Yields batches of so many windows without end, each corruption as often as the others."""
    config = run.config
    pictures = gpu.read_pictures(folder, config.data.scales)
    operators = [
        window_corruption(make_corruption(name, image_size=_SIDE), image_size=_SIDE, crop="window")
        for name in CORRUPTIONS
    ]
    rng = np.random.default_rng(config.seed)
    while True:
        chunks = [
            gpu.degraded_windows(rng, pictures, operator, config, _CHUNK) for operator in operators
        ]
        clean = np.concatenate([chunk.clean for chunk in chunks])
        degraded = np.concatenate([chunk.degraded for chunk in chunks])
        order = rng.permutation(len(clean))
        for start in range(0, len(order) - size + 1, size):
            those = order[start : start + size]
            yield Batch(from_uint8(clean[those]), from_uint8(degraded[those]))


def widened(params: Params, run: Run) -> Params:
    """Returns parameters for a network that sees more channels, those and its gates at zero.

    Raises:
        ValueError: another tensor than the first convolution's differs in shape.
    """
    fresh = jax.eval_shape(run.init_params, jax.random.key(0))
    squares = run.config.model.patch**2
    gates = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), fresh["conv_gates"])
    params = {"conv_gates": gates} | dict(params)

    def fit(path, wanted, value):
        value = jnp.asarray(value, jnp.float32)
        if value.shape == wanted.shape:
            return value
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name != "conv_in/kernel":
            raise ValueError(f"{name} has shape {value.shape}, the network's is {wanted.shape}")
        # squares of pixels are channels, those of a pixel together
        rows, columns, seen, outputs = value.shape
        value = value.reshape(rows, columns, squares, seen // squares, outputs)
        more = wanted.shape[2] // squares - value.shape[3]
        return jnp.pad(value, ((0, 0),) * 3 + ((0, more), (0, 0))).reshape(wanted.shape)

    return jax.tree_util.tree_map_with_path(fit, fresh, params)


def fit_gates(params: Params, run: Run, windows: Iterator[Batch], count: int) -> Params:
    """Returns parameters whose gates solve the least squares of X_1 for so many batches.

    The middles of the gates' kernels alone, since what the network gives is linear in them; a
    window's squares are divided by its own mean plus `bridge.log_floor`.
    """
    config = run.config
    last = config.bridge.num_steps - 1
    level, scale = run.bridge.noise_level[last], float(run.bridge.scale[last])

    @jax.jit
    def normal_equations(batch: Batch):
        x = batch.degraded
        output, kept = run.network.apply(
            {"params": params}, x, jnp.full(len(x), level), mutable=["intermediates"],
            capture_intermediates=lambda module, _: module.name == "norm_out",
        )  # fmt: skip
        features = kept["intermediates"]["norm_out"]["__call__"][0]
        features = jnp.concatenate([features, jnp.ones_like(features[..., :1])], axis=-1)
        changes = thresholded(x, config.model.thresholded).reshape(*x.shape, -1)
        rest = (x - batch.clean) / scale - output
        shares = 1 / (jnp.mean(rest**2, axis=(1, 2, 3)) + config.bridge.log_floor)
        weighed = jnp.concatenate([output[..., None], changes], axis=-1)
        weighed = weighed.reshape(*x.shape[:3], -1)
        weighed = space_to_depth(weighed, config.model.patch)
        rest = space_to_depth(rest, config.model.patch)
        weighed = weighed.reshape(*rest.shape, -1)

        def of_channel(channel):
            products = features[..., :, None] * weighed[..., channel, None, :]
            products = products.reshape(len(x), -1, features.shape[-1] * weighed.shape[-1])
            shared = products * shares[:, None, None]
            wanted = rest[..., channel].reshape(len(x), -1)
            return (
                jnp.einsum("bpi,bpj->ij", shared, products),
                jnp.einsum("bpi,bp->i", shared, wanted),
            )

        return jax.lax.map(of_channel, jnp.arange(rest.shape[-1]))

    parts = [jax.device_get(normal_equations(next(windows))) for _ in range(count)]
    left, right = (
        sum(np.asarray(side, np.float64) for side in sides) for sides in zip(*parts, strict=True)
    )
    diagonal = np.einsum("cii->ci", left)
    diagonal += _DAMPING * (diagonal + diagonal.mean(axis=-1, keepdims=True))
    gates = np.linalg.solve(left, right[..., None]).astype(np.float32)
    kernel = np.zeros(params["conv_gates"]["kernel"].shape, np.float32)
    # [channel, feature, what is weighed] as the layer has it, its bias the last feature
    gates = gates.reshape(len(gates), kernel.shape[2] + 1, -1).transpose(1, 0, 2)
    gates = gates.reshape(kernel.shape[2] + 1, -1)
    kernel[1, 1] = gates[:-1]
    return params | {"conv_gates": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(gates[-1])}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains and writes a model folder with its log."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, required=True, help="float32 weights")
    parser.add_argument("--photographs", type=pathlib.Path, required=True, help="folder of PNGs")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--fitted", type=int, default=384, help="batches for gates' least squares")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--learning-rate", type=float, default=5e-5, help="the highest")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=64, help="of windows")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    given.output.mkdir(parents=True)
    shutil.copy(given.model / "metrics.jsonl", given.output)  # the log goes on in LOG
    values = zoo.get_config("denoise")
    values.data.path = str(given.photographs)
    config_lib.save(given.output, from_config_dict(values.to_dict()))
    values.image_size, values.seed = given.image_size, given.seed
    values.training.num_steps = given.updates
    config = from_config_dict(values.to_dict())
    run = Run(config)
    windows = batches(run, given.photographs, given.batch_size)
    _, params = load_model_folder(given.model)
    has_gates = "conv_gates" in params
    params = widened(params, run)
    if not has_gates:
        params = fit_gates(params, run, windows, given.fitted)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, given.learning_rate, min(_WARM_UP, given.updates // 2), given.updates
    )
    tx = optax.chain(optax.clip_by_global_norm(config.optimizer.clip_norm), optax.adam(rate))
    update = gpu.make_update(run, tx)
    options = compile_options(run.mesh)
    step = jax.jit(update, donate_argnums=0, compiler_options=options)
    state, root = create_state(params, tx), jax.random.key(config.seed)
    start, losses = time.monotonic(), []
    save = functools.partial(save_safetensors, given.output / MODEL_FILE)
    with (given.output / LOG).open("w") as log:
        for done in range(1, given.updates + 1):
            state, metrics = step(state, next(windows), jax.random.fold_in(root, done))
            losses.append(metrics["loss"])
            if done % _LOG_EVERY == 0 or done == given.updates:
                line = {"step": done, "loss": float(np.mean(jax.device_get(losses)))}
                line |= {"windows": done * given.batch_size}
                line |= {"seconds": round(time.monotonic() - start, 1)}
                log.write(f"{json.dumps(line)}\n")
                log.flush()
                print(json.dumps(line), flush=True)
                losses = []
            if done % _SAVE_EVERY == 0 or done == given.updates:
                save(jax.device_get(state.ema_params))


if __name__ == "__main__":
    main()
