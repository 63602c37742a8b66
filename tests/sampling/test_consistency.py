"""Samplers whose predictions are held consistent with X_1."""

import jax
import numpy as np
import pytest

from i2sb_jax import bridge
from i2sb_jax.corruptions import measure
from i2sb_jax.run import Run
from i2sb_jax.sampling import consistent
from tests.golden import synthetic
from tests.training.tiny import fresh_params, make_config

SIZE, COUNT = 16, 2
CLEAN = synthetic.photo(COUNT, SIZE, 9)
SCHEDULE = bridge.make_symmetric_schedule(num_steps=100, beta_max=0.3)


def pooled(x):
    """Means of 4×4."""
    return np.asarray(x).reshape(COUNT, SIZE // 4, 4, SIZE // 4, 4, 3).mean(axis=(2, 4))


X1 = pooled(CLEAN).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)


def guess(xt, step):
    """A network that is off everywhere."""
    return 0.8 * xt + 0.1 + 0 * step


@pytest.mark.parametrize("method", ("projection", "gradient"))
@pytest.mark.parametrize("sampler", ("ddpm", "ode", "implicit2"))
def test_every_prediction_agrees_with_x1(sampler, method):
    steps = bridge.step_grid(100, 4)
    each = jax.vmap(lambda x1: measure("sr4x-pool", x1, None, None, method=method))(X1)
    run = bridge.make_sampler(sampler)
    held, free = (
        run(jax.random.key(0), SCHEDULE, predict, X1, steps=steps, record=(0, 1, 2, 3))
        for predict in (consistent(guess, each), guess)
    )
    for prediction, other in zip(held.x0_path, free.x0_path, strict=True):
        np.testing.assert_allclose(pooled(prediction), pooled(X1), atol=1e-5)
        assert np.abs(pooled(other) - pooled(X1)).max() > 0.05
    if sampler == "ddpm":  # the state has a share of X_1's noise on the way, and of X_1 itself
        assert np.abs(pooled(held.xt_path[1]) - pooled(X1)).max() > 1e-3


@pytest.fixture(scope="module")
def run_and_params():
    config = make_config(corruption="sr4x-pool", image_size=SIZE)
    rng = np.random.default_rng(1)
    draw = lambda x: x + 0.1 * rng.standard_normal(x.shape).astype(np.float32)  # noqa: E731
    return Run(config), jax.tree.map(draw, fresh_params(config))


@pytest.mark.parametrize("nfe", (1, 3))
def test_the_answer_is_the_last_prediction(run_and_params, nfe):
    run, params = run_and_params
    keys = jax.random.split(jax.random.key(0), COUNT)

    def sampled(**chosen):
        sampling = run.config.choose_sampling(nfe=nfe, **chosen)
        sample_fn = run.sample_fn(sampling, record=tuple(range(nfe - 1, -1, -1)))
        return jax.jit(sample_fn)(keys, params, X1, None, None)

    held, free = sampled(consistency="projection"), sampled()
    assert held.xt_path.shape == held.x0_path.shape == (nfe, COUNT, SIZE, SIZE, 3)
    np.testing.assert_array_equal(held.x0, held.x0_path[-1])
    np.testing.assert_allclose(pooled(held.x0), pooled(X1), atol=1e-5)
    # the controls: without it, and the state, which is what is returned then
    assert np.abs(pooled(free.x0) - pooled(X1)).max() > 0.01
    np.testing.assert_array_equal(free.x0, free.xt_path[-1])
    assert np.abs(np.asarray(held.xt_path[-1] - held.x0_path[-1])).max() > 1e-4


def test_a_run_holds_to_what_x1_tells():
    config = make_config(
        corruption="sr4x-pool", sampling={"consistency": "projection"}, image_size=SIZE
    )
    assert config.sampling.consistency == "projection"
    for corruption, words in (
        ("sr4x-photo", "X_1 of sr4x-photo alone"),
        ("jpeg-told", "X_1 of jpeg-told alone"),
        ("noise", "every pixel at random"),
        ("mixture", "several operators"),
    ):
        with pytest.raises(ValueError, match=words):
            make_config(corruption=corruption, sampling={"consistency": "projection"})
