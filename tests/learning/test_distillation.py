"""Distillation in the plane, from a bridge whose perfect network is known."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.toy_2d import problems
from i2sb_jax.bridge import Bridge, i2sb_bridge, make_sampler, step_grid
from i2sb_jax.learning import Update
from i2sb_jax.learning.distillation import create_distill_state, make_distill_step
from i2sb_jax.types import Batch

WIDTH, BATCH, POINTS, STEPS = 128, 512, 2000, 1500


class Plane(NamedTuple):
    """The bridge from three blobs to a ring of six, and draws of its coupling."""

    schedule: Bridge
    problem: problems.Problem
    pairs: np.ndarray  # [draws, POINTS, 4]: X_0, then X_1


@pytest.fixture(scope="module")
def plane():
    schedule = problems.make_schedule()
    problem = problems.mixtures(schedule)
    rng = np.random.Generator(np.random.PCG64(0))
    pairs = np.stack([draw_pairs(problem.plan, rng, POINTS) for _ in range(24)])
    return Plane(i2sb_bridge(schedule), problem, pairs)


def draw_pairs(plan, rng, count):
    which = rng.choice(len(plan.weights), count, p=plan.weights)
    roots = np.linalg.cholesky(plan.covs)[which]
    normal = rng.standard_normal((count, 4))
    return (plan.means[which] + np.einsum("nij,nj->ni", roots, normal)).astype(np.float32)


def init_mlp(seed, inputs):
    """Three hidden layers; the last one is zero, so that it adds nothing yet."""
    rng = np.random.Generator(np.random.PCG64(seed))
    sizes = (inputs, WIDTH, WIDTH, WIDTH, 2)
    layers = [
        (rng.standard_normal(pair) * np.sqrt(2 / pair[0]), np.zeros(pair[1]))
        for pair in itertools.pairwise(sizes)
    ]
    layers[-1] = tuple(0 * each for each in layers[-1])
    return jax.tree.map(jnp.float32, layers)


def mlp(layers, x):
    for weights, bias in layers[:-1]:
        x = jax.nn.silu(x @ weights + bias[None])
    weights, bias = layers[-1]
    return x @ weights + bias[None]


def generate(plane, params, keys, batch):
    """A student that starts as the teacher's single step and is given noise."""
    x1 = batch.degraded
    z = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
    start = plane.problem.predict_x0(x1, plane.schedule.num_steps - 1)
    return start + mlp(params, jnp.concatenate([x1, z], axis=1))


def network(plane, params, xt, step, cond):
    """The perfect network, and what an auxiliary bridge has learned beside it."""
    level = jnp.log(jnp.asarray(plane.schedule.scale, jnp.float32))[step][:, None]
    waves = np.array([0.5, 1, 2, 4], np.float32)[None]
    known = jnp.concatenate([xt, jnp.sin(level * waves), jnp.cos(level * waves)], axis=1)
    each = jax.vmap(lambda x, n: plane.problem.predict_x0(x[None], n)[0])
    return each(xt, step) + mlp(params, known)


def make(plane, *, tx, auxiliary_tx, auxiliary_updates):
    """A step, its first state, and the teacher's parameters."""
    student, teacher = init_mlp(1, 4), init_mlp(2, 10)
    step = make_distill_step(
        generate_fn=functools.partial(generate, plane),
        network_fn=functools.partial(network, plane),
        schedule=plane.schedule, update=Update(tx, ema_decay=0.99),
        auxiliary_tx=auxiliary_tx, auxiliary_updates=auxiliary_updates,
        prediction="x0", weighting="epsilon",
    )  # fmt: skip
    state = create_distill_state(student, teacher, tx=tx, auxiliary_tx=auxiliary_tx)
    return jax.jit(step), state, teacher


def batch_of(x1):
    return Batch(clean=jnp.full_like(x1, jnp.nan), degraded=x1)  # only X_1 may be looked at


