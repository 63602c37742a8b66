"""Between the first prediction and the end of a walk: one line, of every bridge and sampler."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import bridge
from i2sb_jax.accelerators import sharding
from i2sb_jax.config import SamplingConfig
from i2sb_jax.corruptions import measure
from i2sb_jax.sampling import DeviceSampler, Window, make_sample_fn
from i2sb_jax.sampling.start import END, make_start_fn, start_at
from i2sb_jax.types import StartedParams
from tests.golden import synthetic
from tests.training.tiny import make_config

SIZE, COUNT, STEPS, NFE = 8, 2, 100, 4
FIRST = NFE - 1  # position that the first evaluation leads to
CLEAN = synthetic.photo(COUNT, SIZE, 3)
X1 = (0.7 * CLEAN + 0.1).astype(np.float32)
HOLE = np.zeros((COUNT, SIZE, SIZE, 1), np.float32)
HOLE[:, 2:6, 2:6] = 1
KEYS = jax.random.split(jax.random.key(0), COUNT)
I2SB = bridge.make_symmetric_schedule(num_steps=STEPS, beta_max=0.3)
FLOW = bridge.linear_bridge(num_steps=STEPS)
# of one first order, of another kind of step, with noise where it starts, without any
OTHERS = {
    "nadb": (bridge.nadb_bridge(num_steps=STEPS), "ddpm"),
    "irsde": (bridge.irsde_bridge(num_steps=STEPS), "heun"),
    "resshift": (bridge.resshift_bridge(num_steps=STEPS), "ddpm"),
    "linear": (FLOW, "ode2"),
}
CASES = {name: (I2SB, name) for name in bridge.SAMPLERS} | OTHERS


def wave(variables, xt, noise_level, cond):
    """A network whose predictions are far apart on the way."""
    del variables, cond
    level = noise_level.reshape((-1,) + (1,) * (xt.ndim - 1)) / STEPS
    return jnp.sin(3 * xt + level)


def sampling_fn(case, *, record=(), **sampling):
    process, sampler = CASES[case]
    return make_sample_fn(
        types.SimpleNamespace(apply=wave), process,
        SamplingConfig(**{"sampler": sampler, "nfe": NFE} | sampling), record=record,
    )  # fmt: skip


def sampled(case, *, mask=None, **options):
    """Op by op: there is nothing to compile for each case."""
    with jax.disable_jit():
        return sampling_fn(case, **options)(KEYS, {}, X1, mask, None)


@pytest.mark.parametrize("case", CASES)
def test_it_is_linear_between_the_first_prediction_and_the_end(case):
    plain = sampled(case, record=(FIRST, 0))
    first = plain.x0_path[0]
    assert np.abs(first - plain.x0).max() > 0.02
    for realism in (0.0, 0.25):
        mixed = sampled(case, realism=realism, record=(1,))
        np.testing.assert_array_equal(mixed.x0, (1 - realism) * first + realism * plain.x0)
        assert mixed.xt_path.shape == mixed.x0_path.shape == (1, *X1.shape)
    np.testing.assert_array_equal(sampled(case, realism=1.0).x0, plain.x0)
    if not CASES[case][0].start_std:  # else each walk starts with a noise of its own
        once = sampled(case, nfe=1, record=(0,))
        np.testing.assert_array_equal(first, once.x0_path[0])
        # of one evaluation there is nothing to mix
        np.testing.assert_array_equal(sampled(case, nfe=1, realism=0.5).x0, once.x0)


def test_known_pixels_stay():
    plain = sampled("ddpm", mask=HOLE, record=(FIRST,))
    mixed = sampled("ddpm", mask=HOLE, realism=0.5).x0
    known = np.broadcast_to(HOLE < 0.5, X1.shape)
    np.testing.assert_array_equal(mixed[known], plain.x0[known])
    half = (plain.x0_path[0] + plain.x0) / 2
    np.testing.assert_allclose(mixed[~known], half[~known], atol=1e-6)


def test_at_one_the_program_is_that_without_it():
    programs = [
        str(jax.make_jaxpr(sampling_fn("ddpm", record=(1,), **given))(KEYS, {}, X1, HOLE, None))
        for given in ({}, {"realism": 1.0}, {"realism": 0.5})
    ]
    assert programs[0] == programs[1] != programs[2]
    # of a scan's body there is one, with one evaluation: it costs none more
    assert [program.count(" sin ") for program in programs] == [1, 1, 1]


def test_eager_jit_vmap_and_a_mesh_agree():
    sample_fn = sampling_fn("implicit", realism=0.4)

    def one(key, x1, mask):
        return sample_fn(key[None], {}, x1[None], mask[None], None).x0[0]

    eager = sampled("implicit", realism=0.4, mask=HOLE).x0
    jitted = jax.jit(sample_fn)(KEYS, {}, X1, HOLE, None).x0
    sampler = DeviceSampler(sample_fn, sharding.make_mesh())
    window = Window(np.asarray(jax.random.key_data(KEYS)), X1, HOLE, origin=None)
    for other in (jitted, jax.vmap(one)(KEYS, X1, HOLE), sampler({}, sampler.lay(window)).x0):
        np.testing.assert_allclose(other, eager, atol=1e-5)


def test_both_ends_are_consistent():
    def pooled(x):
        return np.asarray(x).reshape(COUNT, SIZE // 4, 4, SIZE // 4, 4, 3).mean(axis=(2, 4))

    x1 = pooled(CLEAN).repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    each = jax.vmap(lambda x1: measure("sr4x-pool", x1, None, None, method="projection"))(x1)
    for held in ("projection", ""):
        sample_fn = sampling_fn("ode", realism=0.5, consistency=held)
        with jax.disable_jit():
            found = sample_fn(KEYS, {}, x1, None, None, None, each).x0
        assert (np.abs(pooled(found) - pooled(x1)).max() < 1e-5) == bool(held)


def test_of_a_start_the_bridges_own_first_evaluation_is_taken():
    theirs = sampling_fn("ode", nfe=1, record=END)
    start_fn = make_start_fn(theirs, noise=0.2)

    def started(**options):
        with jax.disable_jit():
            sample_fn = start_at(start_fn, sampling_fn("linear", **options))
            return sample_fn(KEYS, StartedParams({}, {}), X1, None, None)

    first = started(record=(FIRST,)).x0_path[0]
    np.testing.assert_array_equal(started(realism=0.0).x0, first)
    assert np.abs(first - sampled("ode", nfe=1, record=END).x0_path[0]).max() > 0.05


def test_students_have_it_and_do_not_learn_it():
    def noisy(variables, xt, noise_level, noise):
        return wave(variables, xt, noise_level, None) + 0.1 * noise

    def drawn(**sampling):
        sample_fn = make_sample_fn(
            types.SimpleNamespace(apply=noisy), I2SB, SamplingConfig(nfe=NFE, **sampling),
            noise_channels=3, record=(FIRST,),
        )  # fmt: skip
        with jax.disable_jit():
            return sample_fn(KEYS, {}, X1, None, None)

    plain = drawn()
    np.testing.assert_array_equal(drawn(realism=0.5).x0, 0.5 * plain.x0_path[0] + 0.5 * plain.x0)
    assert np.abs(plain.x0_path[0] - sampled("ddpm", realism=0.0).x0).max() > 0.01
    student = {"corruption": "jpeg-10", "teacher": "runs/teacher"}
    config = make_config(**student)
    assert config.choose_sampling(realism=0.5).realism == 0.5
    with pytest.raises(ValueError, match=r"^sampling.realism=0.5: a student learns whole samples"):
        make_config(sampling={"realism": 0.5}, **student)


@pytest.mark.parametrize("realism", (-0.1, 1.5, float("nan")))
def test_other_numbers_are_refused(realism):
    with pytest.raises(ValueError, match=r"^realism=\S+ must lie in 0 … 1$"):
        SamplingConfig(realism=realism)


def test_of_one_evaluation_it_is_refused():
    with pytest.raises(ValueError, match=r"^realism=0.5 lies between .*nfe=1"):
        make_config(sampling={"realism": 0.5, "nfe": 1})


# X_0 ~ N(0, 1) at each pixel and X_1 = X_0 + NOISE·n, so that of X_1 the posterior is
# N(GAIN·X_1, SPREAD²), and of both ends the network's exact answer follows
NOISE, MANY, SIDE = 1.0, 50, 128
GAIN, SPREAD = 1 / (1 + NOISE**2), (NOISE**2 / (1 + NOISE**2)) ** 0.5
EXACT = bridge.make_bridge("brownian", num_steps=1000, beta_max=0.3, x1_input=True)


def exact(variables, xt, noise_level, x1):
    """E[X_0 | X_t, X_1] for what the network sees: X_t, and X_1 beside it."""
    del variables
    levels = jnp.asarray(EXACT.noise_level, jnp.float32)
    step = jnp.argmin(jnp.abs(levels - noise_level[0]))
    a, b, c = (jnp.asarray(each, jnp.float32)[step] for each in (EXACT.a, EXACT.b, EXACT.c))
    mean = GAIN * x1
    gain = b * SPREAD**2 / (b**2 * SPREAD**2 + c**2 + 1e-12)
    return mean + gain * (xt - a * x1 - b * mean)


@pytest.fixture(scope="module")
def gaussian():
    """(clean, X_1, the first prediction, the end): float32 [1, SIDE, SIDE, 3]."""
    rng = np.random.default_rng(0)
    clean, noise = rng.standard_normal((2, 1, SIDE, SIDE, 3)).astype(np.float32)
    x1 = clean + np.float32(NOISE) * noise
    sample_fn = make_sample_fn(
        types.SimpleNamespace(apply=exact), EXACT, SamplingConfig(sampler="ddpm", nfe=MANY),
        prediction="x0", record=(MANY - 1,),
    )  # fmt: skip
    samples = jax.jit(sample_fn)(KEYS[:1], {}, x1, None, None)
    return clean, x1, np.asarray(samples.x0_path[0]), np.asarray(samples.x0)


def trade(clean, first, last):
    """Mean squared errors, and the Wasserstein-2 distances of the pixels' laws, by realism."""
    errors, distances = [], []
    for realism in np.linspace(0, 1, 9):
        mixed = (1 - realism) * first + realism * last
        errors.append(np.mean((mixed - clean) ** 2))
        distances.append(np.sqrt(np.mean((np.sort(mixed, None) - np.sort(clean, None)) ** 2)))
    return np.array(errors), np.array(distances)


