"""Restoring where a bridge starts at another model's answer: both networks in one call."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.models import UNetConfig
from i2sb_jax.models.receptive_field import telling_radius
from i2sb_jax.restoration import Restorer, load_model
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.tiles import choose_tiling
from i2sb_jax.sampling import Window
from i2sb_jax.sampling.noise import picture_key, window_normal
from i2sb_jax.sampling.start import NOISE_KEY
from i2sb_jax.types import StartedParams
from tests.restoration.models import photo
from tests.restoration.test_restorer import random_params
from tests.training.tiny import make_config

LOCAL = {"norm": "none", "middle_attention": False}
TASK = {"corruption": "jpeg-10", "sampling": {"nfe": 1, "batch_size": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with two networks of convolutions alone, each of which does something."""
    root = tmp_path_factory.mktemp("started")
    theirs = make_config(model=LOCAL, **TASK)
    interop.save_model(root / "m", theirs, random_params(theirs, scale=0.1))
    ours = make_config(model=LOCAL | {"patch": 2}, bridge={"start": str(root / "m")}, **TASK)
    params = StartedParams(random_params(ours, scale=0.1), random_params(theirs, scale=0.1))
    interop.save_model(root / "both", ours, params)
    return root / "both"


@pytest.fixture(scope="module")
def restorer(folder):
    return Restorer.from_workdir(folder)


def pictures(height=32, width=32):
    return photo(height, width).astype(np.float32)[None] / 127.5 - 1


def test_one_call_is_what_both_are_by_hand(folder, restorer):
    image, place = pictures(16, 16), jnp.zeros(2, jnp.int32)
    theirs = Restorer.from_workdir(folder / "start")
    once = theirs.config.choose_sampling(nfe=1, sampler="ode")
    answer = theirs.from_x1(image, sampling=once, record=(0,)).x0_path[0]  # X̂_0 and no state
    key = jax.random.wrap_key_data(picture_key(0, "a"))
    noise_key = jax.random.fold_in(key, NOISE_KEY)
    noise = window_normal(noise_key, image.shape, np.float32, origin=place)
    config, params = interop.load_model_folder(folder)
    assert config.bridge.start == str(folder / "start")
    plain = dataclasses.replace(config, bridge=dataclasses.replace(config.bridge, start=""))
    alone = Restorer(plain, params.bridge)
    expected = alone.from_x1(np.clip(answer, -1, 1) + 0.2 * noise).x0
    found = restorer.from_x1(image, names=["a"]).x0
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - alone.from_x1(image).x0).max() > 0.05
    assert np.abs(restorer.from_x1(image, names=["b"]).x0 - found).max() > 0.05
    # for samplers of one's own both are there, each by its folder
    for path, weights in ((folder, params.bridge), (folder / "start", params.start)):
        predict_fn, _, _ = load_model(path)
        jax.tree.map(np.testing.assert_array_equal, predict_fn.args[0], weights)


def test_a_window_is_as_the_whole_where_no_network_sees_its_border(folder, restorer):
    config, image = restorer.config, pictures(96, 96)[0]
    key, sampling = picture_key(0, "a"), restorer.config.choose_sampling(nfe=1)
    whole, part = (
        next(restorer.engine.stream([Window(key, x1, origin=origin)], sampling)).x0
        for x1, origin in (
            (image, np.zeros(2, np.int32)),
            (np.ascontiguousarray(image[32:, 32:]), np.full(2, 32, np.int32)),
        )
    )
    radii = [each.unet.receptive_radius for each in (config, interop.load_config(folder / "start"))]
    assert sum(radii) < 60
    apart = np.abs(part - whole[32:, 32:])
    assert apart[sum(radii) :, sum(radii) :].max() < 1e-5
    assert apart[0].max() > 1e-2


def test_tiles_share_what_both_networks_see():
    def network(**changes):
        sizes = {"model_channels": 8, "channel_mult": (1.0,), "num_res_blocks": 1, "norm_groups": 4}
        attention = {"attention_downsamples": (), "head_channels": 8}
        return UNetConfig(**(LOCAL | sizes | attention | changes))

    ours, theirs = network(patch=2), network()
    tiling = choose_tiling(ours, image_size=64, start=theirs)
    assert tiling.margin == telling_radius(ours) + telling_radius(theirs)
    assert tiling.overlap >= 2 * tiling.margin
    attends = choose_tiling(ours, image_size=64, start=network(middle_attention=True))
    assert not attends.adapts and attends.margin == 0
    halved = choose_tiling(ours, image_size=64, start=network(channel_mult=(1.0,) * 6))
    assert halved.side % 32 == 0 and halved.unit % 32 == 0


def test_the_evaluation_of_the_start_is_counted(folder, tmp_path, capfd):
    Image.fromarray(photo(20, 24)).save(tmp_path / "a.png")
    done = []
    restore_folder(
        folder, tmp_path / "a.png", tmp_path / "b.png", Options(nfe=1),
        on_evaluation=lambda *counts: done.append(counts),
    )  # fmt: skip
    err = capfd.readouterr().err
    assert "nfe 1 + 1 of the start each: 2 network calls" in err
    assert done[-1] == (2, 2)
    assert (tmp_path / "b.png").exists()


def test_its_noise_makes_samples_and_a_seed_worth_while(restorer):
    config = restorer.config
    for given in ({"nfe": 1}, {"nfe": 2, "sampler": "ode"}):
        options = Options(samples=2, **given).resolve(config)
        assert not options.is_seed_idle(config)
        without = dataclasses.replace(config.bridge, start_noise=0.0)
        silent = dataclasses.replace(config, bridge=without)
        assert Options(**given).resolve(silent).is_seed_idle(silent)
        with pytest.raises(ValueError, match="all samples of a picture would be the same"):
            Options(samples=2, **given).resolve(silent)


def test_consistency_is_with_what_was_given_and_not_with_the_start(tmp_path):
    task = TASK | {"corruption": "sr4x-pool"}
    theirs = make_config(model=LOCAL, **task)
    interop.save_model(tmp_path / "m", theirs, random_params(theirs, scale=0.1))
    ours = make_config(model=LOCAL, bridge={"start": str(tmp_path / "m")}, **task)
    params = StartedParams(*[random_params(ours, scale=0.1)] * 2)
    image = pictures(16, 16).reshape(1, 4, 4, 4, 4, 3).mean(axis=(2, 4), keepdims=True)
    image = np.broadcast_to(image, (1, 4, 4, 4, 4, 3)).reshape(1, 16, 16, 3).astype(np.float32)
    both = Restorer(ours, params)
    x0 = both.from_x1(image, sampling=ours.choose_sampling(consistency="projection")).x0
    means = x0.reshape(1, 4, 4, 4, 4, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(means, image[:, ::4, ::4], atol=0.01)
    off = both.from_x1(image).x0.reshape(1, 4, 4, 4, 4, 3).mean(axis=(2, 4))
    assert np.abs(off - image[:, ::4, ::4]).max() > 0.05
