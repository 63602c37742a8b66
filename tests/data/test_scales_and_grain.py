"""Training windows of reduced pictures, and with grain on both sides: drawn as they should be."""

import itertools

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from i2sb_jax.data.pipeline import (  # noqa: E402
    Examples,
    Reading,
    Share,
    eval_batches,
    train_batches,
    undegraded,
)
from i2sb_jax.data.preprocess import fitting_scale, reduce  # noqa: E402
from tests.data.pictures import ListSource, data_config, picture, png  # noqa: E402

SIZE = 8


def train(source, count, *, seed=2, batch_size=20, start_step=0, cache_bytes=2**29, **changes):
    """Batches of windows of their own, without turns."""
    config = data_config(**{"crop": "window", "flip": False} | changes)
    stream = train_batches(
        source, Examples(undegraded, config, SIZE), Share(batch_size), seed=seed,
        start_step=start_step, reading=Reading(cache_bytes=cache_bytes),
    )  # fmt: skip
    return list(itertools.islice(stream, count))


def windows_of(image):
    """The bytes of every window."""
    view = np.lib.stride_tricks.sliding_window_view(image, (SIZE, SIZE), axis=(0, 1))
    return {window.tobytes() for window in np.moveaxis(view.reshape(-1, 3, SIZE, SIZE), 1, -1)}


def squares(batches):
    clean = np.concatenate([batch.clean for batch in batches])
    return np.rint((clean + 1) * 127.5).astype(np.uint8)


def share_of(image, batches):
    """How many of the windows are of this picture."""
    there = windows_of(image)
    return np.mean([square.tobytes() in there for square in squares(batches)])


def test_a_visit_draws_a_scale():
    whole = picture(0)
    half = reduce(whole, 0.5)
    assert half.shape == (12, 16, 3)
    batches = train(ListSource([whole]), 20, scales=(1.0, 0.5))
    shares = share_of(whole, batches), share_of(half, batches)
    assert sum(shares) == 1 and abs(shares[0] - 0.5) < 4 * 0.5 / 20
    weighted = train(ListSource([whole]), 20, scales=(1.0, 0.5, 0.5, 0.5))  # more often, if asked
    assert abs(share_of(half, weighted) - 0.75) < 4 * 0.433 / 20
    assert share_of(half, train(ListSource([whole]), 20)) == 0


def test_a_scale_that_leaves_no_window_gives_way_to_the_next_larger_one():
    options = {"scales": (0.25, 0.5, 1.0), "image_size": 8}
    assert fitting_scale(0.25, shape=(32, 40, 3), **options) == 0.25
    assert fitting_scale(0.25, shape=(24, 40, 3), **options) == 0.5
    assert fitting_scale(0.25, shape=(40, 12, 3), **options) == 1.0
    assert fitting_scale(0.25, (0.25, 0.5), (12, 12, 3), image_size=8) == 1.0
    whole = picture(0, height=24, width=32)
    batches = train(ListSource([whole]), 20, scales=(0.25, 1.0))
    assert share_of(whole, batches) == 1
    assert share_of(reduce(whole, 0.5), train(ListSource([whole]), 2, scales=(0.25, 0.5))) == 1
    small = picture(1, height=6, width=6)  # enlarged to a window, as ever
    assert len({square.tobytes() for square in squares(train(ListSource([small]), 2))}) == 1


def test_reducing_averages():
    board = np.indices((32, 32)).sum(axis=0) % 2 * 255
    board = np.uint8(board)[..., None].repeat(3, axis=-1)
    assert np.ptp(reduce(board, 0.5)[2:-2, 2:-2]) < 16
    assert np.ptp(board[::2, 1:][:, ::3]) == 255  # where pixels are left out instead


@pytest.mark.parametrize("scales", [(1.0, 0.5), (0.5,)])
def test_reduced_pictures_are_remembered(scales):
    options = {"scales": scales, "grain": (0.0, 3.0)}
    source, plain = (ListSource([png(n, height=24, width=24) for n in range(4)]) for _ in range(2))
    batches = train(source, 10, **options)
    assert len(source.reads) <= 4 * 4  # threads that meet one at the same time
    for cache_bytes in (0, 24 * 24 * 3 + 12 * 12 * 3):
        others = train(plain, 10, cache_bytes=cache_bytes, **options)
        for one, other in zip(batches, others, strict=True):
            np.testing.assert_array_equal(one.clean, other.clean)
    assert len(plain.reads) > 100


def test_a_later_start_draws_the_same():
    options = {"scales": (1.0, 0.5), "grain": (1.0, 9.0), "quarter_turns": True}
    source = [picture(n) for n in range(3)]
    whole = train(ListSource(source), 4, batch_size=4, **options)
    late = train(ListSource(source), 2, batch_size=4, start_step=2, **options)
    for one, other in zip(whole[2:], late, strict=True):
        np.testing.assert_array_equal(one.clean, other.clean)
    other = train(ListSource(source), 2, batch_size=4, seed=3, **options)
    assert np.abs(other[0].clean - whole[0].clean).max() > 0.1


def flat(level):
    return ListSource([np.full((32, 32, 3), level, np.uint8)])


def grains(batches):
    """What was added to grey of 128 levels."""
    return np.concatenate([batch.clean for batch in batches]) * 127.5 + 127.5 - 128


def test_grain_is_gaussian_and_its_deviation_uniform():
    noise = grains(train(flat(128), 20, grain=(2.0, 10.0)))  # 400 windows of 192 values
    std = noise.std(axis=(1, 2, 3))
    error = 1 / np.sqrt(2 * 192)
    assert 2 * (1 - 4 * error) < std.min() < 2.5 and 9.5 < std.max() < 10 * (1 + 4 * error)
    assert abs(std.mean() - 6) < 4 * 8 / np.sqrt(12 * 400)
    assert abs(std.std() - 8 / np.sqrt(12)) < 0.25
    unit = noise / std[:, None, None, None]
    assert abs(unit.mean()) < 4 / np.sqrt(unit.size)
    assert abs((unit**4).mean() - 3) < 0.1  # of a uniform distribution 1.8
    for near, far in ((unit[:, 1:], unit[:, :-1]), (unit[..., 1:], unit[..., :-1])):
        assert abs((near * far).mean()) < 4 / np.sqrt(near.size)  # pixel by pixel, each channel
    assert len({window.tobytes() for window in noise}) == 400
    np.testing.assert_allclose(
        grains(train(flat(128), 5, grain=(4.0, 4.0))).std(axis=(1, 2, 3)), 4, rtol=4 * error
    )
    assert np.ptp(grains(train(flat(128), 1))) == 0


def test_both_sides_have_the_grain_and_end_at_white():
    (batch,) = train(flat(255), 1, grain=(6.0, 6.0))
    np.testing.assert_array_equal(batch.clean, batch.degraded)
    assert batch.clean.dtype == np.float32 and batch.clean.max() == 1
    assert abs((batch.clean == 1).mean() - 0.5) < 0.05 and batch.clean.min() > 1 - 6 * 6 / 127.5


def test_evaluation_has_neither():
    changes = [{}, {"scales": (0.5,), "grain": (9.0, 9.0)}]
    plain, other = (
        next(
            eval_batches(
                ListSource([picture(0)]),
                Examples(undegraded, data_config(crop="window", **change), SIZE),
                Share(1),
            )
        )
        for change in changes
    )  # fmt: skip
    np.testing.assert_array_equal(plain.clean, other.clean)
