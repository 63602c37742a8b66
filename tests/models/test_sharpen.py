"""Wiener filters as a network's further inputs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.models.sharpen import RADIUS, sharpened, wiener_kernel
from tests.golden import synthetic
from tests.models.networks import FLAT
from tests.models.test_photographs import apply, random_params

PICTURE = jnp.asarray(synthetic.photo(1, 64, 3))


def gaussian(width):
    x = np.arange(-RADIUS, RADIUS + 1)
    kernel = np.exp(-((x / width) ** 2) / 2)
    return np.outer(kernel, kernel) / kernel.sum() ** 2


def by_hand(x, kernel):
    """The same by summing shifted pictures."""
    padded = np.pad(x, ((0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS), (0, 0)), mode="symmetric")
    height, width = x.shape[1:3]
    return sum(
        kernel[i, j] * padded[:, i : i + height, j : j + width]
        for i in range(2 * RADIUS + 1)
        for j in range(2 * RADIUS + 1)
    )


@pytest.mark.parametrize("compiled", (False, True))
def test_it_is_a_convolution_with_mirrored_borders(compiled):
    x = PICTURE[:, :48, :40]
    widths = (0.8, 2.0)
    call = jax.jit(sharpened, static_argnums=1) if compiled else sharpened
    found = call(x, widths).reshape(1, 48, 40, 3, 2)
    for i, width in enumerate(widths):
        expected = by_hand(np.asarray(x), wiener_kernel(width)) - x
        np.testing.assert_allclose(found[..., i], expected, atol=2e-5)


def test_a_flat_picture_stays_and_a_blurred_one_is_sharpened():
    flat = jnp.full((1, 32, 32, 3), 0.3)
    assert np.abs(sharpened(flat, (1.0, 2.0))).max() < 1e-5
    blurred = by_hand(np.asarray(PICTURE), gaussian(1.5))

    def error(width):
        return float(jnp.mean(jnp.square(blurred + sharpened(blurred, (width,)) - PICTURE)))

    before = float(jnp.mean(jnp.square(blurred - PICTURE)))
    assert error(1.5) < 0.6 * before and error(1.5) < error(0.5) < before


def test_the_network_sees_them():
    config = dataclasses.replace(FLAT, sharpened=(1.0, 1.5), patch=2)
    params = random_params(config, size=32)
    assert params["conv_in"]["kernel"].shape[2] == 4 * (3 + 6)
    assert apply(config, params, PICTURE).shape == (1, 64, 64, 3)
