"""A trained bridge as a function from degraded pictures to restored ones."""

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from i2sb_jax import bridge, build, sharding
from i2sb_jax import config as config_lib
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.config import Config
from i2sb_jax.interop import load_weights
from i2sb_jax.types import Array, Params

# sides are padded to multiples of this, where the network asks for less: fewer sizes to compile
_SIDE_UNIT = 32
# what a picture's keys are for
_SAMPLER, _START = 0, 1


class Restorer:
    """Restores pictures of any size with the averaged weights of a run.

    A network call always has one fixed, padded batch size a device, and a picture's noise depends
    on its name and the seed alone: the same picture gives the same pixels in any company.

    Attributes:
        config: of the run.
        corruption: what the run repairs.
    """

    def __init__(
        self,
        config: Config,
        params: Params,
        *,
        dtype: str | None = None,
        on_evaluation: Callable[[Any], None] | None = None,
    ):
        """Takes a configuration and its parameters.

        Args:
            config: of the run.
            params: of its network, laid over all devices.
            dtype: "float32" or "bfloat16" in place of the model's.
            on_evaluation: called after each network evaluation of a batch; for progress.
        """
        self.config = config
        self.corruption = build.make_corruption(config, read_masks=False)
        self._params = params
        self._dtype = dtype
        self._on_evaluation = on_evaluation
        self._mesh = sharding.make_mesh()
        self._sampler = functools.lru_cache(maxsize=8)(self._make_sampler)

    @classmethod
    def from_workdir(
        cls,
        path: epath.PathLike,
        *,
        dtype: str | None = None,
        on_evaluation: Callable[[Any], None] | None = None,
    ) -> "Restorer":
        """Loads a run's (or a model folder's) configuration and averaged weights.

        Raises:
            ValueError: `path` holds no run, no checkpoint, or one of other shapes.
        """
        config = config_lib.load(path)
        abstract = jax.eval_shape(lambda: build.init_params(jax.random.key(0), config))
        everywhere = sharding.replicated(sharding.make_mesh())
        params = load_weights(path, abstract_like(abstract, everywhere))
        return cls(config, params, dtype=dtype, on_evaluation=on_evaluation)

    @property
    def batch_size(self) -> int:
        """Pictures in one network call, over all devices."""
        return self.config.sampling.batch_size * self._mesh.size

    def __call__(
        self,
        images: Array,
        *,
        nfe: int | None = None,
        sampler: str | None = None,
        seed: int = 0,
        mask: Array | None = None,
        names: Sequence[str] | None = None,
        clip: bool | None = None,
        record: tuple[int, ...] = (),
    ) -> np.ndarray | bridge.Samples:
        """Restores degraded pictures, given as a person sees them.

        Args:
            images: float32 [batch, h, w, 3] in [-1, 1], any size.
            nfe: network evaluations, 1 … num_steps - 1; the run's choice if None.
            sampler: "ddpm" or "ode"; the run's choice if None.
            seed: of all noise.
            mask: [batch, h, w, 1], 1 = hole; for inpainting runs, and only for them.
            names: one a picture; its number in the batch if None. Names decide the noise.
            clip: clip X̂_0 to [-1, 1] at each step; the run's choice if None.
            record: grid positions whose states are wanted too.

        Returns:
            float32 [batch, h, w, 3] in [-1, 1]; with `record`, Samples with unclipped states.

        Raises:
            ValueError: shapes that do not fit, a missing or needless mask, nfe out of range, or a
                sampler that does not suit the run.
        """
        images = np.asarray(images, np.float32)
        if images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"images have shape {images.shape}, must be [batch, h, w, 3]")
        if self.corruption.has_mask != (mask is not None):
            raise ValueError(
                f"{self.config.corruption} needs a mask of its holes (1 = hole)"
                if self.corruption.has_mask
                else f"{self.config.corruption} takes no mask"
            )
        x1, cond = images, None
        if mask is not None:
            mask = np.broadcast_to(np.asarray(mask, np.float32), (*images.shape[:3], 1))
            x1 = np.where(mask > 0.5, self._noise(images, seed, names), images)
        if self.corruption.has_cond:
            x1, cond = images + self._noise(images, seed, names), images
        samples = self.from_x1(
            x1, nfe=nfe, sampler=sampler, seed=seed, mask=mask, cond=cond, names=names, clip=clip,
            record=record,
        )  # fmt: skip
        return samples if record else np.clip(samples.x0, -1, 1)

    def from_x1(
        self,
        x1: Array,
        *,
        nfe: int | None = None,
        sampler: str | None = None,
        seed: int = 0,
        mask: Array | None = None,
        cond: Array | None = None,
        names: Sequence[str] | None = None,
        clip: bool | None = None,
        record: tuple[int, ...] = (),
    ) -> bridge.Samples:
        """As a call, from X_1 as the bridge uses it: holes filled with noise, cond beside it."""
        sample = self._sampler(nfe=nfe, sampler=sampler, clip=clip, record=record)
        count, height, width = x1.shape[:3]
        key_data = np.asarray(jax.random.key_data(_picture_keys(seed, _SAMPLER, names, count)))
        images = [None if x is None else self._pad(np.asarray(x)) for x in (x1, mask, cond)]
        parts = []
        for start in range(0, count, self.batch_size):
            chunk = [_fill(x, start, self.batch_size) for x in (key_data, *images)]
            chunk = jax.device_put(chunk, sharding.batch_sharding(self._mesh))
            with jax.default_matmul_precision(self.config.matmul_precision):
                parts.append(jax.device_get(sample(self._params, *chunk)))
        x0, *paths = zip(*parts, strict=True)
        whole = [np.concatenate(path, axis=1)[:, :count, :height, :width] for path in paths]
        return bridge.Samples(np.concatenate(x0)[:count, :height, :width], *whole)

    def _make_sampler(self, **options: Any) -> Callable[..., bridge.Samples]:
        sample = build.make_sample_fn(
            self.config, dtype=self._dtype, on_evaluation=self._on_evaluation, **options
        )

        def run(params, key_data, x1, mask, cond):
            return sample(jax.random.wrap_key_data(key_data), params, x1, mask, cond)

        return jax.jit(run)

    def _pad(self, x: np.ndarray) -> np.ndarray:
        """Mirrors the lower and right borders up to sizes that the network can halve."""
        factor = self.config.model.unet_config(in_channels=3).downsampling_factor
        unit = max(factor, _SIDE_UNIT) if self._free_size(x) else factor
        sides = [(0, -side % unit) for side in x.shape[1:3]]
        return np.pad(x, ((0, 0), *sides, (0, 0)), mode="symmetric")

    def _free_size(self, x: np.ndarray) -> bool:
        """Whether pictures are of another size than the run's own."""
        return x.shape[1:3] != (self.config.image_size,) * 2

    def _noise(self, images: np.ndarray, seed: int, names: Sequence[str] | None) -> np.ndarray:
        """N(0, 1) for each picture, as X_1 has it in holes or beside its condition."""
        keys = _picture_keys(seed, _START, names, len(images))
        return np.asarray(jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys))


def _picture_keys(seed: int, use: int, names: Sequence[str] | None, count: int) -> jax.Array:
    """A key a picture, from the seed, what it is for, and the picture's name."""
    names = [str(i) for i in range(count)] if names is None else list(names)
    if len(names) != count:
        raise ValueError(f"{len(names)} names for {count} images: give one each")
    hashes = np.array([name_hash(name) for name in names], np.uint32)
    key = jax.random.fold_in(jax.random.key(seed), use)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, hashes)


def name_hash(name: str) -> int:
    """32 bits of a picture's name, which may be no valid Unicode."""
    return zlib.crc32(name.encode("utf-8", "surrogateescape"))


def _fill(x: np.ndarray | None, start: int, size: int) -> np.ndarray | None:
    """x[start : start + size], its last entry repeated where it ends early."""
    if x is None:
        return None
    return x[np.minimum(np.arange(start, start + size), len(x) - 1)]
