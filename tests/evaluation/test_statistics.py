"""Statistics of many pictures: in constant memory, in parts, and in spite of kills."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from i2sb_jax.accelerators import sharding
from i2sb_jax.evaluation.frechet import FeatureMoments, load_statistics
from i2sb_jax.evaluation.statistics import PictureSet, make_statistics
from i2sb_jax.types import Batch
from tests.training.tiny import Killed

D, SIDE = 64, 4


def features_fn(params, images):
    return jnp.asarray(images, jnp.float32).reshape(len(images), -1) @ params


KERNEL = np.random.default_rng(0).standard_normal((SIDE * SIDE * 3, D)).astype(np.float32) / 255


def picture(number):
    values = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return (values // (1 + number % 5)).astype(np.uint8)


def stream(*, rows=64, broken=(), stop_after=None):
    def pictures(numbers):
        for count, start in enumerate(range(0, len(numbers), rows)):
            if count == stop_after:
                raise Killed
            chosen = numbers[start : start + rows]
            clean = np.stack([picture(n) for n in chosen]).astype(np.float32) / 127.5 - 1
            names = [b"" if n in broken else b"%d" % n for n in chosen]
            yield Batch(clean, clean, name=np.array(names))

    return pictures


def killed(numbers):
    """Dies in the second part of a hundred."""
    return stream(stop_after=None if numbers[0] == 0 else 1)(numbers)


def make(output, pictures, *, count, devices=1, key="k", **options):
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    options = {"batch_size": 64 // devices, "part": 100} | options
    pictures = PictureSet(pictures, count, key)
    return make_statistics(features_fn, KERNEL, pictures, output, mesh=mesh, **options)


def expected(count, broken=()):
    numbers = [n for n in range(count) if n not in broken]
    return FeatureMoments.of(np.stack([picture(n) for n in numbers]).reshape(-1, 48) @ KERNEL)


def test_it_is_the_mean_and_covariance_of_what_can_be_read(tmp_path):
    broken = (0, 77, 299)
    moments = make(tmp_path / "s.npz", stream(broken=broken), count=300)
    loaded, right = load_statistics(tmp_path / "s.npz", dimensions=D), expected(300, broken)
    assert moments.count == 297
    np.testing.assert_allclose(loaded.mu, right.mean, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(loaded.sigma, right.covariance, rtol=1e-5, atol=1e-7)
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


def test_after_a_kill_it_goes_on(tmp_path):
    whole = make(tmp_path / "whole.npz", stream(), count=1000)
    with pytest.raises(Killed):
        make(tmp_path / "s.npz", killed, count=1000)
    asked = []

    def counted(numbers):
        asked.extend(numbers)
        return stream()(numbers)

    moments = make(tmp_path / "s.npz", counted, count=1000)
    assert min(asked) == 100 and len(asked) == 900
    np.testing.assert_allclose(moments.scatter, whole.scatter, rtol=1e-12)


def test_other_pictures_or_weights_do_not_go_on_from_these(tmp_path):
    with pytest.raises(Killed):
        make(tmp_path / "s.npz", killed, count=300)
    assert make(tmp_path / "s.npz", stream(), count=300, key="other").count == 300


@pytest.mark.parametrize("broken", [range(5), range(1, 5)])
def test_too_few_pictures_are_one_line(tmp_path, broken):
    with pytest.raises(
        ValueError, match=r"\d of 5 pictures can be read: statistics need at least 2"
    ):
        make(tmp_path / "s.npz", stream(broken=broken), count=5)
    assert not (tmp_path / "s.npz").exists()


def test_ten_thousand_pictures_take_no_more_memory_than_one_thousand(tmp_path):
    def peak(count, keep=None):
        pictures = stream() if keep is None else lambda n: keeping(n, keep)
        tracemalloc.start()
        try:
            make(tmp_path / f"{count}.npz", pictures, count=count, part=500)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def keeping(numbers, kept):
        for batch in stream()(numbers):
            kept.append(np.array(batch.clean))
            yield batch

    make(tmp_path / "warm.npz", stream(), count=200)
    few, many = peak(1000), peak(10_000)
    assert many < 1.25 * few + 2**17, (few, many)
    # a control: whoever keeps them all is found out (48 floats each)
    assert peak(10_000, keep=[]) > many + 10_000 * 48 * 4 * 0.8
