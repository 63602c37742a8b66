"""The training loss: what it is zero for, what its value is, and what its draws depend on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.bridge import make_symmetric_schedule, q_sample, regression_target
from i2sb_jax.learning.losses import bridge_loss, bridge_losses
from i2sb_jax.types import Batch

# most tests ask the compiled functions, which is faster; one shows that it makes no difference
loss_of = jax.jit(bridge_loss, static_argnums=2, static_argnames="deterministic")
losses_of = jax.jit(bridge_losses, static_argnums=2, static_argnames="deterministic")

SCHEDULE = make_symmetric_schedule(num_steps=100, beta_max=1.0)
KEY = jax.random.key(0)
BATCH_SIZE = 6
# A float32 quotient may be off by two roundings from another way to compute it, and the targets
# here are below 10 in size; the loss is quadratic.
ROUNDING = (2 * np.finfo(np.float32).eps * 10) ** 2


@pytest.fixture(autouse=True)
def strict_dtypes():
    with jax.numpy_dtype_promotion("strict"):
        yield


def make_batch(*, mask=False, cond=False):
    rng = np.random.default_rng(0)
    shape = (BATCH_SIZE, 8, 8, 3)
    clean, degraded = (rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(2))
    hole = (rng.random((BATCH_SIZE, 8, 8, 1)) < 0.3).astype(np.float32)
    return Batch(
        clean=clean,
        degraded=degraded,
        mask=hole if mask else None,
        cond=degraded if cond else None,
    )


def oracle(batch):
    """Knows X_0, so its ε is the target."""
    return lambda xt, step, cond: regression_target(SCHEDULE, step, xt, batch.clean)


def zero(xt, step, cond):
    return jnp.zeros_like(xt)


def constant(xt, step, cond):
    return jnp.full_like(xt, 0.25)


def cut(batch, start, stop):
    return jax.tree.map(lambda x: x[start:stop], batch)


@functools.partial(jax.jit, static_argnames="deterministic")
def targets(keys, batch, *, deterministic=False):
    """What `bridge_losses` draws and regresses on, written out again."""

    def target(key, x0, x1):
        key_step, key_noise = jax.random.split(key)
        step = jax.random.randint(key_step, (), 0, SCHEDULE.num_steps)
        xt = q_sample(key_noise, SCHEDULE, step, x0, x1, deterministic=deterministic)
        return (xt - x0) / jnp.asarray(SCHEDULE.std_fwd)[step]

    return jax.vmap(target)(keys, batch.clean, batch.degraded)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_the_oracle_has_no_loss(deterministic, mask):
    batch = make_batch(mask=mask)
    loss = loss_of(KEY, SCHEDULE, oracle(batch), batch, deterministic=deterministic)
    assert loss.shape == () and loss.dtype == jnp.float32
    assert float(loss) < ROUNDING
    assert float(loss_of(KEY, SCHEDULE, constant, batch, deterministic=deterministic)) > 0.1


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_value_is_the_mean_square_over_the_target(deterministic):
    batch = make_batch()
    keys = jax.random.split(KEY, BATCH_SIZE)
    losses = losses_of(keys, SCHEDULE, constant, batch, deterministic=deterministic)
    error = 0.25 - np.asarray(targets(keys, batch, deterministic=deterministic), np.float64)
    expected = np.mean(error**2, axis=(1, 2, 3))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    whole = loss_of(KEY, SCHEDULE, constant, batch, deterministic=deterministic)
    np.testing.assert_allclose(whole, np.mean(expected), rtol=1e-5)


def test_with_a_mask_the_mean_still_runs_over_all_pixels():
    batch = make_batch(mask=True)
    keys = jax.random.split(KEY, BATCH_SIZE)
    error = batch.mask * (0.25 - np.asarray(targets(keys, batch), np.float64))
    expected = np.mean(error**2, axis=(1, 2, 3))
    losses = losses_of(keys, SCHEDULE, constant, batch)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    # the mean over the holes alone would be larger by the inverse of their share
    everywhere = losses_of(keys, SCHEDULE, constant, batch._replace(mask=None))
    assert (np.asarray(losses) < 0.6 * np.asarray(everywhere)).all()


def test_outside_of_holes_nothing_counts():
    batch = make_batch(mask=True)

    def wrong_outside(xt, step, cond):
        return oracle(batch)(xt, step, cond) + 7 * (1 - batch.mask)

    assert float(loss_of(KEY, SCHEDULE, wrong_outside, batch)) < ROUNDING


def test_draws_do_not_depend_on_micro_batches():
    batch = make_batch(mask=True)
    keys = jax.random.split(KEY, BATCH_SIZE)
    whole = losses_of(keys, SCHEDULE, constant, batch)
    half = BATCH_SIZE // 2
    parts = [
        losses_of(keys[part], SCHEDULE, constant, cut(batch, part.start, part.stop))
        for part in (slice(0, half), slice(half, BATCH_SIZE))
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-6)


def test_every_picture_has_its_own_step_and_noise():
    """Equal pictures have different losses; so have other keys."""
    batch = jax.tree.map(lambda x: np.tile(x[:1], (BATCH_SIZE, 1, 1, 1)), make_batch())
    keys = jax.random.split(KEY, BATCH_SIZE)
    losses = np.asarray(losses_of(keys, SCHEDULE, zero, batch))
    assert len(np.unique(losses)) == BATCH_SIZE
    other = loss_of(jax.random.key(1), SCHEDULE, zero, batch)
    assert float(other) != float(loss_of(KEY, SCHEDULE, zero, batch))


def test_same_key_same_loss():
    batch = make_batch()
    first, second = (loss_of(KEY, SCHEDULE, constant, batch) for _ in range(2))
    assert float(first) == float(second)


def test_eager_is_jit():
    batch = make_batch(mask=True, cond=True)
    eager = bridge_loss(KEY, SCHEDULE, constant, batch)
    np.testing.assert_allclose(loss_of(KEY, SCHEDULE, constant, batch), eager, rtol=1e-6)


@pytest.mark.parametrize("log_floor", [0.0, 1e-3])
def test_pixels_without_data_have_no_loss(log_floor):
    """A picture's mean is of its valid pixels; one without any is 0 and moves nothing."""
    batch, keys = make_batch(), jax.random.split(KEY, BATCH_SIZE)
    valid = (np.random.default_rng(2).random((BATCH_SIZE, 8, 8, 1)) < 0.5).astype(np.float32)
    valid[0], valid[1] = 0, 1
    spoilt = batch._replace(clean=np.where(valid > 0.5, batch.clean, np.float32(1e9)), valid=valid)

    def losses(batch, predict_fn=constant):
        return bridge_losses(keys, SCHEDULE, predict_fn, batch, log_floor=log_floor)

    found, whole = losses(spoilt), losses(batch)
    assert found[0] == 0 and found[1] == whole[1]

    def outside(xt, step, cond):  # right where data are, to the bits of the clean batch
        target = regression_target(SCHEDULE, step, xt, spoilt.clean)
        return jnp.where(valid > 0.5, target, 1e6)

    least = np.log(log_floor) if log_floor else 0.0
    np.testing.assert_allclose(losses(spoilt, outside)[1:], least, atol=ROUNDING)
    np.testing.assert_allclose(losses(batch._replace(valid=valid)), found, rtol=1e-6)
    assert not np.allclose(found[2:], whole[2:], rtol=1e-3)


