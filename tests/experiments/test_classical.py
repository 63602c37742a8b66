"""The tuning of classical repairs, on filters and settings whose best is known."""

import functools

import numpy as np
import pytest

pytest.importorskip("skimage")

from experiments.classical import problems, tuning
from i2sb_jax.corruptions import classical
from i2sb_jax.pictures import from_uint8

PICTURES = list(problems.photographs(48).values())[:3]


def test_pictures_are_of_training_and_one_of_each_scene():
    names = set(problems.photographs(16))
    assert len(names) == 10 and "motorcycle_right" not in names
    assert not names & {"astronaut", "chelsea", "coffee", "rocket"}
    assert {picture.shape for picture in PICTURES} == {(48, 48, 3)}


def test_rings_know_the_error_of_a_filter():
    pair = _pairs(problems.blurred(PICTURES, width=1.5, noise=2))[1]
    settings = {"sigma": 1.2, "ratio": 0.5, "power": 2.0}
    both = settings | {"chroma_ratio": 0.5, "chroma_power": 2.0}
    found = np.sum((classical.wiener(pair[1], **both).astype(float) - pair[0]) ** 2)
    frequency = (np.arange(1024) + 0.5) * (np.sqrt(0.5) / 1024)
    factors = classical.wiener_gain(frequency, **settings)
    weights = np.stack([factors**2, -2 * factors, np.ones_like(factors)])
    expected = np.sum(weights * tuning.rings_of(pair).sums)
    assert found == pytest.approx(expected, rel=0.02)  # clipping, and the rings' middles


def test_the_search_finds_the_width_of_a_blur_without_noise():
    pairs = _pairs(problems.blurred(PICTURES, width=1.5, noise=0))
    rings = [tuning.rings_of(pair) for pair in pairs]

    def gains(frequency, *, sigma, ratio):
        factor = classical.wiener_gain(frequency, sigma=sigma, ratio=ratio, power=3.0)
        return factor, factor

    found = tuning.tune_filter(gains, {"sigma": 1.0, "ratio": 1.0}, rings, fixed={})
    assert abs(found["sigma"] - 1.5) < 0.1


def test_tuned_settings_are_better_than_those_that_they_began_with():
    pairs = _pairs(problems.noisy(PICTURES, noise=20))
    start = {"threshold": 10.0, "chroma_threshold": 10.0}
    repair = functools.partial(classical.dct_thresholding, step=4)
    found = tuning.tune(repair, start, pairs, evaluations=12)
    before, after = (
        np.mean([tuning.psnr(repair(seen, **settings), clean) for clean, seen in pairs])
        for settings in (start, found)
    )
    assert after > before + 1


def test_grey_pictures_stay_grey_and_have_the_noise_of_a_mean():
    grey = np.full((64, 64, 3), 99, np.uint8)
    (problem,) = problems.noisy([grey], noise=12)
    assert np.ptp(problem.degraded, axis=-1).max() == 0
    assert abs(problem.degraded.std() - 12 / np.sqrt(3)) < 0.5


def test_reductions_and_files():
    for kernel in problems.KERNELS:
        (problem,) = problems.reduced([PICTURES[0][:47]], factor=4, kernel=kernel, quality=80)
        assert problem.clean.shape == (44, 48, 3) and problem.degraded.shape == (11, 12, 3)
    coarse, fine = (problems.compressed(PICTURES, quality=q)[0] for q in (10, 90))
    assert (
        np.abs(coarse.degraded - 1.0 * coarse.clean).mean()
        > np.abs(fine.degraded - 1.0 * fine.clean).mean()
    )


def _pairs(cases):
    return [tuple(from_uint8(x) for x in case) for case in cases]
