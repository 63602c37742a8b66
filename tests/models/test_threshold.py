"""Cosine thresholding as a network's further inputs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from i2sb_jax.models import UNet
from i2sb_jax.models.threshold import BLOCK, RADIUS, STEP, block_noise, thresholded
from tests.golden import synthetic
from tests.models.networks import FLAT
from tests.models.test_photographs import apply, random_params

PICTURE = np.asarray(synthetic.photo(1, 48, 3)[:, :, :40])
FACTORS = (1.0, 2.8)
NOISE = 0.1


def noisy():
    rng = np.random.default_rng(0)
    return PICTURE + NOISE * rng.standard_normal(PICTURE.shape).astype(np.float32)


def to_layers(x):
    return scipy.fft.dct(x, axis=-1, norm="ortho")


@pytest.fixture(scope="module")
def compiled():
    return jax.jit(thresholded, static_argnums=1)


def by_hand(x, factor):
    """The same of one picture of whole blocks, one after the other."""
    height, width, channels = x.shape
    wide, beside = (BLOCK + 8, BLOCK + 16), (BLOCK, BLOCK)
    layers = np.pad(to_layers(x), (wide, wide, (0, 0)), mode="symmetric")
    noise = np.asarray(block_noise(jnp.asarray(layers)[None]))[0, ..., 0]
    layers = np.pad(to_layers(x), (beside, beside, (0, 0)), mode="symmetric")
    total, weights = np.zeros_like(layers), np.zeros_like(layers)
    for top in range(STEP, BLOCK + height, STEP):
        for left in range(STEP, BLOCK + width, STEP):
            for layer in range(channels):
                place = (slice(top, top + BLOCK), slice(left, left + BLOCK), layer)
                waves = scipy.fft.dctn(layers[place], norm="ortho")
                kept = np.abs(waves) > factor * noise[top, left]
                kept[0, 0] = True
                total[place] += scipy.fft.idctn(waves * kept, norm="ortho") / kept.sum()
                weights[place] += 1 / kept.sum()
    inner = (slice(BLOCK, BLOCK + height), slice(BLOCK, BLOCK + width))
    return scipy.fft.idct(total[inner] / weights[inner], axis=-1, norm="ortho") - x


@pytest.mark.parametrize("channels", (1, 3))
def test_it_is_the_mean_of_thresholded_blocks(compiled, channels):
    x = noisy()[..., :channels]
    found = compiled(x, FACTORS).reshape(*x.shape, len(FACTORS))
    for i, factor in enumerate(FACTORS):
        np.testing.assert_allclose(found[0, ..., i], by_hand(x[0], factor), atol=1e-5)


def test_the_noise_is_that_around_a_block():
    rng = np.random.default_rng(1)
    deviations = np.where(np.arange(160) < 80, 0.02, 0.3)[:, None, None]
    texture = rng.standard_normal((160, 80, 1))  # of the luma alone
    x = deviations * rng.standard_normal((160, 80, 3)) + texture
    found = block_noise(jnp.asarray(to_layers(x), jnp.float32)[None])[0, ..., 0]
    assert found.shape == (160 - 24, 80 - 24)
    np.testing.assert_allclose(np.mean(found[: 80 - 24]), 0.02, rtol=0.1)
    np.testing.assert_allclose(np.mean(found[80:]), 0.3, rtol=0.1)


def test_most_noise_goes_and_most_of_the_picture_stays(compiled):
    across, down = np.meshgrid(np.arange(40), np.arange(48))
    picture = 0.5 * np.sin(across / 4) + (down > 20)
    picture = np.broadcast_to(picture[..., None], PICTURE.shape).astype(np.float32)

    def error(x):
        return float(np.mean(np.square(x - picture)))

    x, factors = noisy() - PICTURE + picture, (0.1, 2.8, 100.0)
    few, right, all_but_means = (
        error(x + compiled(x, factors).reshape(*x.shape, 3)[..., i]) for i in range(3)
    )
    assert right < 0.5 * few and right < 0.5 * all_but_means
    assert few == pytest.approx(error(x), rel=0.05)
    flat = jnp.full((1, 32, 32, 3), 0.3)
    assert np.abs(compiled(flat, FACTORS)).max() < 1e-5


def test_a_window_that_begins_elsewhere_sees_the_same(compiled):
    x = noisy()
    whole, part = compiled(x, FACTORS), compiled(x[:, 2 * STEP :, STEP:], FACTORS)
    apart = np.abs(np.asarray(whole[:, 2 * STEP :, STEP:] - part))
    assert apart[:, RADIUS:, RADIUS:].max() < 1e-5 < 1e-3 < apart.max()


def test_the_network_weighs_them():
    config = dataclasses.replace(FLAT, thresholded=FACTORS, patch=2, norm="none")
    params = random_params(config, size=32)
    assert params["conv_in"]["kernel"].shape[2] == 4 * (3 + 6)
    assert params["conv_gates"]["kernel"].shape[3] == 4 * 3 * (1 + 2)
    x = jnp.asarray(noisy())
    answer = jax.jit(functools.partial(apply, config))
    params |= {
        name: jax.tree.map(np.zeros_like, params[name]) for name in ("conv_out", "conv_gates")
    }
    assert not np.any(answer(params, x))
    # one gate open: the second threshold's change of the blue channel
    gates = np.zeros((4, 3, 1 + 2), np.float32)
    gates[:, 2, 2] = 0.5
    params["conv_gates"]["bias"] = gates.reshape(-1)
    expected = np.zeros_like(x)
    expected[..., 2] = 0.5 * thresholded(x, FACTORS)[..., 2 * 2 + 1]
    np.testing.assert_allclose(answer(params, x), expected, atol=1e-6)
    new = jax.eval_shape(UNet(config).init, jax.random.key(0), x, jnp.zeros((1,)))["params"]
    assert jax.tree.structure(new) == jax.tree.structure(params)
