"""What holds for every corruption on every backend."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.corruptions import corruption_names
from tests.corruptions.cases import (
    BACKENDS,
    DETERMINISTIC,
    EVERY,
    INPAINTING,
    KINDS,
    RANDOM,
    cached_corruption,
    corrupt,
    degrade,
    import_tensorflow,
)
from tests.golden import synthetic

SIZE = 32
IMAGES = synthetic.photo(3, SIZE, 5)
# Nothing leaves [-1, 1] by more than JPEG's overshoot at its coarsest.
REACH = 2.5


def cases(names=EVERY):
    return [(name, cached_corruption(name, image_size=SIZE)) for name in names]


def parametrize(names=EVERY):
    return pytest.mark.parametrize(
        "corruption", [case[1] for case in cases(names)], ids=[case[0] for case in cases(names)]
    )


def test_every_name_has_a_case():
    one_quality = re.compile(r"jpeg-\d+|jpeg-file-.*").fullmatch
    names = {name for name in corruption_names() if not one_quality(name)}
    assert names == {name for name in EVERY if not one_quality(name)}


@pytest.mark.parametrize("backend", BACKENDS)
@parametrize(KINDS)
def test_shapes_types_and_parts(corruption, backend):
    result = corrupt(backend, corruption, 0, IMAGES)
    assert result.image.shape == IMAGES.shape and result.image.dtype == np.float32
    assert (result.mask is not None) == corruption.has_mask == (corruption.name in INPAINTING)
    told = corruption.name in ("colorize", "jpeg-told")
    assert (result.cond is not None) == corruption.has_cond == told
    if corruption.has_mask:
        assert result.mask.shape == (3, SIZE, SIZE, 1) and result.mask.dtype == np.float32
        assert set(np.unique(result.mask)) == {0.0, 1.0}
    if corruption.has_cond:
        shape = (*IMAGES.shape[:3], corruption.facts.cond_channels)
        assert result.cond.shape == shape and result.cond.dtype == np.float32


@parametrize()
def test_numpy_in_numpy_out(corruption):
    result = corruption(np.random.default_rng(0), IMAGES)
    for part in (*result, corruption.degrade(IMAGES)):
        assert part is None or (isinstance(part, np.ndarray) and part.dtype == np.float32)


@parametrize(KINDS)
def test_tensorflow_keeps_type_and_static_shape(corruption):
    tf = import_tensorflow()
    seeds, images = tf.zeros((3, 2), tf.int32), tf.constant(IMAGES)
    assert tf.is_tensor(corruption(seeds, images).image)
    for batch in (3, None):

        @tf.function(
            autograph=False,  # nothing in an operator needs it
            input_signature=[
                tf.TensorSpec((batch, 2), tf.int32),
                tf.TensorSpec((batch, SIZE, SIZE, 3), tf.float32),
            ],
        )
        def traced(seeds, images, batch=batch):
            result = corruption(seeds, images)
            for part in (result.image, corruption.degrade(images)):
                assert part.shape.as_list() == [batch, SIZE, SIZE, 3]
            if result.cond is not None:
                channels = corruption.facts.cond_channels
                assert result.cond.shape.as_list() == [batch, SIZE, SIZE, channels]
            if result.mask is not None:
                assert result.mask.shape.as_list() == [batch, SIZE, SIZE, 1]
            return result.image

        traced.get_concrete_function()
    assert traced(seeds, images).shape == IMAGES.shape


@pytest.mark.parametrize("backend", ("jit", "tf.data"))
@parametrize(KINDS)
def test_backends_show_the_same(corruption, backend):
    actual, expected = degrade(backend, corruption, IMAGES), degrade("numpy", corruption, IMAGES)
    agree = np.abs(actual - expected) < 2e-5
    assert agree.mean() > 0.999 if corruption.name.startswith("jpeg") else agree.all()


@parametrize()
def test_degrade_is_finite_bounded_and_a_change(corruption):
    seen = corruption.degrade(IMAGES)
    assert np.isfinite(seen).all() and np.abs(seen).max() < REACH
    only_noise = corruption.name == "noise-float"  # which degrade leaves out
    assert (np.abs(seen - IMAGES).max() > 1e-3) == (not only_noise)


@parametrize()
def test_image_depends_on_its_own_pixels_only(corruption):
    alone = corruption.degrade(IMAGES[1:2], index=np.array([1]))
    np.testing.assert_allclose(corruption.degrade(IMAGES)[1:2], alone, atol=1e-5)


@parametrize(DETERMINISTIC)
def test_deterministic_call_is_degrade_and_needs_no_key(corruption):
    assert not corruption.is_random
    np.testing.assert_array_equal(corruption(None, IMAGES).image, corruption.degrade(IMAGES))


@pytest.mark.parametrize("backend", ("numpy", "jit"))
@parametrize(RANDOM)
def test_same_key_same_result_and_other_key_another(corruption, backend):
    assert corruption.is_random
    first, again, other = (corrupt(backend, corruption, seed, IMAGES) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).any()


@parametrize(("inpaint-freeform1020", "jpeg-file", "noise-float", "colorize"))
def test_jit_and_eager_draw_the_same(corruption):
    eager, jit = (corrupt(backend, corruption, 3, IMAGES) for backend in ("jax", "jit"))
    np.testing.assert_allclose(eager.image, jit.image, atol=1e-5)


@parametrize((*INPAINTING, "noise", "noise-float", "colorize"))
def test_images_of_a_batch_get_different_noise(corruption):
    same = np.repeat(IMAGES[:1], 3, axis=0)
    for backend in ("numpy", "jit"):
        image = corrupt(backend, corruption, 0, same).image
        assert (image[0] != image[1]).any() and (image[1] != image[2]).any(), backend


@parametrize(
    ("inpaint-freeform1020", "jpeg-file", "noise", "sr2x-photo", "real", "mixture", "colorize")
)
def test_tensorflow_seed_alone_decides(corruption):
    """The same image and seed give the same pixels whatever the rest of the batch and its size."""
    tf = import_tensorflow()
    images = tf.constant(IMAGES)
    seeds = tf.constant([[1, 2], [3, 4], [5, 6]])
    whole = corruption(seeds, images).image.numpy()
    for i in range(3):
        alone = corruption(seeds[i : i + 1], images[i : i + 1]).image.numpy()
        np.testing.assert_array_equal(whole[i], alone[0])
    turned = corruption(seeds[::-1], images[::-1]).image.numpy()
    np.testing.assert_array_equal(whole, turned[::-1])
    repeated = corruption(seeds, tf.stack([images[0]] * 3), index=tf.constant([7, 7, 7])).image
    # of these an index leaves nothing to draw
    drawn = corruption.name not in ("jpeg-file", "sr2x-photo")
    assert (repeated[0] != repeated[1]).numpy().any() == drawn


@parametrize(("colorize",))
def test_raw_and_typed_jax_keys_draw_the_same(corruption):
    images = jnp.asarray(IMAGES)
    typed = corruption(jax.random.key(4), images).image
    np.testing.assert_array_equal(typed, corruption(jax.random.PRNGKey(4), images).image)
