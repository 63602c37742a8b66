"""A run: everything that follows from its configuration, made once and shared.

Training, dry runs, restoring, evaluation and distillation take what they need from here, so that a
configuration is turned into things in one place.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from etils import epath
from jax.sharding import Mesh

from i2sb_jax import bridge as bridges
from i2sb_jax import config as config_lib
from i2sb_jax import corruptions, models
from i2sb_jax.accelerators import sharding
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.config import Config, MeshConfig, SamplingConfig
from i2sb_jax.data.channels import PairedDegradation
from i2sb_jax.interop.hub import local_folder
from i2sb_jax.learning import (
    DistillState,
    TrainState,
    Update,
    create_distill_state,
    create_state,
    init_student,
    make_distill_step,
    make_optimizer,
    make_regression_step,
    make_train_step,
)
from i2sb_jax.sampling.consistency import with_measurement
from i2sb_jax.sampling.sample_fn import SampleFn, make_generate_fn, make_sample_fn
from i2sb_jax.sampling.start import END, StartFn, make_start_fn, start_at
from i2sb_jax.types import Array, Batch, Params, StartedParams

State: TypeAlias = TrainState | DistillState

Step: TypeAlias = Callable[..., tuple[State, dict[str, jax.Array]]]
"""(state, batch, root key, frozen=None) -> (state, metrics); see `Run.abstract_frozen`."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A configuration and what is made of it, each at its first use; nothing here is compiled.

    Attributes:
        config: the configuration.
        devices: to lay it over, which need not exist; all devices of all processes if None.
        start_folder: of the model that the bridge starts at; if None, `bridge.start` names it.
    """

    config: Config
    devices: Sequence[Any] | None = None
    start_folder: epath.PathLike | None = None

    @functools.cached_property
    def bridge(self) -> bridges.Bridge:
        """I²SB's schedule, or another bridge by its coefficients."""
        return self.config.bridge.make()

    @functools.cached_property
    def corruption(self) -> corruptions.Corruption | PairedDegradation:
        """The corruption that is repaired, or of paired data what stands in its place.

        Raises:
            ValueError: the mask file is missing or does not fit.
        """
        config = self.config
        if config.has_pairs:
            return PairedDegradation(
                target_channels=config.data.target_channels,
                source_channels=config.data.source_channels,
                has_cond=config.data.cond_x1,
            )
        return corruptions.make_corruption(
            config.corruption, image_size=config.image_size, mask_file=config.mask_file or None
        )

    @functools.cached_property
    def mesh(self) -> Mesh:
        """The devices as the configuration lays them out."""
        config = self.config.mesh
        return sharding.make_mesh(data=config.data, fsdp=config.fsdp, devices=self.devices)

    @functools.cached_property
    def network(self) -> models.UNet:
        """The network; it gathers the parameters of its blocks where the mesh cuts them."""
        gather = None
        if self.config.mesh.fsdp > 1:
            gather = sharding.gather_on_use(self.mesh, min_bytes=self.config.mesh.fsdp_min_bytes)
        return models.make_network(
            self.config.unet,
            gather=gather,
            per_device=sharding.per_device(self.mesh),
            ordered=self.mesh.devices.flat[0].platform != "cpu",
        )

    @property
    def side_unit(self) -> int:
        """Sides of pictures must be multiples of so many pixels, which the networks halve."""
        runs = [self] if self.start is None else [self, self.start]
        return math.lcm(*(each.config.unet.downsampling_factor for each in runs))

    @functools.cached_property
    def teacher(self) -> "Run":
        """The bridge that a student is of, on the same devices."""
        return Run(self.config.without_teacher(), self.devices)

    @functools.cached_property
    def start(self) -> "Run | None":
        """The frozen model whose answer the bridge starts at, on the same devices; None: at X_1.

        Raises:
            ValueError: there is none such.
        """
        if not self.config.bridge.start:
            return None
        folder = self.config.bridge.start if self.start_folder is None else self.start_folder
        theirs = config_lib.load(local_folder(folder))
        theirs = dataclasses.replace(theirs, mesh=self.config.mesh, mask_file="")
        return Run(theirs, self.devices)

    def _start_fn(self, on_evaluation: Callable[[Any], None] | None = None) -> StartFn:
        """From X_1 to X_T, by the model that the bridge starts at."""
        once = self.start.config.choose_sampling(nfe=1, sampler="ode")
        return make_start_fn(
            self.start.sample_fn(once, record=END, on_evaluation=on_evaluation),
            noise=self.config.bridge.start_noise,
            is_bounded=self.config.is_bounded,
        )

    def sampled(self, params: Params, frozen: Params | None) -> Params:
        """Returns what `sample_fn` takes: the network's parameters, and those it starts by.

        Args:
            params: of the network.
            frozen: as a step has them.
        """
        return params if self.start is None else StartedParams(params, frozen)

    def sample_fn(
        self,
        sampling: SamplingConfig | None = None,
        *,
        record: tuple[int, ...] = (),
        on_evaluation: Callable[[Any], None] | None = None,
    ) -> SampleFn:
        """Returns a pure function that samples pictures, see `sampling.make_sample_fn`.

        Args:
            sampling: how; as the configuration says if None.
            record: grid positions whose states are returned.
            on_evaluation: called after each evaluation of a batch.
        """
        config = self.config
        sampling = config.sampling if sampling is None else sampling
        sample_fn = make_sample_fn(
            self.network,
            self.bridge,
            sampling,
            prediction=config.bridge.prediction,
            noise_channels=config.noise_channels,
            record=record,
            on_evaluation=on_evaluation,
        )
        if self.start is not None:
            sample_fn = start_at(self._start_fn(on_evaluation), sample_fn)
        if not sampling.consistency:
            return sample_fn
        measure_fn = functools.partial(
            corruptions.measure, config.corruption, method=sampling.consistency
        )
        return with_measurement(sample_fn, measure_fn)

    @functools.cached_property
    def optimizer(self) -> optax.GradientTransformation:
        """AdamW under the configuration's schedule."""
        return make_optimizer(self.config.optimizer, num_steps=self.config.training.num_steps)

    @functools.cached_property
    def auxiliary_optimizer(self) -> optax.GradientTransformation:
        """The same over as many updates as the auxiliary bridge of a student has."""
        updates = self.config.training.num_steps * self.config.distill.auxiliary_updates
        return make_optimizer(self.config.optimizer, num_steps=updates)

    @functools.cached_property
    def step(self) -> Step:
        """One update, pure, under the run's root key: its randomness is a function of the step."""
        update = self._student_step() if self.config.teacher else self._bridge_step()

        def step(state: State, batch: Batch, root: jax.Array, frozen: Params | None = None):
            return update(state, frozen, batch, jax.random.fold_in(root, state.step))

        return step

    def init_params(self, key: jax.Array) -> Params:
        """Returns freshly initialised parameters of the network; fit for `jax.eval_shape`."""
        return models.init_params(key, self.config.unet, image_size=self.config.image_size)

    def init_state(self, key: jax.Array) -> State:
        """Returns the state at step 0 from new weights; fit for `jax.eval_shape`."""
        start = self.teacher if self.config.teacher else self
        return self.state_from(start.init_params(key))

    def state_from(self, weights: Params) -> State:
        """Returns the state at step 0.

        Args:
            weights: a bridge's initial ones, or a student's teacher's.
        """
        config = self.config
        if not config.teacher:
            return create_state(weights, self.optimizer)
        # copies: the state is donated, the teacher stays
        student = jax.tree.map(
            jnp.copy,
            init_student(weights, noise_channels=config.noise_channels, patch=config.model.patch),
        )
        if config.distill.method == "regression":
            return create_state(student, self.optimizer)
        return create_distill_state(
            student, weights, tx=self.optimizer, auxiliary_tx=self.auxiliary_optimizer
        )

    @functools.cached_property
    def abstract_state(self) -> State:
        """The state's shapes, laid over the mesh."""
        return self._laid_over_mesh(self.init_state)

    @functools.cached_property
    def abstract_weights(self) -> Params:
        """Shapes of what training starts from: the network's own weights, or the teacher's."""
        start = self.teacher if self.config.teacher else self
        return self._laid_over_mesh(start.init_params)

    @functools.cached_property
    def abstract_frozen(self) -> Params | None:
        """Shapes of the weights that a step reads and leaves as they are; None: it has none.

        Those of a student's teacher, or of the model that the bridge starts at.
        """
        if self.config.teacher:
            return self.abstract_weights
        return None if self.start is None else self._laid_over_mesh(self.start.init_params)

    @functools.cached_property
    def state_shardings(self) -> State:
        """The sharding of each array of the state."""
        return jax.tree.map(lambda x: x.sharding, self.abstract_state)

    def _laid_over_mesh(self, make: Callable[[jax.Array], Any]) -> Any:
        shapes = jax.eval_shape(make, jax.random.key(0))
        shardings = sharding.fsdp_shardings(
            shapes, self.mesh, min_bytes=self.config.mesh.fsdp_min_bytes
        )
        return abstract_like(shapes, shardings)

    def _bridge_step(self) -> Callable[..., Any]:
        config, start_fn = self.config.bridge, None
        if self.start is not None:
            from_x1 = self._start_fn()

            def start_fn(params: Params, keys: jax.Array, batch: Batch) -> jax.Array:
                return from_x1(keys, params, batch.degraded, batch.to_restore, batch.cond)

        step = make_train_step(
            apply_fn=self.network.apply,
            schedule=self.bridge,
            deterministic=config.deterministic,
            prediction=config.prediction,
            weighting=config.weighting,
            end_share=config.end_share,
            log_floor=config.log_floor,
            start_fn=start_fn,
            **self._update._asdict(),
        )
        return lambda state, frozen, batch, key: step(state, batch, key, frozen)

    def _student_step(self) -> Callable[..., Any]:
        config, teacher = self.config, self.teacher
        generate_fn = make_generate_fn(self.sample_fn())
        if config.distill.method == "regression":
            sampling = teacher.config.choose_sampling(nfe=config.distill.teacher_nfe, sampler="ode")
            target_fn = make_generate_fn(teacher.sample_fn(sampling))
            return make_regression_step(
                generate_fn=generate_fn, target_fn=target_fn, update=self._update
            )

        def network_fn(params: Params, xt: Array, step: Array, cond: Array | None) -> jax.Array:
            noise_level = jnp.asarray(self.bridge.noise_level, jnp.float32)[step]
            return teacher.network.apply({"params": params}, xt, noise_level, cond)

        return make_distill_step(
            generate_fn=generate_fn,
            network_fn=network_fn,
            schedule=self.bridge,
            update=self._update,
            auxiliary_tx=self.auxiliary_optimizer,
            auxiliary_updates=config.distill.auxiliary_updates,
            prediction=config.bridge.prediction,
            weighting=config.bridge.weighting,
        )

    @property
    def _update(self) -> Update:
        """The update of whatever a step trains."""
        config = self.config
        return Update(
            self.optimizer,
            ema_decay=config.training.ema_decay,
            accumulation_steps=config.training.accumulation_steps,
            skip_norm=config.optimizer.skip_norm,
        )


def restoring_run(config: Config, *, dtype: str | None = None) -> Run:
    """Returns the run as its pictures are restored: whole weights on every device.

    Args:
        config: of the run; its mask file is not read, it may be gone.
        dtype: compute type in place of the network's, "float32" or "bfloat16"; a model that the
            bridge starts at keeps its own.
    """
    model = config.model if dtype is None else dataclasses.replace(config.model, dtype=dtype)
    mesh = MeshConfig(data=-1, fsdp=1, fsdp_min_bytes=config.mesh.fsdp_min_bytes)
    return Run(dataclasses.replace(config, model=model, mesh=mesh, mask_file=""))