def is_trade(errors, distances):
    """Whether PSNR falls all the way, and the distance does too."""
    return (np.diff(errors) > 0).all() and (np.diff(distances) < 0).all()


def test_between_gaussians_it_trades_error_for_distance(gaussian):
    clean, x1, first, last = gaussian
    np.testing.assert_allclose(first, GAIN * x1, atol=1e-5)
    errors, distances = trade(clean, first, last)
    assert is_trade(errors, distances)
    # five deviations of a mean of as many pixels
    five = 5 / np.sqrt(clean.size)
    # of the mean √GAIN of the data's deviation is left; a sample has all of it
    assert distances[0] == pytest.approx(1 - GAIN**0.5, abs=five)
    assert distances[-1] < 0.2 * distances[0]
    # what a sample adds to the mean is independent of the picture: its square is the error's
    assert errors[0] == pytest.approx(SPREAD**2, abs=2**0.5 * SPREAD**2 * five)
    assert errors[4] == pytest.approx((3 * errors[0] + errors[-1]) / 4, abs=SPREAD**2 * five / 2)


@pytest.mark.parametrize("control", ("a walk without noise", "a line that leads elsewhere"))
def test_what_ends_at_no_sample_is_found_out(gaussian, control):
    clean, x1, first, _ = gaussian
    assert not is_trade(*trade(clean, first, first if control == "a walk without noise" else x1))