def distilled(plane, *, auxiliary_updates, steps):
    """Pairs of a student's X_0 and the X_1 it was made of."""
    decay = optax.cosine_decay_schedule(1.0, steps)
    tx = optax.adam(lambda count: 1e-3 * decay(count))
    auxiliary_tx = optax.adam(lambda count: 2e-3 * decay(count / max(auxiliary_updates, 1)))
    step, state, teacher = make(
        plane, tx=tx, auxiliary_tx=auxiliary_tx, auxiliary_updates=auxiliary_updates
    )
    rng = np.random.Generator(np.random.PCG64(3))
    for key in jax.random.split(jax.random.key(4), steps):
        x1 = draw_pairs(plane.problem.plan, rng, BATCH)[:, 2:]
        state, _ = step(state, teacher, batch_of(jnp.asarray(x1)), key)
    x1 = jnp.asarray(plane.pairs[0, :, 2:])
    keys = jax.random.split(jax.random.key(5), POINTS)
    return np.concatenate([generate(plane, state.ema_params, keys, batch_of(x1)), x1], axis=1)


def restored_by_teacher(plane, nfe):
    x1 = jnp.asarray(plane.pairs[0, :, 2:])
    steps = step_grid(plane.schedule.num_steps, nfe)
    run = make_sampler("ddpm")
    x0 = run(jax.random.key(6), plane.schedule, plane.problem.predict_x0, x1, steps=steps).x0
    return np.concatenate([x0, x1], axis=1)


def energy_distance(a, b):
    """2 E‖A - B‖ - E‖A - A'‖ - E‖B - B'‖ of two samples."""

    def apart(a, b):
        squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
        return np.sqrt(np.maximum(squares, 0)).mean()

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return 2 * apart(a, b) - apart(a, a) - apart(b, b)


def verdicts(plane, made):
    """Whether a student is as good as it should be: X_0 alone, then with its X_1."""
    draws, found = plane.pairs[1:], []
    one, hundred = (restored_by_teacher(plane, nfe) for nfe in (1, 100))
    for width in (2, 4):
        student, single, many = (
            energy_distance(sample[:, :width], draws[0, :, :width])
            for sample in (made, one, hundred)
        )
        if student > single / 2:
            found.append(False)
            continue
        chance = np.quantile(
            [energy_distance(draws[i, :, :width], draws[i + 1, :, :width]) for i in range(22)], 0.95
        )
        found.append(bool(student <= 1.2 * many + chance))
    return found


@pytest.mark.slow
def test_one_step_of_the_student_is_a_hundred_of_the_teacher(plane):
    assert verdicts(plane, distilled(plane, auxiliary_updates=5, steps=STEPS)) == [True, True]


def test_without_the_auxiliary_bridge_it_is_not(plane):
    """Whose loss is then zero whatever the student does: it stays the teacher's single step."""
    assert verdicts(plane, distilled(plane, auxiliary_updates=0, steps=50)) == [False, False]


def test_the_students_gradient_is_that_of_finite_differences(plane):
    """Of the loss that the step tells; the teacher is another network than the auxiliary one."""
    step, state, _ = make(
        plane, tx=optax.sgd(1.0), auxiliary_tx=optax.sgd(0.0), auxiliary_updates=1
    )
    teacher = jax.tree.map(lambda x: x + 0.05 * jnp.cos(jnp.arange(x.size)).reshape(x.shape),
                           state.auxiliary_params)  # fmt: skip
    params = jax.tree.map(lambda x: x + 0.05 * jnp.sin(jnp.arange(x.size)).reshape(x.shape),
                          state.params)  # fmt: skip
    batch, key = batch_of(jnp.asarray(plane.pairs[0, :64, 2:])), jax.random.key(7)

    def told(params):
        return step(state._replace(params=params), teacher, batch, key)

    after, metrics = told(params)
    gradient = jax.tree.map(jnp.subtract, params, after.params)
    np.testing.assert_allclose(optax.tree.norm(gradient), metrics["grad_norm"], rtol=1e-3)
    for seed in range(3):
        towards = optax.tree.random_like(jax.random.key(seed), params)
        ahead, behind = (
            told(optax.tree.add_scale(params, sign * 3e-4, towards))[1]["loss"] for sign in (1, -1)
        )
        along = optax.tree.vdot(gradient, towards)
        np.testing.assert_allclose((ahead - behind) / 6e-4, along, rtol=0.02, atol=2e-3)
