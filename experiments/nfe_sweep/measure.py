"""Pictures restored by a sampler on a grid of steps, and what is measured of them."""

import dataclasses
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.nfe_sweep.features import Features, standardiser
from i2sb_jax import bridge
from i2sb_jax.config import Config, check_nfe, check_sampler, check_spacing
from i2sb_jax.data.view import degraded_view
from i2sb_jax.evaluation.bootstrap import set_figure
from i2sb_jax.evaluation.kernel import kernel_distance, kernel_distances
from i2sb_jax.evaluation.results import Data
from i2sb_jax.evaluation.scores import make_score_fn, score_arrays
from i2sb_jax.pictures import to_pixels, to_uint8
from i2sb_jax.restoration import Restorer
from i2sb_jax.run import Run
from i2sb_jax.types import Batch

Row = dict[str, Any]


class Method(NamedTuple):
    """A sampler by its name in `bridge.SAMPLERS`, with the eta that only "implicit" takes."""

    sampler: str
    eta: float

    @property
    def title(self) -> str:
        """As the command line and tables have it: implicit:0.5."""
        return f"{self.sampler}:{self.eta:g}" if self.eta else self.sampler


def parse_method(text: str) -> Method:
    """Of ddpm, ode, implicit2, implicit3, implicit, or implicit:ETA.

    Raises:
        ValueError: there is no such sampler, or it takes no such eta; one line.
    """
    sampler, _, eta = text.strip().partition(":")
    try:
        method = Method(sampler, float(eta or 0))
    except ValueError:
        raise ValueError(f"--samplers {text}: what follows the colon is eta, 0 to 1") from None
    bridge.make_sampler(method.sampler, eta=method.eta)  # checks both
    return method


class Setting(NamedTuple):
    """A row's sampler, spacing and evaluations."""

    method: Method
    spacing: str
    nfe: int


def usable(config: Config, settings: list[Setting], say) -> list[Setting]:
    """Those that suit the run; of each sampler that does not, `say` is told why.

    Raises:
        ValueError: none does, or evaluations or a spacing that the bridge has not; one line.
    """
    refused: dict[str, str] = {}
    for method, spacing, nfe in settings:
        check_nfe(nfe, config.bridge.num_steps)
        check_spacing(spacing, bridge_name=config.bridge.name)
        try:
            check_sampler(
                method.sampler, deterministic_bridge=config.bridge.deterministic,
                starts_around=config.bridge.starts_around,
            )  # fmt: skip
        except ValueError as error:
            refused[method.sampler] = str(error)
    left = [each for each in settings if each.method.sampler not in refused]
    if not left:
        raise ValueError(f"no sampler is left: {'; '.join(refused.values())}")
    for reason in refused.values():
        say(f"left out: {reason}")
    return left


def grid(config: Config, setting: Setting) -> tuple[int, ...]:
    """The indices that it visits: two spacings may agree, as they do at one evaluation."""
    schedule = Run(config).bridge
    return bridge.step_grid(
        schedule.num_steps, setting.nfe, spacing=setting.spacing, schedule=schedule
    )


class Pictures(NamedTuple):
    """All pictures of a sweep, in memory.

    Attributes:
        batch: of all; names as str.
        views: name -> uint8 [n, h, w, 3] of what needs no network: clean, degraded, a baseline.
    """

    batch: Batch
    views: dict[str, np.ndarray]


def read_pictures(data: Data, count: int, *, rows: int) -> Pictures:
    """The first `count` pictures but for those that cannot be read.

    Raises:
        ValueError: fewer than two can be read.
    """
    batches, views = [], {"degraded": degraded_view, **data.views}
    seen: dict[str, list[np.ndarray]] = {name: [] for name in views}
    for batch in data.pictures(range(count), rows=rows):
        there = np.array([bool(name) for name in batch.name])
        batch = jax.tree.map(lambda x, there=there: np.asarray(x)[there], batch)
        batches.append(batch)
        for name, view in views.items():
            seen[name].append(to_uint8(view(batch)))
    whole = jax.tree.map(lambda *parts: np.concatenate(parts), *batches)
    if len(whole.clean) < 2:
        raise ValueError(f"{len(whole.clean)} of {count} pictures can be read: 2 are needed")
    names = [bytes(name).decode("utf-8", "surrogateescape") for name in whole.name]
    clean = to_pixels(whole.clean, np.uint8)  # came as bytes: rounding gives them back
    rest = {name: np.concatenate(parts) for name, parts in seen.items()}
    return Pictures(whole._replace(name=np.array(names)), {"clean": clean, **rest})


