"""Tiles of a network that looks at its surroundings alone are not to be seen, whatever they are."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter

from i2sb_jax import interop
from i2sb_jax.models import UNetConfig, receptive_field
from i2sb_jax.models.receptive_field import receptive_spread, telling_radius
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.tiles import Tiling, choose_tiling, make_grid
from i2sb_jax.run import Run
from tests.restoration.models import identity_model, photo
from tests.restoration.seams import step_ratio
from tests.restoration.test_restorer import random_params
from tests.training.tiny import make_config

LOCAL = {"norm": "none", "middle_attention": False, "patch": 2, "channel_mult": (1.0,)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of convolutions alone that changes its pictures by many levels."""
    folder = tmp_path_factory.mktemp("local")
    config = make_config(
        corruption="jpeg-10", model=LOCAL, bridge={"deterministic": True, "beta_max": 1.0},
        sampling={"sampler": "ode", "nfe": 1},
    )  # fmt: skip
    params = jax.device_get(random_params(config, scale=0.1))
    interop.save_model(folder, config, params)
    return folder


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "a.png"
    Image.fromarray(photo(150, 209)).save(path)
    return path


def restore(model, picture, out, **options):
    restore_folder(model, picture, out, Options(**options), quiet=True)
    with Image.open(out / "a.png") as image:
        return np.asarray(image).astype(int)


def test_results_do_not_depend_on_the_tiles(model, picture, tmp_path):
    whole = restore(model, picture, tmp_path / "whole", tile=256)
    with Image.open(picture) as image:
        assert np.abs(whole - np.asarray(image)).max() > 20  # the network does something
    default = restore(model, picture, tmp_path / "default")
    assert np.abs(default - whole).max() <= 2
    tiled = restore(model, picture, tmp_path / "tiled", tile=64)
    assert np.abs(tiled - whole).max() <= 2
    assert 0.9 < step_ratio(tiled, make_grid(166, 225, side=64, overlap=48), lead=(16, 16)) < 1.2
    # the control: neighbours that share nothing
    apart = restore(model, picture, tmp_path / "apart", tile=64, overlap=0)
    assert np.abs(apart - whole).max() > 2


def test_windows_of_a_model_with_filters_are_not_to_be_seen(tmp_path, monkeypatch):
    """Such a network looks far for which filter suits: four windows of a photograph, and one."""
    from skimage import data

    picture = tmp_path / "a.png"
    Image.fromarray(data.astronaut()).filter(ImageFilter.GaussianBlur(1.5)).save(picture)
    whole = restore("deblur", picture, tmp_path / "whole", tile=640)
    default = restore("deblur", picture, tmp_path / "default")
    assert np.abs(default - whole).max() <= 1
    # the control: neighbours that share what does for other networks
    monkeypatch.setattr(receptive_field, "_SPREADS_OF_FILTERS", receptive_field._SPREADS)
    close = restore("deblur", picture, tmp_path / "close")
    assert np.abs(close - whole).max() > 4


def test_floats_come_back_from_where_they_were(tmp_path):
    """A network that changes nothing, of an array that begins 16 pixels within its grid."""
    model = identity_model(tmp_path / "model", "noise-float", model=LOCAL)
    array = np.random.default_rng(2).uniform(-1, 1, (40, 52, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    restore_folder(model, tmp_path / "a.npy", tmp_path / "b.npy", Options(nfe=1), quiet=True)
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), array, atol=1e-6)


