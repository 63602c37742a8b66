"""Pairs with holes in them train as the clean ones do, on the pixels that are there."""

import io

import jax
import numpy as np
import pytest
import tifffile

pytest.importorskip("tensorflow")

from i2sb_jax.bridge import make_symmetric_schedule
from i2sb_jax.data import make_sources
from i2sb_jax.data.channels import PairedDegradation
from i2sb_jax.data.pipeline import Examples, Share, eval_batches, train_batches
from i2sb_jax.data.scaling import load_value_ranges
from i2sb_jax.learning.losses import bridge_losses
from tests.data.paired import pairs_config

COUNT, HEIGHT, WIDTH = 6, 40, 50
SHARES = (0.0, 0.003, 0.6)
PAIR = PairedDegradation(target_channels=1, source_channels=1, has_cond=True)
SCHEDULE = make_symmetric_schedule(num_steps=100, beta_max=0.3)


def clean_pairs():
    """[side, pair, h, w], each of its own range, with a twentieth of the pixels at either end."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, (2, COUNT, HEIGHT, WIDTH))
    values = np.clip((values - 0.05) / 0.9, 0, 1) * [[[[300]]], [[[2.0]]]] + [[[[50]]], [[[-1.0]]]]
    return values.astype(np.float32)


def holes(share):
    """[side, pair, h, w]: a half of them where the source is gone, a half where the target is."""
    drawn = np.random.default_rng(1).random((COUNT, HEIGHT, WIDTH))
    return np.stack([drawn < share / 2, (drawn >= share / 2) & (drawn < share)])


def write(path, array, tag=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array[..., None])
        return
    buffer = io.BytesIO()
    tags = [] if tag is None else [(42113, "s", 0, tag, True)]
    tifffile.imwrite(buffer, array, extratags=tags, photometric="minisblack", metadata=None)
    path.write_bytes(buffer.getvalue())


def write_pairs(root, share, how):
    """Folders of pairs with no data there; how: "nan", "tag", "configured". Returns the config."""
    arrays, changes, suffix = clean_pairs(), {}, ".tif"
    written = {"nan": np.nan, "tag": -9999, "configured": 1e30}[how]
    if how == "nan":
        suffix = ".npy"
    if how == "configured":
        changes = {"source_nodata": (-5.0, 1e30), "target_nodata": (1e30,)}
    for key, side, gone in zip(("path", "target_path"), arrays, holes(share), strict=True):
        changes[key] = str(root / key)
        for number, (array, hole) in enumerate(zip(side, gone, strict=True)):
            file = root / key / f"{number}{suffix}"
            write(
                file, np.where(hole, np.float32(written), array), "-9999" if how == "tag" else None
            )
    return pairs_config(
        **changes, scaling="percentiles", source_channels=1, target_channels=1, cond_x1=True
    )


def opened(root, share, how, **options):
    config = write_pairs(root, share, how)
    told = []
    train, held_out = make_sources(config, root / "run", report=told.append)
    assert told == []
    return config, train, held_out


def batch_of(root, share, how):
    """All training pairs, their central square."""
    config, train, _ = opened(root, share, how)
    (batch,) = eval_batches(train, Examples(PAIR, config, 32), Share(len(train)))
    return batch, load_value_ranges(root / "run"), [int(name[0]) for name in train.names]


def losses(batch):
    keys = jax.random.split(jax.random.key(0), len(batch.clean))

    def pointwise(xt, step, cond):
        return 0.3 * xt + 0.2 * cond

    return np.asarray(bridge_losses(keys, SCHEDULE, pointwise, batch._replace(name=None)))


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return batch_of(tmp_path_factory.mktemp("clean"), 0.0, "nan")


@pytest.mark.parametrize("how", ["nan", "tag", "configured"])
@pytest.mark.parametrize("share", SHARES)
def test_percentiles_and_loss_are_those_of_the_clean_pairs(clean, tmp_path, share, how):
    whole, clean_ranges, numbers = clean
    batch, ranges, same = batch_of(tmp_path, share, how)
    assert same == numbers
    valid = batch.valid > 0.5
    gone = holes(share).any(axis=0)[numbers][:, 4:36, 9:41, None]
    np.testing.assert_array_equal(valid, ~gone)
    assert abs((~valid).mean() - share) < 0.02
    for side, name in enumerate(("source", "target")):
        ours, theirs = getattr(ranges, name), getattr(clean_ranges, name)
        np.testing.assert_allclose([ours.low, ours.high], [theirs.low, theirs.high], rtol=1e-6)
        values = clean_pairs()[side, numbers][~holes(share)[side, numbers]]
        expected = np.percentile(values, (0.1, 99.9))
        np.testing.assert_allclose([ours.low[0], ours.high[0]], expected, rtol=1e-6)
    for field in ("clean", "degraded", "cond"):
        ours, theirs = getattr(batch, field), getattr(whole, field)
        np.testing.assert_allclose(ours[valid], theirs[valid], atol=1e-6)
        assert not ours[~valid].any()
    on_valid = losses(whole._replace(valid=batch.valid))
    np.testing.assert_allclose(losses(batch), on_valid, rtol=1e-5)
    if share == 0:
        np.testing.assert_array_equal(on_valid, losses(whole._replace(valid=None)))


def test_what_stands_in_the_holes_would_change_the_loss(clean, tmp_path):
    """The control: without their mask they count."""
    batch, _, _ = batch_of(tmp_path, 0.6, "tag")
    assert not np.allclose(losses(batch), losses(batch._replace(valid=None)), rtol=0.05)


@pytest.mark.parametrize("crop", ["window", "resize"])
def test_windows_of_training_bring_their_valid_pixels_along(tmp_path, crop):
    """Flips and scaling too: a pixel that is made of one without data has none."""
    config = write_pairs(tmp_path, 0.003, "tag")
    config = type(config)(**{**vars(config), "crop": crop, "quarter_turns": True})
    train, _ = make_sources(config, tmp_path / "run", report=print)
    stream = train_batches(train, Examples(PAIR, config, 16), Share(24), seed=0)
    batch = next(stream)
    gone = batch.valid < 0.5
    assert gone.any() and not gone.all()
    for field in (batch.clean, batch.degraded, batch.cond):
        assert np.abs(field).max() <= 1.3 and not field[gone].any()
        assert (field[~gone] != 0).mean() > 0.99


def test_a_pair_without_a_pixel_on_both_sides_is_left_out(tmp_path):
    write(tmp_path / "s" / "0.npy", np.full((20, 20), np.nan, np.float32))
    for folder in ("s", "t"):
        for number in range(4):
            if not (tmp_path / folder / f"{number}.npy").exists():
                values = np.random.default_rng(number).random((20, 20)).astype(np.float32)
                write(tmp_path / folder / f"{number}.npy", values)
    config = pairs_config(
        path=str(tmp_path / "s"), target_path=str(tmp_path / "t"), scaling="percentiles",
        source_channels=1, target_channels=1, max_unreadable=1,
    )  # fmt: skip
    sides = make_sources(config, tmp_path / "run", report=print)
    reasons = []
    for side in sides:
        for index in range(len(side)):
            try:
                side.read(index)
            except OSError as error:
                reasons.append(f"{error.name}: {error}")
    assert reasons == ["0.npy: no pixel of it has data in source and target"]
