"""State and step by configuration: those of a bridge, or of a student of one."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from i2sb_jax import build
from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.compiler import compile_options
from i2sb_jax.checkpoint import abstract_like
from i2sb_jax.config import Config
from i2sb_jax.learning.distillation import (
    DistillState,
    create_distill_state,
    make_distill_step,
    make_regression_step,
)
from i2sb_jax.learning.optimizer import make_optimizer
from i2sb_jax.learning.state import TrainState, create_state
from i2sb_jax.learning.step import make_train_step
from i2sb_jax.types import Array, Batch, Params

State: TypeAlias = TrainState | DistillState

Step: TypeAlias = Callable[..., tuple[State, dict[str, jax.Array]]]
"""(state, batch, root, teacher=None) -> (state, metrics); a bridge has no teacher."""


def make_mesh(config: Config) -> Mesh:
    """All devices as the run lays them out."""
    return sharding.make_mesh(data=config.mesh.data, fsdp=config.mesh.fsdp)


def make_gather(config: Config, mesh: Mesh) -> build.Gather | None:
    """Returns the function that brings parameters together, see `build.make_network`."""
    return sharding.gather_on_use(mesh, min_bytes=config.mesh.fsdp_min_bytes)


def keyed_step(config: Config, *, gather: build.Gather | None = None) -> Step:
    """The step under the run's root key: what is random is a function of (seed, step) alone."""
    make = _student_step if config.teacher else _bridge_step
    step = make(config, gather)

    def keyed(state: State, batch: Batch, root: jax.Array, teacher: Params | None = None):
        return step(state, teacher, batch, jax.random.fold_in(root, state.step))

    return keyed


def jitted_step(config: Config, state: State, mesh: Mesh) -> Callable[..., Any]:
    """`keyed_step` on the devices of a mesh: (state, batch, root, teacher) -> (state, metrics).

    The state that it is given is written over; what it returns lies where `state` lies, which may
    be of arrays or of `jax.ShapeDtypeStruct`s.
    """
    return jax.jit(
        keyed_step(config, gather=make_gather(config, mesh)),
        donate_argnums=0,
        out_shardings=(places(state), sharding.replicated(mesh)),
        compiler_options=compile_options(mesh),
    )


def first_state(config: Config, weights: Params) -> State:
    """The state at step 0.

    Args:
        config: the run.
        weights: a bridge's initial ones, or a student's teacher's.
    """
    tx = _optimizer(config)
    if not config.teacher:
        return create_state(weights, tx)
    # copies: the state is donated, the teacher stays
    student = jax.tree.map(jnp.copy, build.init_student(weights, config))
    if config.distill.method == "regression":
        return create_state(student, tx)
    return create_distill_state(student, weights, tx=tx, auxiliary_tx=_auxiliary_optimizer(config))


def fresh_state(config: Config, key: jax.Array) -> State:
    """The state at step 0 from new weights; fit for `jax.eval_shape`."""
    return first_state(config, build.init_params(key, config.without_teacher()))


def abstract_state(config: Config, mesh: Mesh) -> State:
    """The state's shapes, laid over the mesh."""
    return _laid_out(functools.partial(fresh_state, config), config, mesh)


def abstract_weights(config: Config, mesh: Mesh) -> Params:
    """Shapes of what a run starts from: its own network's, or its teacher's."""
    return _laid_out(
        functools.partial(build.init_params, config=config.without_teacher()), config, mesh
    )


def state_shardings(config: Config, mesh: Mesh) -> State:
    """Returns the sharding of each array of the state on the mesh."""
    return places(abstract_state(config, mesh))


def places(tree: Any) -> Any:
    """The sharding of each leaf."""
    return jax.tree.map(lambda x: x.sharding, tree)


def _laid_out(make: Callable[[jax.Array], Any], config: Config, mesh: Mesh) -> Any:
    shapes = jax.eval_shape(make, jax.random.key(0))
    on_mesh = sharding.fsdp_shardings(shapes, mesh, min_bytes=config.mesh.fsdp_min_bytes)
    return abstract_like(shapes, on_mesh)


def _bridge_step(config: Config, gather: build.Gather | None) -> Callable[..., Any]:
    step = make_train_step(
        apply_fn=build.make_network(config, gather=gather).apply,
        schedule=build.make_schedule(config),
        deterministic=config.bridge.deterministic,
        prediction=config.bridge.prediction,
        weighting=config.bridge.weighting,
        end_share=config.bridge.end_share,
        log_floor=config.bridge.log_floor,
        **_update(config),
    )
    return lambda state, teacher, batch, key: step(state, batch, key)


def _student_step(config: Config, gather: build.Gather | None) -> Callable[..., Any]:
    generate_fn = build.make_generate_fn(config, gather=gather)
    teacher_config = config.without_teacher()
    if config.distill.method == "regression":
        nfe = config.distill.teacher_nfe
        target_fn = build.make_generate_fn(teacher_config, gather=gather, nfe=nfe, sampler="ode")
        return make_regression_step(generate_fn=generate_fn, target_fn=target_fn, **_update(config))
    network = build.make_network(teacher_config, gather=gather)
    schedule = build.make_schedule(config)

    def network_fn(params: Params, xt: Array, step: Array, cond: Array | None) -> jax.Array:
        noise_level = jnp.asarray(schedule.noise_level, jnp.float32)[step]
        return network.apply({"params": params}, xt, noise_level, cond)

    return make_distill_step(
        generate_fn=generate_fn,
        network_fn=network_fn,
        auxiliary_tx=_auxiliary_optimizer(config),
        schedule=schedule,
        auxiliary_updates=config.distill.auxiliary_updates,
        prediction=config.bridge.prediction,
        weighting=config.bridge.weighting,
        **_update(config),
    )


def _update(config: Config) -> dict[str, Any]:
    """How any step updates what it trains."""
    return {
        "tx": _optimizer(config),
        "ema_decay": config.training.ema_decay,
        "accumulation_steps": config.training.accumulation_steps,
        "skip_norm": config.optimizer.skip_norm,
    }


def _optimizer(config: Config) -> optax.GradientTransformation:
    return make_optimizer(config.optimizer, num_steps=config.training.num_steps)


def _auxiliary_optimizer(config: Config) -> optax.GradientTransformation:
    """The same over as many updates as the auxiliary bridge has."""
    updates = config.training.num_steps * config.distill.auxiliary_updates
    return make_optimizer(config.optimizer, num_steps=updates)
