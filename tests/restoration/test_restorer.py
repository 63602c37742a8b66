"""A bridge as a function on pictures: sizes, company, noise, holes."""

import functools

import jax
import numpy as np
import pytest

from i2sb_jax import bridge, interop
from i2sb_jax.restoration import Restorer
from i2sb_jax.run import Run
from i2sb_jax.sampling import Window, make_predict_x0
from i2sb_jax.sampling.noise import picture_key, window_normal
from tests.training.tiny import fresh_params, make_config


def random_params(config, scale=0.05):
    """Parameters of a network that does something: the fresh one returns zero."""
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda x: x + np.float32(scale) * rng.standard_normal(x.shape, np.float32),
        fresh_params(config),
    )


@pytest.fixture(scope="module")
def restorer():
    config = make_config(sampling={"batch_size": 4})
    return Restorer(config, random_params(config))


def pictures(count, height=16, width=16):
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, (count, height, width, 3)).astype(np.float32)


def test_same_picture_in_any_company_gives_the_same_pixels(restorer):
    images, names = pictures(7), [f"{i}.png" for i in range(7)]
    together = restorer(images, nfe=2, names=names)
    for i in (0, 3, 6):
        alone = restorer(images[i : i + 1], nfe=2, names=names[i : i + 1])
        np.testing.assert_array_equal(alone[0], together[i])
    backwards = restorer(images[::-1], nfe=2, names=names[::-1])
    np.testing.assert_array_equal(backwards[::-1], together)


def test_a_call_has_no_more_pixels_than_one_of_the_runs_own_size(restorer):
    sides = (8, 16, 24, 32, 64)
    counts = [restorer.engine.windows_a_call(side, side) / jax.device_count() for side in sides]
    assert counts == [4, 4, 1, 1, 1]
    assert restorer.batch_size == restorer.engine.windows_a_call(16, 16)
    assert restorer.engine.windows_a_call(8, 64) / jax.device_count() == 2


def test_windows_of_several_sizes_are_restored_as_if_apart(restorer):
    sizes = [16, 16, 32, 16, 48, 48]
    windows = [Window(np.array([0, i], np.uint32), pictures(1, n, n)[0]) for i, n in
               enumerate(sizes)]  # fmt: skip
    sampling = restorer.config.choose_sampling(nfe=2)
    together = list(restorer.engine.stream(windows, sampling))
    assert [len(samples.x0) for samples in together] == sizes
    for window, samples in zip(windows, together, strict=True):
        (alone,) = restorer.engine.stream([window], sampling)
        np.testing.assert_array_equal(samples.x0, alone.x0)


def test_noise_is_the_names_and_the_seeds(restorer):
    image = pictures(1)
    first = restorer(image, nfe=2, names=["a"])
    np.testing.assert_array_equal(restorer(image, nfe=2, names=["a"], seed=0), first)
    assert np.abs(restorer(image, nfe=2, names=["b"]) - first).max() > 1e-3
    assert np.abs(restorer(image, nfe=2, names=["a"], seed=1) - first).max() > 1e-3
    ode = restorer(image, nfe=2, names=["a"], sampler="ode")
    np.testing.assert_array_equal(restorer(image, nfe=2, names=["b"], sampler="ode"), ode)


def test_it_is_the_samplers_result(restorer):
    config, image = restorer.config, pictures(1)
    schedule, network = Run(config).bridge, Run(config).network
    expected = bridge.sample(
        None, schedule, make_predict_x0(network, schedule, restorer._params), image,
        steps=bridge.step_grid(1000, 3), deterministic=True, record=(0, 2),
    )  # fmt: skip
    samples = restorer(image, nfe=3, sampler="ode", record=(0, 2))
    for ours, theirs in zip(samples, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    restored = restorer(image, nfe=3, sampler="ode")
    np.testing.assert_allclose(restored, np.clip(expected.x0, -1, 1), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"sampler": "implicit", "spacing": "sigma", "eta": 0.5},
        {"sampler": "implicit3", "spacing": "lambda"},
    ],
    ids=str,
)
def test_every_sampler_and_grid_is_taken(restorer, options):
    config, image = restorer.config, pictures(1)
    schedule, network = Run(config).bridge, Run(config).network
    sampler = bridge.make_sampler(options["sampler"], eta=options.get("eta", 0.0))
    expected = sampler(
        jax.random.wrap_key_data(picture_key(0, "a")), schedule,
        make_predict_x0(network, schedule, restorer._params), image,
        steps=bridge.step_grid(1000, 4, spacing=options["spacing"], schedule=schedule),
        normal_fn=functools.partial(window_normal, origin=np.zeros(2, np.int32)),
    )  # fmt: skip
    restored = restorer(image, nfe=4, names=["a"], **options)
    np.testing.assert_allclose(restored, np.clip(expected.x0, -1, 1), atol=2e-5)
    plain = restorer(image, nfe=4, names=["a"])
    assert np.abs(restored - plain).max() > 1e-3