def test_steps_are_uniform_and_what_the_network_is_told():
    seen = []

    def remember(xt, step, cond):
        assert step.dtype == jnp.int32 and step.shape == xt.shape[:1]
        jax.debug.callback(seen.append, step)
        return jnp.zeros_like(xt)

    count = 4000
    batch = Batch(clean=np.zeros((count, 1), np.float32), degraded=np.ones((count, 1), np.float32))
    loss_of(KEY, SCHEDULE, remember, batch)
    jax.effects_barrier()
    steps = np.asarray(seen[0])
    assert steps.min() == 0 and steps.max() == SCHEDULE.num_steps - 1
    # mean of a uniform draw from 0 … N-1, within five standard errors
    error = 5 * np.sqrt((SCHEDULE.num_steps**2 - 1) / 12 / count)
    assert abs(steps.mean() - (SCHEDULE.num_steps - 1) / 2) < error


def test_the_condition_reaches_the_network():
    batch = make_batch(cond=True)

    def told(xt, step, cond):
        return oracle(batch)(xt, step, cond) + cond - batch.cond

    def ignorant(xt, step, cond):
        assert cond is None
        return jnp.zeros_like(xt)

    assert float(loss_of(KEY, SCHEDULE, told, batch)) < ROUNDING
    loss_of(KEY, SCHEDULE, ignorant, batch._replace(cond=None))


def steps_seen(end_share, pictures=4000):
    """Which steps a batch is trained at: a network is asked about each."""
    batch = Batch(*(np.zeros((pictures, 1, 1, 1), np.float32) for _ in range(2)))
    seen = []

    def predict_fn(xt, step, cond):
        seen.append(np.asarray(step))
        return jnp.zeros_like(xt)

    bridge_loss(KEY, SCHEDULE, predict_fn, batch, end_share=end_share)
    return seen[0]


def test_a_share_of_the_pictures_is_seen_at_the_end():
    last = SCHEDULE.num_steps - 1
    uniform, half = steps_seen(0.0), steps_seen(0.5)
    expected, deviation = 0.5 + 0.5 / 100, (0.25 / len(half)) ** 0.5
    assert abs(np.mean(half == last) - expected) < 4 * deviation
    assert np.mean(uniform == last) < 0.03  # and not so by itself
    # the others are where they were
    np.testing.assert_array_equal(half[half != last], uniform[half != last])
    assert (steps_seen(1.0) == last).all()


def test_at_the_end_a_network_sees_what_was_degraded():
    batch = make_batch()

    def predict_fn(xt, step, cond):
        # σ̄ counts β_N, so the mean is not X_1 to the last digit (`schedule`)
        np.testing.assert_allclose(xt, batch.degraded, atol=2e-3)
        return jnp.zeros_like(xt)

    bridge_loss(KEY, SCHEDULE, predict_fn, batch, deterministic=True, end_share=1.0)


def test_the_logarithm_is_of_each_picture_and_counts_relative_errors():
    batch = make_batch()
    plain = losses_of(jax.random.split(KEY, BATCH_SIZE), SCHEDULE, zero, batch)
    logs = bridge_losses(jax.random.split(KEY, BATCH_SIZE), SCHEDULE, zero, batch, log_floor=0.25)
    np.testing.assert_allclose(logs, np.log(np.asarray(plain) + 0.25), rtol=1e-5)

    def gradient(scale, **options):
        def loss(factor):
            def predict_fn(xt, step, cond):
                return factor * scale * jnp.ones_like(xt)

            still = Batch(clean=0 * batch.clean, degraded=0 * batch.degraded)
            return bridge_loss(KEY, SCHEDULE, predict_fn, still, deterministic=True, **options)

        return float(jax.grad(loss)(1.0))

    # far above the floor an error of a tenth matters as much as one of one
    assert gradient(1.0) == pytest.approx(100 * gradient(0.1), rel=1e-3)
    near, far = (gradient(scale, log_floor=1e-6) for scale in (0.1, 1.0))
    assert far == pytest.approx(near, rel=1e-3)