def test_the_measure_sees_borders():
    rng = np.random.default_rng(0)
    plain = rng.normal(100, 4, (200, 300, 3))
    grid = make_grid(200, 300, side=64, overlap=16)
    assert 0.9 < step_ratio(plain, grid) < 1.1
    stepped = plain.copy()
    for start in grid.columns[1:]:
        stepped[:, start:] += 6 * (-1) ** (start // 48)
    assert step_ratio(stepped, grid) > 1.3
    assert np.isnan(step_ratio(plain, make_grid(200, 300, side=320, overlap=16)))


def network(**changes):
    base = {
        "model_channels": 8, "channel_mult": (1.0,), "num_res_blocks": 1, "norm_groups": 4,
        "attention_downsamples": (), "head_channels": 8, "norm": "none", "middle_attention": False,
    }  # fmt: skip
    return UNetConfig(**(base | changes))


def test_tiles_follow_from_the_network():
    attends = choose_tiling(network(middle_attention=True), image_size=64)
    assert attends == Tiling(64, 16, False, 16, 0) and attends.lead == 0
    statistics = choose_tiling(network(norm="group"), image_size=64)
    assert statistics.adapts and (statistics.side, statistics.overlap) == (512, 64)
    local = choose_tiling(network(patch=2), image_size=64)
    assert local.adapts and local.side == 512 and local.lead == 16
    assert local.overlap >= 2 * local.margin == 2 * telling_radius(network(patch=2))
    filtered = network(patch=2, sharpened=(0.8, 2.0))
    assert telling_radius(network(patch=2)) < telling_radius(filtered) < filtered.receptive_radius
    blocks = network(patch=2, thresholded=(2.8,))
    assert telling_radius(network(patch=2)) < telling_radius(blocks) < blocks.receptive_radius
    chosen = choose_tiling(network(patch=2), image_size=64, tile=64)
    assert (chosen.side, chosen.overlap, chosen.adapts) == (64, 32, False)


@pytest.mark.parametrize("tile", [None, 32, 64, 128, 256, 512])
@pytest.mark.parametrize("mult", [(1.0,), (1.0, 2.0), (1.0, 2.0, 3.0, 4.0)])
def test_no_pixel_is_computed_too_often(tile, mult):
    """Not by networks that see far, nor in the smaller windows of a device without memory."""
    wide = network(patch=2, channel_mult=mult, sharpened=(0.8, 2.0), num_res_blocks=3)
    tiling = choose_tiling(wide, image_size=64, tile=tile)
    most = 4 if tile is None else 16
    while tiling is not None:
        grid = tiling.grid(4096, 4096)
        assert len(grid) * grid.side**2 < 1.3 * most * 4096**2
        tiling, most = tiling.halved(), 16


def test_windows_with_dark_borders_share_them():
    def chosen(side, border=16, tile=None, overlap=None, **changes):
        return choose_tiling(
            network(**changes), image_size=side, tile=tile, overlap=overlap, border=border
        )

    attends = {"middle_attention": True}
    assert chosen(64, **attends) == Tiling(64, 32, False, 16, 0)
    assert chosen(256, **attends) == chosen(256, border=0, **attends)  # they share 64 anyway
    assert chosen(32, **attends).overlap == 16  # half of a window is the most
    assert chosen(64, overlap=16, **attends).overlap == 16  # a person's choice
    assert chosen(64, norm="group") == Tiling(64, 32, False, 16, 0)
    assert chosen(64, norm="group", tile=128).side == 128
    assert chosen(64) == chosen(64, border=0) and chosen(64).adapts


@pytest.mark.parametrize(
    ("size", "most"), [((816, 1216), 1.5), ((300, 200), 2.2), ((60, 60), 2.7), ((3000, 40), 8)]
)
def test_a_picture_is_not_padded_to_much_more_than_itself(size, most):
    tiling = choose_tiling(network(patch=2), image_size=64)
    grid = tiling.grid(size[0] + 16, size[1] + 16)
    assert grid.rows[-1] + grid.side >= size[0] + 16 + min(tiling.margin, grid.side - 16)
    assert len(grid) * grid.side**2 < most * size[0] * size[1]
    assert grid == tiling.grid(size[0] + 16, size[1] + 16)


@pytest.mark.parametrize("changes", [{}, {"patch": 2}, {"channel_mult": (1.0, 1.0)}], ids=str)
def test_what_matters_lies_within_the_radius(changes):
    """The gradient of a pixel by its input, of random weights, and where it is nothing at all."""
    config = dataclasses.replace(make_config(model=LOCAL | {"patch": 1} | changes))
    unet = config.model.unet_config(in_channels=3)
    params, net, side = random_params(config, scale=0.3), Run(config).network, 128

    def middle(x):
        return net.apply({"params": params}, x, np.full((1,), 500, np.float32))[0, 64, 64].sum()

    x = np.random.default_rng(0).normal(size=(1, side, side, 3)).astype(np.float32)
    by_row = np.abs(np.asarray(jax.jit(jax.grad(middle))(x))).sum(axis=(0, 2, 3))
    distance = np.abs(np.arange(side) - 64)
    assert not by_row[distance > unet.receptive_radius].any()
    assert by_row[distance > telling_radius(unet)].sum() < 0.15 * by_row.sum()
    spread = np.sqrt((by_row**2 * distance**2).sum() / (by_row**2).sum())
    assert spread < receptive_spread(unet)
