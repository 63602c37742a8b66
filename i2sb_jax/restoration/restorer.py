"""A trained bridge as a function from degraded pictures to restored ones."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

from i2sb_jax import bridge, interop, zoo
from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.program import Memory
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.config import Config, SamplingConfig, check_realism, check_seed
from i2sb_jax.corruptions import CorruptionFacts, corruption_facts
from i2sb_jax.corruptions.consistency import Measurement
from i2sb_jax.pictures import read_jpeg_info
from i2sb_jax.restoration.arrays import from_array, hole_mask, require_finite
from i2sb_jax.restoration.measured import Held, check_own_pictures, measure_array, measure_file
from i2sb_jax.restoration.members import chosen_task
from i2sb_jax.restoration.options import check_strength, unmixable
from i2sb_jax.restoration.published_blur import as_published, note_once
from i2sb_jax.restoration.told import everywhere, told_settings
from i2sb_jax.run import restoring_run
from i2sb_jax.sampling import Engine, Window
from i2sb_jax.sampling.noise import picture_key, start_noise
from i2sb_jax.types import Array, Params

# sides are padded to multiples of this, where the network asks for less: fewer sizes to compile
_SIDE_UNIT = 32


class Restorer:
    """Restores pictures of any size with the averaged weights of a run.

    The same picture gives the same pixels in any company (`sampling.engine`).

    Attributes:
        config: of the run.
        corruption: what the run repairs.
        engine: samples the windows of pictures.
        source: where the weights are from, for messages.
        side_unit: sides of windows must be multiples of this many pixels.
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
            params: of its network; with `bridge.start` StartedParams, as
                `interop.load_model_folder` gives both.
            dtype: "float32" or "bfloat16" in place of the model's; a model that the bridge starts
                at keeps its own.
            on_evaluation: called after each network evaluation of a batch; for progress.
        """
        run = restoring_run(config, dtype=dtype)
        self.config = config
        self.corruption = run.corruption
        self.side_unit = run.side_unit
        self.source = "the parameters given"
        self._params = jax.device_put(params, sharding.replicated(run.mesh))
        self.engine = Engine(
            lambda sampling, record: run.sample_fn(
                sampling, record=record, on_evaluation=on_evaluation
            ),
            self._params,
            config,
            run.mesh,
        )

    @classmethod
    def from_workdir(
        cls,
        path: epath.PathLike,
        *,
        checkpoint: str | int = LATEST,
        dtype: str | None = None,
        on_evaluation: Callable[[Any], None] | None = None,
    ) -> "Restorer":
        """Loads a run's (or a model folder's) configuration and averaged weights.

        Args:
            path: local or gs://, a shipped model's name, or hf://OWNER/NAME[@REVISION].
            checkpoint: of a run: "latest", "best" (by `training.best_metric`) or the number of a
                step.
            dtype: as above.
            on_evaluation: as above.

        Raises:
            ValueError: `path` holds no run, no such checkpoint, or one of other shapes.
        """
        config, params = interop.load_model_folder(path, checkpoint=checkpoint)
        restorer = cls(config, params, dtype=dtype, on_evaluation=on_evaluation)
        restorer.source = f"{path}" if checkpoint == LATEST else f"{path} ({checkpoint})"
        return restorer

    @classmethod
    def shipped(
        cls,
        name: str,
        *,
        dtype: str | None = None,
        on_evaluation: Callable[[Any], None] | None = None,
    ) -> "Restorer":
        """Loads a model that comes with the package.

        Args:
            name: one of `zoo.MODELS`: "jpeg", "deblur", "denoise", "sr4x".
            dtype: as above.
            on_evaluation: as above.

        Raises:
            ValueError: there is no such model; names those that there are.
        """
        folder = zoo.shipped_folder(name)
        restorer = cls.from_workdir(folder, dtype=dtype, on_evaluation=on_evaluation)
        restorer.source = name
        return restorer

    def weights_digest(self) -> str:
        """16 hexadecimal digits that tell these weights from others, wherever they lie."""
        return interop.weights_digest(self._params)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the parameters, on each device."""
        return sum(x.nbytes for x in jax.tree.leaves(self._params))

    def check_finite(self, x0: np.ndarray, name: str) -> None:
        """Raises NonFiniteError where what was restored of picture `name` is not finite."""
        require_finite(x0, self._params, name=name, source=self.source)

    @property
    def batch_size(self) -> int:
        """Pictures of the run's own size in one network call, over all devices."""
        return self.engine.windows_a_call(self.config.image_size, self.config.image_size)

    def __call__(
        self,
        images: Array,
        *,
        nfe: int | None = None,
        sampler: str | None = None,
        seed: int = 0,
        mask: Array | None = None,
        member: str | None = None,
        told: Array | Sequence[bytes] | None = None,
        names: Sequence[str] | None = None,
        strength: float = 1.0,
        record: tuple[int, ...] = (),
        **sampling: Any,
    ) -> np.ndarray | bridge.Samples:
        """Restores degraded pictures, given as a person sees them, each as a whole.

        Super-resolution takes them as large as the result: by `enlarge_smoothly`, or of the
        published kinds in blocks. Those for the published blurs are as bright as sharp ones, and
        darkened here as in training; X_1 that is dark already goes to `from_x1`.

        Args:
            images: [batch, h, w, 3], any size: floats in [-1, 1], or uint8 or uint16 pixels; of
                paired data the source, floats with as many channels as it has, NaN where it holds
                no data.
            nfe: network evaluations, 1 … num_steps - 1; the run's choice if None.
            sampler: one of `bridge.SAMPLERS`; the run's choice if None.
            seed: of all noise.
            mask: [batch, h, w, 1], 1 = hole, where `images` do not matter; for inpainting alone.
            member: of a mixture's run, what the images suffered from; a mask tells it, too.
            told: [batch, 4] or [4], of runs on jpeg-told: how each file was made, as
                `corruptions.jpeg_file.file_settings` says it; the best that they know if None. Or
                a list of the JPEG files themselves, bytes, which consistency needs.
            names: one a picture; its number in the batch if None. Names decide the noise.
            strength: how much of the change is taken, 0 … 1: images + strength · (restored -
                images). 1 for holes, colouring, pairs and reductions in blocks, and with `record`.
            record: grid positions whose states are wanted too.
            **sampling: spacing, eta, clip, consistency and realism of `config.SamplingConfig`, the
                run's choice else; for consistency also operator, where the corruption draws it.

        Returns:
            float32 [batch, h, w, c] in [-1, 1], whatever the type of `images`, outside of holes
            exactly `images`, NaN where a source has no data; with `record`, Samples as the sampler
            leaves them, unclipped.

        Raises:
            ValueError: shapes, types or values that do not fit, a missing or needless mask or
                member, nfe or seed out of range, or a sampler that does not suit the run.
            NonFiniteError: the network gave NaN or infinity.
        """
        check_seed("seed", seed)
        check_strength(strength)
        shape = np.shape(images)
        channels = self.config.data.source_channels if self.config.has_pairs else 3
        if len(shape) != 4 or shape[-1] != channels:
            raise ValueError(f"images have shape {shape}, must be [batch, h, w, {channels}]")
        task, facts = chosen_task(self.config.corruption, member, has_mask=mask is not None)
        if strength != 1 and (reason := _unmixable(facts, record)):
            raise ValueError(f"strength={strength} mixes results with images: {reason}")
        chosen = self.config.choose_sampling(nfe=nfe, sampler=sampler, **sampling)
        check_realism(sampling.get("realism"), chosen.nfe)
        files = told if _are_files(told) else None
        if told is not None and not _takes_told(facts, is_files=files is not None):
            raise ValueError(f"{self.config.corruption} is told nothing of files: leave told None")
        if mask is not None:
            mask = hole_mask(mask, shape)
        valid = self._valid(images)
        known = valid if mask is None else mask <= 0.5
        images = from_array(images, bound=facts and facts.bound, known=known)
        held = Held(task, chosen.consistency, sampling.get("operator") or "")
        measurements = self._measured(held, images, files)
        x1, cond = images, None
        names = _names(names, len(images))
        if mask is not None:
            x1 = np.where(mask > 0.5, self._noise(images, seed, names), images)
        if facts is None:
            if valid is not None:
                images, mask = np.where(valid, images, 0), valid.astype(np.float32)
            x1, cond = self.corruption.inputs(images)
        elif facts.is_told:
            cond = everywhere(_settings(facts, told), shape)
        elif facts.has_cond:
            x1, cond = images + self._noise(images, seed, names), images
        elif not facts.keeps_light:
            note_once(task)
            x1 = as_published(task, self._pad(images))  # the window is what has borders
        samples = self.from_x1(
            x1, sampling=chosen, seed=seed,
            mask=mask if self.corruption.has_mask or valid is not None else None,
            cond=cond, names=names, record=record,
            measurements=measurements,
        )  # fmt: skip
        samples = bridge.Samples(*(x[..., : shape[1], : shape[2], :] for x in samples))
        if record:
            return samples
        restored = np.clip(samples.x0, -1, 1)
        if strength != 1:
            restored = np.clip(images + np.float32(strength) * (restored - images), -1, 1)
        if valid is not None:
            return np.where(valid, restored, np.float32(np.nan))
        return restored if mask is None else np.where(mask > 0.5, restored, images)

    def from_x1(
        self,
        x1: Array,
        *,
        sampling: SamplingConfig | None = None,
        seed: int = 0,
        mask: Array | None = None,
        cond: Array | None = None,
        names: Sequence[str] | None = None,
        record: tuple[int, ...] = (),
        measurements: Sequence[Measurement] | None = None,
    ) -> bridge.Samples:
        """Restores from X_1 as the bridge uses it: holes filled with noise, cond beside it.

        Args:
            x1: float32 [batch, h, w, c].
            sampling: as `config.choose_sampling` gives it; the run's if None.
            seed: of all noise.
            mask: [batch, h, w, 1], 1 = hole.
            cond: [batch, h, w, c'], what the network sees beside X_t.
            names: as in a call, like the rest.
            record: see there.
            measurements: one of each padded picture (sides as the network halves them), for
                consistency; None: X_1 itself, by the run's own operator.

        Returns:
            Samples, unclipped.

        Raises:
            NonFiniteError: the network gave NaN or infinity.
        """
        count, height, width = x1.shape[:3]
        names = _names(names, count)
        images = [None if x is None else self._pad(np.asarray(x)) for x in (x1, mask, cond)]

        def window(i: int) -> Window:
            parts = (None if x is None else x[i] for x in images)
            measurement = None if measurements is None else measurements[i]
            return Window(picture_key(seed, names[i]), *parts, measurement=measurement)

        if sampling is None:
            sampling = self.config.sampling
        results = list(self.engine.stream(map(window, range(count)), sampling, record=record))
        for name, result in zip(names, results, strict=True):
            self.check_finite(result.x0, name)
        x0, *paths = (np.stack(field) for field in zip(*results, strict=True))
        whole = [path.swapaxes(0, 1)[:, :, :height, :width] for path in paths]
        return bridge.Samples(x0[:, :height, :width], *whole)

    def prepare(
        self, side: int, sampling: SamplingConfig, *, record: tuple[int, ...] = ()
    ) -> Memory:
        """Compiles what square windows of so many pixels need.

        Returns:
            The bytes that a network call needs on a device.
        """
        image = np.zeros((side, side, self.config.image_channels), np.float32)
        mask = image[..., :1] if self.corruption.has_mask else None
        cond = np.zeros((side, side, self.config.cond_channels), np.float32)
        cond = cond if self.corruption.has_cond else None
        window = Window(np.zeros(2, np.uint32), image, mask, cond)
        return self.engine.prepare(window, sampling, record=record)

    def _pad(self, x: np.ndarray) -> np.ndarray:
        """Mirrors the lower and right borders up to sizes that the network can halve."""
        free_size = x.shape[1:3] != (self.config.image_size,) * 2
        unit = max(self.side_unit, _SIDE_UNIT) if free_size else self.side_unit
        sides = [(0, -side % unit) for side in x.shape[1:3]]
        return np.pad(x, ((0, 0), *sides, (0, 0)), mode="symmetric")

    def _measured(
        self, held: Held, images: np.ndarray, files: Sequence[bytes] | None
    ) -> list[Measurement] | None:
        """Returns what each image is held consistent with; None: nothing, or what X_1 tells."""
        if not held.method:
            return None
        check_own_pictures(held.task, held.method)
        sides = self._pad(images[:1]).shape[1:3]
        if corruption_facts(held.task).quality_range is None:
            measures = [measure_array(held, image) for image in images]
        elif files is None or len(files) != len(images):
            raise ValueError(
                f"consistency={held.method!r} of {held.task} needs the JPEG files: let told be a "
                "list of their bytes, one an image"
            )
        else:
            measures = [measure_file(data, images.shape[1:3]) for data in files]
        return None if measures[0] is None else [each(0, 0, sides) for each in measures]

    def _valid(self, images: Array) -> np.ndarray | None:
        """Returns where sources hold data, bool [batch, h, w, 1]; None: everywhere, or no pairs."""
        images = np.asarray(images)
        if not self.config.has_pairs or images.dtype.kind != "f":
            return None
        valid = ~np.isnan(images).any(axis=-1, keepdims=True)
        return None if valid.all() else valid

    def _noise(self, images: np.ndarray, seed: int, names: Sequence[str]) -> np.ndarray:
        return np.stack([start_noise(seed, name, images.shape[1:]) for name in names])


