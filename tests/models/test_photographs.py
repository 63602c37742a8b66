"""What the network may have that ADM has not: patches, no normalisation, no attention."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.interop.adm import parameter_table
from i2sb_jax.models import UNet, adm_256, threshold
from i2sb_jax.models.sharpen import RADIUS
from i2sb_jax.models.unet import depth_to_space, space_to_depth
from tests.models.networks import FLAT, SMALL

LOCAL = dataclasses.replace(FLAT, norm="none", middle_attention=False)


def random_params(config, size=16):
    """Weights none of which is zero."""
    x = jnp.zeros((1, size, size, config.in_channels))
    shapes = jax.eval_shape(UNet(config).init, jax.random.key(0), x, jnp.zeros((1,)))["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda s: 0.3 * rng.standard_normal(s.shape).astype(np.float32), shapes)


def pictures(size, batch=1):
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.standard_normal((batch, size, size, 3)).astype(np.float32))


def apply(config, params, x):
    return UNet(config).apply({"params": params}, x, jnp.full((len(x),), 900.0))


@pytest.mark.parametrize("patch", (2, 4))
def test_a_patch_is_channels_and_back(patch):
    x = pictures(8, batch=2)
    deep = space_to_depth(x, patch)
    assert deep.shape == (2, 8 // patch, 8 // patch, 3 * patch**2)
    # every pixel of a square, row by row, its channels together
    np.testing.assert_array_equal(deep[1, 1, 0, 3:6], x[1, patch, 1])
    np.testing.assert_array_equal(deep[1, 0, 1, 3 * patch : 3 * patch + 3], x[1, 1, patch])
    np.testing.assert_array_equal(depth_to_space(deep, patch), x)


def test_a_patch_of_one_is_the_same_program():
    config = dataclasses.replace(SMALL, patch=1)
    assert config == SMALL
    x = pictures(8)
    assert space_to_depth(x, 1) is x and depth_to_space(x, 1) is x


@pytest.mark.parametrize("patch", (2, 4))
def test_shapes_with_a_patch(patch):
    config = dataclasses.replace(SMALL, patch=patch, in_channels=3)
    assert config.downsampling_factor == 2 * patch
    params = random_params(config)
    assert params["conv_in"]["kernel"].shape == (3, 3, 3 * patch**2, 8)
    assert params["conv_out"]["kernel"].shape == (3, 3, 8, 3 * patch**2)
    assert apply(config, params, pictures(16, batch=2)).shape == (2, 16, 16, 3)
    with pytest.raises(ValueError, match=f"multiples of {2 * patch}"):
        apply(config, params, pictures(16 + patch))


def test_without_normalisation_or_attention_there_are_no_such_parameters():
    names = {"/".join(map(str, path)) for path in _paths(random_params(LOCAL))}
    assert not [name for name in names if "norm" in name or "attention" in name]
    assert LOCAL.groups is None and not LOCAL.has_attention
    assert SMALL.groups == 4 and SMALL.has_attention and SMALL.receptive_radius is None
    assert dataclasses.replace(LOCAL, norm="group").receptive_radius is None


@pytest.mark.parametrize(
    "changes",
    (
        {},
        {"patch": 2},
        {"sharpened": (1.0,)},
        {"thresholded": (1.0,)},
        {"channel_mult": (1, 2)},
        {"num_res_blocks": 2},
    ),
)
def test_a_pixel_sees_its_receptive_radius_and_no_further(changes):
    config = dataclasses.replace(LOCAL, **changes)
    radius, size = config.receptive_radius, 128
    params = random_params(config)
    middle = size // 2 + 1  # not the first of its patch

    def at_the_middle(x):
        return jnp.sum(apply(config, params, x)[0, middle, middle])

    reach = np.abs(jax.jit(jax.grad(at_the_middle))(pictures(size))[0]).max(axis=(1, 2))
    reach = reach > 1e-5 * reach.max() * bool(config.sharpened)  # FFTs round everywhere
    seen = np.flatnonzero(reach)
    assert middle - radius <= seen.min() and seen.max() <= middle + radius
    # a bound that is too generous would cost time; the filters' ends are too small to be seen, and
    # what is kept of a block depends on its noise without a slope
    slack = 3 * config.downsampling_factor + RADIUS * bool(config.sharpened)
    slack += (threshold.RADIUS - threshold.BLOCK + 1) * bool(config.thresholded)
    assert max(middle - seen.min(), seen.max() - middle) > radius - slack


def test_groups_matter_to_normalisation_alone():
    config = dataclasses.replace(LOCAL, model_channels=10)
    assert config.level_channels == (10,)
    with pytest.raises(ValueError, match="multiple of norm_groups 4"):
        dataclasses.replace(config, norm="group")


def test_time_still_modulates_without_normalisation():
    params, x = random_params(LOCAL), pictures(16)
    early, late = (UNet(LOCAL).apply({"params": params}, x, jnp.array([t])) for t in (1.0, 900.0))
    assert np.abs(early - late).max() > 1e-3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("norm", "batch", "norm is 'batch', must be one of group, none"),
        ("patch", 3, "patch is 3, must be one of 1, 2, 4"),
        ("patch", True, "patch is True, must be one of 1, 2, 4"),
    ],
)
def test_bad_values_are_named(field, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        dataclasses.replace(SMALL, **{field: value})


@pytest.mark.parametrize(
    "changes",
    (
        {"patch": 2},
        {"norm": "none"},
        {"middle_attention": False},
        {"sharpened": (1.0,)},
        {"thresholded": (2.8,)},
    ),
)
def test_adm_has_no_names_for_other_networks(changes):
    with pytest.raises(ValueError, match=f"model.{next(iter(changes))}=.*guided-diffusion"):
        list(parameter_table(adm_256(**changes)))


def _paths(tree):
    return [[key.key for key in path] for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
