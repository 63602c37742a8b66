"""A model, pictures and a feature network small enough for tests of evaluations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from i2sb_jax import bridge
from i2sb_jax.evaluation import inception, job
from i2sb_jax.evaluation.networks import Network
from i2sb_jax.evaluation.results import Data, Model
from i2sb_jax.run import Run
from i2sb_jax.types import Batch
from tests.training import tiny

FEATURES = 12


def make_model():
    """The tiny run, two pictures a device, with a single weight; see `use_plain_sampler`."""
    config = tiny.make_config(bridge={"num_steps": 50})
    return Model("tiny", config, {"scale": np.float32(0.1)}, "0123")


def use_plain_sampler(monkeypatch):
    """In place of a network, noise that falls with the evaluations: it compiles in no time."""

    def make_sample_fn(run, sampling, *, record=()):
        nfe = sampling.nfe

        def one(key, params, x1, mask, cond, origin, measurement):
            noise = jax.random.normal(key, x1.shape)
            path = jnp.stack([x1 + params["scale"] * noise / nfe] * len(record) + [x1])
            x0 = x1 + params["scale"] * noise / nfe
            return bridge.Samples(x0, path[: len(record)], path[: len(record)])

        return jax.vmap(one, in_axes=(0, None, 0, 0, 0, 0, 0), out_axes=bridge.Samples(0, 1, 1))

    monkeypatch.setattr(Run, "sample_fn", make_sample_fn)


@dataclasses.dataclass
class Pictures:
    """Pictures by number, without TensorFlow; remembers which were asked for.

    Attributes:
        broken: numbers of those that cannot be read.
        nan: numbers of those that hold values that are not finite.
        stop_after: so many batches are given; then the job dies.
    """

    count: int = 7
    broken: tuple[int, ...] = ()
    nan: tuple[int, ...] = ()
    stop_after: int | None = None
    asked: list[list[int]] = dataclasses.field(default_factory=list)
    given: int = 0

    def __call__(self, numbers, *, rows):
        self.asked.append(list(numbers))
        for start in range(0, len(numbers), rows):
            if self.given == self.stop_after:
                raise tiny.Killed
            self.given += 1
            yield self._batch(numbers[start : start + rows])

    def _batch(self, numbers):
        clean = np.stack([np.random.default_rng(n).uniform(-1, 1, (16, 16, 3)) for n in numbers])
        clean = (np.round((clean + 1) * 127.5) / 127.5 - 1).astype(np.float32)  # of bytes
        degraded = clean.reshape(-1, 4, 4, 4, 4, 3).mean((2, 4)).repeat(4, 1).repeat(4, 2)
        for row, number in enumerate(numbers):
            if number in self.nan:
                clean[row, 0, 0, 0] = np.nan
        names = [b"" if n in self.broken else f"p{n}.png".encode() for n in numbers]
        labels = np.array([n % 3 for n in numbers], np.int32)
        return Batch(clean, degraded, label=labels, name=np.array(names))


def make_data(pictures=None, *, views=None):
    pictures = Pictures() if pictures is None else pictures
    return Data("numbers", pictures.count, pictures, views or {}, "")


def use_small_features(monkeypatch):
    """In place of Inception, a linear network of a picture's means."""

    def features(params, images):
        small = jnp.asarray(images, jnp.float32).reshape(len(images), 4, 4, 4, 4, 3)
        return small.mean(axis=(2, 4)).reshape(len(images), -1) / 255 @ params["kernel"]

    kernel = np.random.default_rng(1).standard_normal((48, FEATURES)).astype(np.float32)
    networks = {"inception": Network({"kernel": kernel}, {"inception": "ab12"})}
    monkeypatch.setattr(inception, "features_from_params", features)
    monkeypatch.setattr(job, "load_networks", lambda *_, **__: (networks, {"lpips": "no file"}))