def _takes_told(facts: CorruptionFacts | None, *, is_files: bool) -> bool:
    """Whether anything of a task can be told of files: to its network, or to be consistent with."""
    return facts is not None and (facts.is_told or (is_files and facts.quality_range is not None))


def _are_files(told: Array | Sequence[bytes] | None) -> bool:
    return isinstance(told, list | tuple) and bool(told) and isinstance(told[0], bytes)


def _settings(facts: CorruptionFacts, told: Array | Sequence[bytes] | None) -> Array:
    """How files were made, as a network is told it."""
    if told is None:
        return told_settings(facts, None)
    if not _are_files(told):
        return told
    return np.stack([told_settings(facts, read_jpeg_info(data)) for data in told])


def _unmixable(facts: CorruptionFacts | None, record: tuple[int, ...]) -> str:
    """Why results of a call cannot be mixed with its images; "" where they can."""
    if record:
        return "leave out record, whose states are the sampler's"
    if facts is None:
        return "of pairs they are of another kind"
    reason = unmixable(facts)
    return reason and f"the task {reason}"


def _names(names: Sequence[str] | None, count: int) -> list[str]:
    names = [str(i) for i in range(count)] if names is None else list(names)
    if len(names) != count:
        raise ValueError(f"{len(names)} names for {count} images: give one each")
    return names
