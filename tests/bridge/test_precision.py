"""Types other than float32, derivatives, and walks that stop before index 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from i2sb_jax.learning.losses import bridge_loss
from i2sb_jax.types import Batch

N = 40
SCHEDULE = bridge.make_symmetric_schedule(num_steps=N, beta_max=1.0)
SILENT = bridge.diffusion_bridge(  # no noise at index 0
    alpha=np.ones(N), std=np.sqrt(np.linspace(0, 0.3, N)), scale=np.ones(N)
)
BRIDGES = {"i2sb": SCHEDULE, "exact": bridge.i2sb_bridge(SCHEDULE), "silent": SILENT}
STEPS = bridge.step_grid(N, 6)
KEY = jax.random.key(0)
X1 = np.random.default_rng(0).uniform(-1, 1, (2, 5)).astype(np.float32)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def network(made):
    def predict_x0_fn(xt, step):
        return bridge.predict_x0(made, step, xt, jnp.tanh(xt))

    return predict_x0_fn


@pytest.mark.parametrize("sampler", bridge.SAMPLERS)
@pytest.mark.parametrize("name", BRIDGES)
def test_bfloat16_stays_bfloat16(name, sampler):
    made = BRIDGES[name]
    run = bridge.make_sampler(sampler)

    def predict_x0_fn(xt, step):  # as a network would that computes in float32
        return bridge.predict_x0(
            made, step, xt.astype(jnp.float32), jnp.tanh(xt.astype(jnp.float32))
        )

    with jax.numpy_dtype_promotion("standard"):
        half = run(KEY, made, predict_x0_fn, jnp.asarray(X1, jnp.bfloat16), steps=STEPS,
                   record=(0, 3))  # fmt: skip
    assert {x.dtype for x in half} == {jnp.dtype(jnp.bfloat16)}
    assert np.isfinite(np.asarray(half.x0, np.float32)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", BRIDGES)
def test_pictures_keep_their_type_under_x64(x64, name, dtype):
    made, x1 = BRIDGES[name], X1.astype(dtype)
    for moments in (
        bridge.marginal(made, 7, x1, x1),
        bridge.marginal(made, np.array([1, 7]), x1, x1),
    ):
        assert {x.dtype for x in moments} == {np.dtype(dtype)}
    for prediction in bridge.PREDICTIONS:
        target = bridge.regression_target(made, 7, x1, 0.5 * x1, prediction=prediction)
        assert target.dtype == dtype
    for sampler in bridge.SAMPLERS:
        out = bridge.make_sampler(sampler)(KEY, made, network(made), x1, steps=STEPS, record=(2,))
        assert {x.dtype for x in out} == {np.dtype(dtype)}
    batch = Batch(clean=x1, degraded=0.5 * x1)
    for weighting in ("epsilon", "v", "min_snr"):
        loss = bridge_loss(KEY, made, lambda xt, step, cond: 0 * xt, batch, weighting=weighting)
        assert loss.dtype == dtype


def test_float64_is_as_exact_as_its_weights(x64):
    """With a constant predictor the ODE ends where its weights say, to 1e-12; float32: to 1e-6."""
    made = BRIDGES["exact"]

    def end(dtype):
        x1 = X1.astype(dtype)
        run = bridge.make_sampler("implicit3")
        no_noise = lambda key, shape, dtype: jnp.zeros(shape, dtype)  # noqa: E731
        x0 = run(KEY, made, lambda xt, step: jnp.full_like(xt, 0.25), x1, steps=STEPS,
                 normal_fn=no_noise).x0  # fmt: skip
        return np.abs(np.asarray(x0, np.float64) - (made.a[0] * X1 + made.b[0] * 0.25)).max()

    assert end(np.float64) < 1e-12 < end(np.float32) < 1e-6


# tables whose derivatives are not parts of another's
DIFFERENTIATED = [(n, 0.0) for n in bridge.SAMPLERS if n not in ("heun", "ode2")]


@pytest.mark.parametrize("sampler, eta", [*DIFFERENTIATED, ("implicit", 0.5), ("implicit", 1.0)])
@pytest.mark.parametrize("name", BRIDGES)
def test_derivatives_by_the_bridge_are_finite(name, sampler, eta):
    def loss(made):
        run = bridge.make_sampler(sampler, eta=eta)
        return jnp.sum(run(KEY, made, network(made), X1, steps=STEPS).x0 ** 2)

    grads = jax.grad(loss, allow_int=True)(jax.tree.map(jnp.float32, BRIDGES[name]))
    if name == "silent" and sampler in ("implicit2", "implicit3"):
        assert np.isfinite(grads.a).all()  # λ has no limit at index 0, and none is needed
    else:
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))
    assert any(np.abs(x).max() > 0 for x in jax.tree.leaves(grads))


@pytest.mark.parametrize("sampler, eta", [("ddpm", 0.0), ("implicit", 1.0), ("implicit", 0.0)])
@pytest.mark.parametrize("name", ["i2sb", "exact"])
def test_a_walk_that_stops_early_ends_with_the_marginals_noise(name, sampler, eta):
    """From T to the middle in one step: a draw of q(x_t | X̂_0, x_T), in holes and around them."""
    made, count = BRIDGES[name], 4000
    x1, mask = jnp.zeros((1, count, 2, 1)), jnp.asarray([1.0, 0.0]).reshape(1, 1, 2, 1)
    x0 = bridge.make_sampler(sampler, eta=eta)(
        KEY, made, lambda xt, step: jnp.zeros_like(xt), x1, steps=(N // 2, N - 1), mask=mask
    ).x0
    std = float(BRIDGES["exact"].c[N // 2])
    for column in (0, 1):
        assert float(x0[0, :, column].std()) == pytest.approx(
            std, rel=5 / (2 * count) ** 0.5 + 0.02
        )
