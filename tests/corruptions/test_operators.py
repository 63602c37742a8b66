"""Properties of single operators, from their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax import jpeg_tables
from i2sb_jax.corruptions import constants
from tests.corruptions.cases import cached_corruption, corrupt
from tests.golden import synthetic

SIZE = 32
IMAGES = synthetic.photo(2, SIZE, 3)
LINEAR = ("sr4x-pool", "sr4x-bicubic", "blur-uni", "blur-gauss-exact", "colorize")


def linear_part(corruption, images):
    """The corruption without its constant term (blurs are affine, working in [0, 1])."""
    return corruption.degrade(images) - corruption.degrade(jnp.zeros_like(images))


@pytest.mark.parametrize("name", LINEAR)
def test_gradient_is_the_transpose(name):
    """⟨A x, y⟩ = ⟨x, Aᵀ y⟩ with Aᵀ y the gradient of ⟨A x, y⟩ anywhere."""
    corruption = cached_corruption(name, image_size=SIZE)
    rng = np.random.default_rng(0)
    x, y, elsewhere = (
        jnp.asarray(rng.standard_normal((1, SIZE, SIZE, 3)), jnp.float32) for _ in range(3)
    )
    transposed = jax.grad(lambda z: jnp.vdot(corruption.degrade(z), y))(elsewhere)
    forward = jnp.vdot(linear_part(corruption, x), y)
    assert abs(forward - jnp.vdot(x, transposed)) < 1e-3
    assert abs(forward) > 0.1


def test_jpeg_gradient_is_zero():
    corruption = cached_corruption("jpeg-10", image_size=SIZE)
    gradient = jax.grad(lambda z: jnp.sum(corruption.degrade(z) ** 2))(jnp.asarray(IMAGES))
    np.testing.assert_array_equal(gradient, np.zeros_like(IMAGES))


def test_pool_is_the_block_mean():
    pooled = cached_corruption("sr4x-pool", image_size=SIZE).degrade(IMAGES)
    small = IMAGES.reshape(2, SIZE // 4, 4, SIZE // 4, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(pooled, small.repeat(4, axis=1).repeat(4, axis=2), atol=1e-6)


def test_bicubic_keeps_constants_and_mirrors_borders():
    matrix = constants.bicubic_matrix(SIZE)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    mirrored = np.pad(np.arange(SIZE, dtype=np.float64) ** 2, 8, mode="symmetric")
    taps = matrix[4, 10:26].astype(np.float64)  # an inner row: samples 4·4 - 6 ... 4·4 + 9
    expected = [taps @ mirrored[4 * r + 2 : 4 * r + 18] for r in range(SIZE // 4)]
    np.testing.assert_allclose(
        matrix.astype(np.float64) @ np.arange(SIZE) ** 2.0, expected, atol=1e-3
    )


@pytest.mark.parametrize("name, taps", (("blur-uni-exact", 9), ("blur-gauss-exact", 5)))
def test_exact_blur_is_a_correlation_without_its_last_tap(name, taps):
    kernel = np.full(9, 1 / 9) if taps == 9 else np.exp(-((np.arange(-2, 3) / 10) ** 2) / 2)
    kernel = kernel / kernel.sum()
    image = np.pad((IMAGES[0].astype(np.float64) + 1) / 2, ((taps // 2,) * 2,) * 2 + ((0, 0),))
    expected = np.zeros((SIZE, SIZE, 3))
    for i in range(taps - 1):
        for j in range(taps - 1):
            expected += kernel[i] * kernel[j] * image[i : i + SIZE, j : j + SIZE]
    blurred = cached_corruption(name, image_size=SIZE).degrade(IMAGES)[0]
    np.testing.assert_allclose(blurred, expected * 2 - 1, atol=1e-5)


def test_blur_factors_are_a_shuffle_of_the_singular_products():
    u, v, gain = constants.blur_factors(constants.UNIFORM_KERNEL, SIZE)
    singular = np.linalg.svd(
        constants.blur_matrix(constants.UNIFORM_KERNEL, SIZE), compute_uv=False
    )
    singular = np.where(singular < 3e-2, 0, singular)
    products = np.sort(np.outer(singular, singular).ravel())
    # N = 1024 is no multiple of 3, so p → (3p + c) mod N meets every factor once in each channel
    for channel in range(3):
        np.testing.assert_allclose(np.sort(gain[:, :, channel].ravel()), products, atol=1e-5)
    products = products[::-1]
    assert gain[0, 0, 0] == pytest.approx(products[0], abs=1e-5)
    np.testing.assert_allclose(u @ u.T, np.eye(SIZE), atol=1e-5)
    np.testing.assert_allclose(v @ v.T, np.eye(SIZE), atol=1e-5)


def test_jpeg_is_nearly_lossless_at_100_and_worse_at_each_lower_quality():
    grey = np.repeat(IMAGES.mean(axis=3, keepdims=True), 3, axis=3)  # chroma is subsampled anyway
    errors = []
    for quality in (100, 75, 50, 25, 10, 5):
        corruption = cached_corruption(f"jpeg-{quality}", image_size=SIZE)
        errors.append(np.abs(corruption.degrade(grey) - grey).mean())
    assert errors[0] < 0.5 / 127.5
    assert errors == sorted(errors)


def test_jpeg_coefficients_lie_on_the_quantisation_grid():
    corruption = cached_corruption("jpeg-10", image_size=SIZE)
    rgb = (corruption.degrade(IMAGES).astype(np.float64) + 1) * 127.5
    luma = rgb @ np.linalg.inv(constants.RGB_FROM_YCBCR.astype(np.float64))[0]
    dct = constants.DCT.astype(np.float64)
    blocks = (luma - 128).reshape(2, SIZE // 8, 8, SIZE // 8, 8)
    steps = np.einsum("uy,biyjx,vx->bijuv", dct, blocks, dct) / corruption.luminance_table
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert np.abs(steps).max() > 2


@pytest.mark.parametrize("quality, first, last", ((1, 255, 255), (10, 80, 255), (50, 16, 99)))
def test_quantisation_table(quality, first, last):
    table = constants.quantisation_table(jpeg_tables.LUMINANCE_TABLE, quality)
    assert table[0, 0] == first and table[7, 7] == last


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_colorize_adds_unit_noise_to_its_condition(backend):
    corruption = cached_corruption("colorize", image_size=SIZE)
    images = np.repeat(IMAGES, 4, axis=0)
    result = corrupt(backend, corruption, 0, images)
    grey = images @ np.array([0.299, 0.587, 0.114], np.float32)
    np.testing.assert_allclose(result.cond, np.repeat(grey[..., None], 3, axis=3), atol=1e-6)
    np.testing.assert_allclose(corruption.degrade(images), result.cond, atol=1e-6)
    noise = result.image - result.cond
    assert abs(noise.mean()) < 5 / noise.size**0.5
    assert abs(noise.var() - 1) < 5 * (2 / noise.size) ** 0.5
    channels = np.corrcoef(noise.reshape(-1, 3).T)  # independent on the three channels
    assert np.abs(channels - np.eye(3)).max() < 5 / (noise.size / 3) ** 0.5