@pytest.mark.parametrize("size", [(16, 16), (15, 33), (1, 1), (50, 8)])
def test_any_size_comes_back_whole(size):
    """A fresh network predicts ε = 0, so that the OT-ODE returns what it was given."""
    config = make_config()
    image = pictures(3, *size)
    restored = Restorer(config, fresh_params(config))(image, nfe=2, sampler="ode")
    assert restored.shape == image.shape
    np.testing.assert_allclose(restored, image, atol=1e-6)


def test_from_workdir_reads_a_model_folder(tmp_path, restorer):
    interop.save_model(tmp_path, restorer.config, jax.device_get(restorer._params))
    loaded = Restorer.from_workdir(tmp_path)
    image = pictures(2)
    np.testing.assert_array_equal(loaded(image, nfe=2), restorer(image, nfe=2))
    half = Restorer.from_workdir(tmp_path, dtype="bfloat16")(image, nfe=2)
    difference = np.abs(half - loaded(image, nfe=2)).max()
    assert 0 < difference < 0.1


@pytest.fixture(scope="module")
def inpainter():
    config = make_config(
        corruption="inpaint-center",
        bridge={"deterministic": True},
        sampling={"sampler": "ode"},
    )
    return Restorer(config, random_params(config))


def test_known_pixels_are_kept_and_holes_start_from_noise(inpainter):
    image = pictures(2)
    mask = np.zeros((2, 16, 16, 1), np.float32)
    mask[:, 4:12, 4:12] = 1
    restored = inpainter(image, nfe=3, mask=mask)
    known = np.broadcast_to(mask == 0, image.shape)
    np.testing.assert_array_equal(restored[known], image[known])
    other = image.copy()
    other[~known] = 0.5  # what lies in the hole must not matter
    np.testing.assert_array_equal(inpainter(other, nfe=3, mask=mask), restored)
    reseeded = inpainter(image, nfe=3, mask=mask, seed=9)
    assert np.abs(reseeded - restored)[~known].max() > 1e-2


def test_the_noise_of_the_sampler_stays_off_known_pixels():
    config = make_config(corruption="inpaint-center")  # an SDE
    inpainter, image = Restorer(config, random_params(config)), pictures(1)
    mask = np.zeros((1, 16, 16, 1), np.float32)
    mask[:, 4:12, 4:12] = 1
    known = np.broadcast_to(mask == 0, image.shape)
    np.testing.assert_array_equal(inpainter(image, nfe=3, mask=mask)[known], image[known])
    # as the sampler leaves them: σ_0 = 0.01 away, as in the paper
    left = inpainter(image, nfe=3, mask=mask, record=(0,)).x0
    assert np.std((left - image)[known]) == pytest.approx(0.01, rel=0.1)


def test_weights_are_told_apart_by_their_values(restorer, inpainter):
    digest = restorer.weights_digest()
    assert digest == Restorer(restorer.config, restorer._params).weights_digest()
    changed = jax.tree.map(lambda x: x + 1e-3, restorer._params)
    assert digest != Restorer(restorer.config, changed).weights_digest()


def test_conditioned_runs_see_the_picture_beside_the_noise():
    config = make_config(corruption="colorize")
    colorizer = Restorer(config, random_params(config))
    grey = np.repeat(pictures(1)[..., :1], 3, axis=-1)
    assert colorizer(grey, nfe=2).shape == grey.shape
    assert np.abs(colorizer(grey, nfe=2, seed=1) - colorizer(grey, nfe=2)).max() > 1e-3


def test_clear_errors(restorer, inpainter):
    image = pictures(1)
    with pytest.raises(ValueError, match=r"nfe=1000 must lie in 1…999"):
        restorer(image, nfe=1000)
    with pytest.raises(ValueError, match="takes no mask"):
        restorer(image, mask=np.ones((1, 16, 16, 1)))
    with pytest.raises(ValueError, match="needs a mask"):
        inpainter(image)
    with pytest.raises(ValueError, match="never saw"):
        inpainter(image, sampler="ddpm", mask=np.ones((1, 16, 16, 1)))
    for sampler in ("implicit", "implicit2", "implicit3"):
        with pytest.raises(ValueError, match=f"sampler='{sampler}' starts with a step of noise"):
            inpainter(image, sampler=sampler, mask=np.ones((1, 16, 16, 1)))
    with pytest.raises(ValueError, match=r"eta=0\.5 is of sampler='implicit'"):
        restorer(image, eta=0.5)
    with pytest.raises(ValueError, match="spacing='even' is not known"):
        restorer(image, spacing="even")
    with pytest.raises(ValueError, match="sampler='euler' is not known"):
        restorer(image, sampler="euler")
    with pytest.raises(ValueError, match=r"must be \[batch, h, w, 3\]"):
        restorer(image[0])
    with pytest.raises(ValueError, match="2 names for 1 images"):
        restorer(image, names=["a", "b"])
    with pytest.raises(ValueError, match="seed=-1 must lie in"):
        restorer(image, seed=-1)