class Bench:
    """Restores and measures the same pictures again and again."""

    def __init__(self, config: Config, params, pictures: Pictures, features: Features, *, seed):
        """Takes a run, pictures, what the kernel distance looks at, and the seed of all noise."""
        # as in evaluations: figures do not depend on what an accelerator does by default
        config = dataclasses.replace(config, matmul_precision="highest")
        self.pictures, self._features, self._seed = pictures, features, seed
        self._restorer = Restorer(config, params)
        arrays = score_arrays({}, side=config.image_size, channels=config.image_channels)
        wanted = ("psnr", "ssim", "psnr_y")
        self._arrays = {name: arrays[name] for name in wanted if name in arrays}
        self._score = jax.jit(make_score_fn({}, self._arrays))
        clean = features.extract(pictures.views["clean"])
        self._scale = standardiser(clean) if features.standardised else lambda found: found
        self._clean = self._scale(clean)

    def restore(self, setting: Setting) -> tuple[np.ndarray, float]:
        """uint8 [n, h, w, 3], truncated as the protocol has it, and seconds without compiling."""
        (sampler, eta), spacing, nfe = setting
        config = self._restorer.config
        sampling = config.choose_sampling(nfe=nfe, sampler=sampler, spacing=spacing, eta=eta)
        batch = self.pictures.batch
        self._restorer.prepare(config.image_size, sampling)
        start = time.perf_counter()
        samples = self._restorer.from_x1(
            batch.degraded, sampling=sampling, seed=self._seed, mask=batch.mask, cond=batch.cond,
            names=list(batch.name),
        )  # fmt: skip
        return to_uint8(samples.x0), time.perf_counter() - start

    def measure(self, images: np.ndarray) -> Row:
        """PSNR, of luma too, and SSIM of each picture, and the kernel distance with its resamples.

        The resamples of all rows draw the same pictures, so that rows can be compared pair by pair.
        """
        clean, rows = self.pictures.views["clean"], self._restorer.batch_size
        parts = []
        for start in range(0, len(images), rows):
            both = images[start : start + rows], clean[start : start + rows]
            padded = [np.concatenate([x, *[x[-1:]] * (rows - len(x))]) for x in both]
            found = self._score({}, *padded)
            count = len(both[0])
            parts.append({n: np.asarray(found[x])[:count] for n, x in self._arrays.items()})
        scores = {name: np.concatenate([part[name] for part in parts]) for name in self._arrays}
        kernel, resampled = self.distance(images)
        return {
            **{name: [float(x) for x in values] for name, values in scores.items()},
            "kernel": kernel,
            "kernel_resampled": resampled,
        }

    def distance(
        self, images: np.ndarray, other: np.ndarray | None = None
    ) -> tuple[list[float], list[float]]:
        """Kernel distance to others of the same pictures, with its interval, and its resamples.

        Args:
            images: uint8 [n, h, w, 3].
            other: likewise; None: the clean ones.
        """
        found = self._scale(self._features.extract(images))
        there = self._clean if other is None else self._scale(self._features.extract(other))
        resamples: list[float] = []

        def resampled(counts: np.ndarray) -> np.ndarray:
            values = kernel_distances(found, there, counts)
            resamples.extend(map(float, values))
            return values

        value = kernel_distance(found, there)
        figure = set_figure(value, resampled, len(found), seed=self._seed)
        return [figure.value, figure.low, figure.high], resamples
