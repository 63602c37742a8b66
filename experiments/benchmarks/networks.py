"""The networks that are measured, by name, with all that a run of them needs.

What is timed is the library's own: its U-Net, and its training step jitted as `training.loop` does
it, the state written over. Weights are random and nowhere zero: a fresh U-Net's output is.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax import bridge
from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.compiler import compile_options
from i2sb_jax.config import OptimizerConfig
from i2sb_jax.learning.optimizer import make_optimizer
from i2sb_jax.learning.state import TrainState, create_state
from i2sb_jax.learning.step import make_train_step
from i2sb_jax.models import UNet, UNetConfig, adm_256
from i2sb_jax.types import Batch, Params

LEARNING_RATE, B1, B2, EMA_DECAY = 5e-5, 0.9, 0.999, 0.99
NUM_STEPS, BETA_MAX = 1000, 0.3
CHANNELS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Size:
    """A network and the pictures that it is given.

    Attributes:
        network: the U-Net.
        image_size: side of the pictures, pixels.
        batch_size: pictures at once.
    """

    network: UNetConfig
    image_size: int
    batch_size: int

    def replaced(self, *, batch_size: int | None = None, **network: Any) -> "Size":
        """With other pictures at once, or with fields of the network changed."""
        return Size(
            network=dataclasses.replace(self.network, **network),
            image_size=self.image_size,
            batch_size=self.batch_size if batch_size is None else batch_size,
        )


SIZES = {
    "tiny": Size(
        network=UNetConfig(
            model_channels=32,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention_downsamples=(2,),
            head_channels=32,
        ),
        image_size=16,
        batch_size=2,
    ),
    "cpu": Size(
        network=UNetConfig(
            model_channels=64,
            channel_mult=(1, 2, 2, 2),
            num_res_blocks=2,
            attention_downsamples=(2, 4, 8),
            head_channels=64,
        ),
        image_size=64,
        batch_size=4,
    ),
    "adm256": Size(network=adm_256(), image_size=256, batch_size=16),
}


def abstract_params(size: Size) -> Params:
    """Shapes of the parameters."""
    image = jnp.zeros((1, size.image_size, size.image_size, size.network.in_channels))
    init = functools.partial(UNet(size.network).init, jax.random.key(0))
    return jax.eval_shape(init, image, jnp.zeros((1,)))["params"]


def random_params(size: Size, *, seed: int = 0) -> Params:
    """NumPy parameters, normal: kernels ÷ √fan-in, the others × 0.1, gains around 1."""
    rng = np.random.default_rng(seed)

    def draw(path: tuple, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        z = rng.standard_normal(shape.shape, dtype=np.float32)
        if z.ndim > 1:
            z *= np.float32(np.prod(shape.shape[:-1]) ** -0.5)
            return z
        z *= np.float32(0.1)
        return z + 1 if path[-1].key == "scale" else z

    return jax.tree_util.tree_map_with_path(draw, abstract_params(size))


def pictures(size: Size, *, seed: int = 0) -> np.ndarray:
    """Noise in the place of pictures, float32 [batch, side, side, 3] in [-1, 1]."""
    shape = (size.batch_size, size.image_size, size.image_size, CHANNELS)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def noise_levels(size: Size) -> np.ndarray:
    """Spread over ADM's range, float32 [batch]."""
    return np.linspace(0.1, 900, size.batch_size, dtype=np.float32)


def forward_fn(size: Size) -> Callable[[Params, jax.Array, jax.Array], jax.Array]:
    """The network, un-jitted: (params, x, noise level) -> ε."""

    def forward(params: Params, x: jax.Array, level: jax.Array) -> jax.Array:
        return UNet(size.network).apply({"params": params}, x, level)

    return forward


def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """`jax.jit` with what the library asks of the compiler of the devices here."""
    chosen = compile_options(sharding.make_mesh())
    return jax.jit(function, compiler_options=chosen, **options)


def make_schedule() -> bridge.Bridge:
    """The paper's bridge."""
    return bridge.make_bridge("i2sb", num_steps=NUM_STEPS, beta_max=BETA_MAX)


def optimizer_config() -> OptimizerConfig:
    """The paper's: AdamW at 5e-5, × 0.99 every 1000 updates."""
    return OptimizerConfig(
        learning_rate=LEARNING_RATE, schedule="step", warmup_steps=0, decay_every=1000,
        decay_rate=0.99, b1=B1, b2=B2, eps=1e-8, weight_decay=0.0, clip_norm=0.0, skip_norm=0.0,
    )  # fmt: skip


def train_step(size: Size) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """(state, batch, root key) -> (state, metrics), jitted; the state is written over."""
    step = make_train_step(
        apply_fn=UNet(size.network).apply,
        tx=make_optimizer(optimizer_config(), num_steps=1_000_000),
        schedule=make_schedule(),
        ema_decay=EMA_DECAY,
    )

    def keyed(state: TrainState, batch: Batch, root: jax.Array):
        return step(state, batch, jax.random.fold_in(root, state.step))

    return jit(keyed, donate_argnums=0)


def start_state(params: Params) -> TrainState:
    """A state of its own, on the device, that may be written over."""
    tx = make_optimizer(optimizer_config(), num_steps=1_000_000)
    return jax.jit(functools.partial(create_state, tx=tx))(params)


def train_batch(size: Size) -> Batch:
    """Pictures on the device."""
    clean, degraded = (jnp.asarray(pictures(size, seed=seed)) for seed in range(2))
    return Batch(clean=clean, degraded=degraded)


class Trainer:
    """Calls a training step again and again; each call continues from the state of the last.

    Args:
        step: as `train_step` returns, or compiled from it.
        state: where it starts; its arrays are written over.
        batch: the pictures of every step.
    """

    def __init__(self, step: Callable, state: TrainState, batch: Batch):
        self._step, self._state, self._batch = step, state, batch
        self._root = jax.random.key(0)

    def __call__(self) -> jax.Array:
        """Makes a step; returns its loss."""
        self._state, metrics = self._step(self._state, self._batch, self._root)
        return metrics["loss"]
