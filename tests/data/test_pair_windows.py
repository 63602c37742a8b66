"""Both sides of a pair are cut, flipped and turned alike: pixels that tell where they came from."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from i2sb_jax.data import make_sources  # noqa: E402
from i2sb_jax.data.channels import PairedDegradation, fit_channels  # noqa: E402
from i2sb_jax.data.pipeline import (  # noqa: E402
    Examples,
    Reading,
    Share,
    eval_batches,
    train_batches,
)
from i2sb_jax.data.preprocess import prepare  # noqa: E402
from i2sb_jax.data.reader import TooManyUnreadable  # noqa: E402
from i2sb_jax.pictures import UnreadableImage  # noqa: E402
from tests.data.paired import pairs_config, write_arrays  # noqa: E402

HEIGHT, WIDTH, SIZE = 40, 52, 16
PAIR = PairedDegradation(target_channels=2, source_channels=1, has_cond=False)


def ramps(*, shift=0):
    """(source, target): the place of each pixel as one number, and as row and column."""
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    place = ((row * 256 + column)[..., None]).astype(np.uint16)
    return place, np.roll(np.stack([row, column], axis=-1), shift, axis=1).astype(np.uint16)


def ramp_sources(tmp_path, *, shift=0, count=3, **changes):
    source, target = ramps(shift=shift)
    config = pairs_config(
        path=write_arrays(tmp_path / "s", {f"{n}.tif": source for n in range(count)}),
        target_path=write_arrays(tmp_path / "t", {f"{n}.npy": target for n in range(count)}),
        source_channels=1,
        target_channels=2,
        quarter_turns=True,
        **changes,
    )
    return config, *make_sources(config, tmp_path / "run", report=print)


def take(config, source, count, *, batch_size=50, share=None, **options):
    share = share or Share(batch_size)
    stream = train_batches(source, Examples(PAIR, config, SIZE), share, seed=3, **options)
    return list(itertools.islice(stream, count // share.batch_size))


def places(source, batches):
    """What each side says of where its pixels were: two arrays [n, size, size, 2]."""
    ranges = source.ranges
    clean = np.concatenate([ranges.target.from_unit(batch.clean) for batch in batches])
    place = np.concatenate([ranges.source.from_unit(b.degraded[..., :1]) for b in batches])
    return clean, np.concatenate([place // 256, place % 256], axis=-1)


def test_windows_flips_and_turns_agree_in_1000_draws(tmp_path):
    config, train, _ = ramp_sources(tmp_path)
    batches = take(config, train, 1000)
    target, source = places(train, batches)
    assert len(target) == 1000
    np.testing.assert_array_equal(target, source)
    # and they do vary: windows, both directions of each axis, and turned ones
    assert len({window.tobytes() for window in source}) > 900
    steps = source[:, 0, 1].astype(int) - source[:, 0, 0]
    assert {tuple(step) for step in steps} == {(0, 1), (0, -1), (1, 0), (-1, 0)}
    for batch in batches:
        np.testing.assert_array_equal(batch.degraded[..., 0], batch.degraded[..., 1])


def test_a_pair_one_pixel_off_is_noticed(tmp_path):
    config, train, _ = ramp_sources(tmp_path, shift=1)
    target, source = places(train, take(config, train, 100))
    assert all((target != source).any(axis=(1, 2, 3)))


def test_pairs_are_a_function_of_seed_and_step_too(tmp_path):
    config, train, _ = ramp_sources(tmp_path, count=5)
    whole = take(config, train, 30, batch_size=5)
    rest = take(config, train, 15, batch_size=5, start_step=3)
    for batch, other in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(batch.clean, other.clean)
        np.testing.assert_array_equal(batch.degraded, other.degraded)
        assert batch.name.tolist() == other.name.tolist()
    halves = [take(config, train, 24, share=Share(4, i, 2)) for i in (0, 1)]
    for batch, *parts in zip(take(config, train, 24, batch_size=4), *halves, strict=True):
        np.testing.assert_array_equal(batch.clean, np.concatenate([p.clean for p in parts]))


def test_evaluation_takes_the_centre_of_both_sides(tmp_path):
    config, _, held_out = ramp_sources(tmp_path, count=8)
    (batch,) = eval_batches(held_out, Examples(PAIR, config, SIZE), Share(8))
    target, source = places(held_out, [batch])
    np.testing.assert_array_equal(target, source)
    assert target[0, 0, 0].tolist() == [(HEIGHT - SIZE) // 2, (WIDTH - SIZE) // 2]
    assert batch.mask is None and batch.cond is None and batch.label.tolist() == [-1] * len(target)


@pytest.mark.parametrize("source_channels", [1, 2, 3, 5])
def test_the_whole_source_beside_x_t(tmp_path, source_channels):
    rng = np.random.default_rng(0)
    shapes = {"s": source_channels, "t": 3}
    folders = [
        write_arrays(
            tmp_path / name,
            {f"{n}.tif": rng.integers(0, 256, (20, 20, c)).astype(np.uint8) for n in range(4)},
        )
        for name, c in shapes.items()
    ]
    channels = {"source_channels": source_channels, "target_channels": 3}
    config = pairs_config(path=folders[0], target_path=folders[1], cond_x1=True, **channels)
    train, _ = make_sources(config, tmp_path / "run", report=print)
    pair = PairedDegradation(has_cond=True, **channels)
    batch = next(train_batches(train, Examples(pair, config, SIZE), Share(4), seed=0))
    assert batch.clean.shape == batch.degraded.shape == (4, SIZE, SIZE, 3)
    assert batch.cond.shape == (4, SIZE, SIZE, source_channels)
    if source_channels == 3:
        np.testing.assert_array_equal(batch.degraded, batch.cond)
    else:
        mean = batch.cond.mean(axis=-1, keepdims=True)
        np.testing.assert_allclose(batch.degraded, np.repeat(mean, 3, axis=-1), atol=1e-6)


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray, tf.constant])
@pytest.mark.parametrize("have, want", [(3, 3), (1, 3), (2, 1), (4, 3)])
def test_fit_channels_in_every_backend(as_array, have, want):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, have)).astype(np.float32)
    expected = x if have == want else np.repeat(x.mean(-1, keepdims=True), want, axis=-1)
    got = fit_channels(as_array(x), want)
    np.testing.assert_allclose(np.asarray(got), expected, atol=1e-6)
    if have in (1, want):  # copies are exact: an identity network must give the source back
        np.testing.assert_array_equal(np.asarray(got), expected)


@pytest.mark.parametrize("crop, shape", [("resize", (16, 16, 3)), ("window", (40, 52, 3))])
def test_pairs_are_resized_only_where_asked(tmp_path, crop, shape):
    _, train, _ = ramp_sources(tmp_path)
    image = train.read(0).image
    got = prepare(image, image_size=SIZE, crop=crop, channels=3)
    assert got.shape == shape and got.dtype == np.float32
    if crop == "window":
        assert got is image
    else:  # antialiased, in all 16 bits: the ramp stays a ramp, finer than 8 bits could tell
        rows = train.ranges.target.from_unit(got[..., :2])[:, 8, 0]
        np.testing.assert_allclose(rows, np.arange(16) * 2.5 + 0.75, atol=1.0)
    small = prepare(image[:8], image_size=SIZE, crop="window", channels=3)
    assert small.shape == (16, 104, 3)


@pytest.mark.parametrize(
    "wrong", [np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20, 2), np.float32)]
)
def test_what_is_no_pair(wrong):
    with pytest.raises(UnreadableImage, match=r"pairs must be float32 \[h, w, 3\], got"):
        prepare(wrong, image_size=SIZE, crop="window", channels=3)


def test_unreadable_pairs_are_replaced_and_counted(tmp_path):
    config, train, _ = ramp_sources(tmp_path, count=8, max_unreadable=1)
    (tmp_path / "t" / train.names[0].replace(".tif", ".npy")).write_bytes(b"broken")
    lines = []
    batches = take(config, train, 100, reading=Reading(warn=lines.append))
    assert len(lines) == 1 and train.names[0] in lines[0]
    assert train.names[0].encode() not in {name for batch in batches for name in batch.name}
    write_arrays(tmp_path / "s", {train.names[1]: ramps()[0][1:]})
    with pytest.raises(TooManyUnreadable, match="source has 52×39 pixels, the target 52×40"):
        take(config, train, 100, reading=Reading(warn=lines.append))
