"""The classical repairs, each on what it is for, with a setting that does not help as control."""

import functools
import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from i2sb_jax.corruptions import classical, corruption_names
from i2sb_jax.corruptions.classical_settings import best_repair
from i2sb_jax.corruptions.facts import corruption_facts
from tests.golden import synthetic

CLEAN = gaussian_filter(synthetic.photo(1, 72, 3)[0, :, :65], (0.8, 0.8, 0))
PHOTOGRAPHIC = [name for name in corruption_names() if corruption_facts(name).is_photographic]


def rounded(picture):
    """As a file keeps it."""
    return (np.clip(np.rint((picture + 1) * 127.5), 0, 255) / 127.5 - 1).astype(np.float32)


def noise(levels, shape=CLEAN.shape):
    return levels / 127.5 * np.random.default_rng(5).standard_normal(shape)


@functools.cache
def degraded(kind):
    match kind:
        case "blur" | "grainy blur":
            soft = gaussian_filter(CLEAN.astype(np.float64), (1.5, 1.5, 0), mode="reflect")
            return rounded(soft + noise(0.5 if kind == "blur" else 4))
        case "noise":
            return rounded(CLEAN + noise(20))
        case "jpeg":
            file = io.BytesIO()
            levels = np.rint((CLEAN + 1) * 127.5).astype(np.uint8)
            Image.fromarray(levels).save(file, "JPEG", quality=10)
            return (np.asarray(Image.open(file)) / 127.5 - 1).astype(np.float32)


def gain(repair, kind):
    """In dB, of the result in 8 bits."""
    seen = degraded(kind)
    errors = [np.mean((rounded(x) - CLEAN) ** 2) for x in (seen, repair(seen))]
    return 10 * np.log10(errors[0] / errors[1])


WIENER = {"sigma": 1.5, "ratio": 1.0, "power": 3.0, "chroma_ratio": 5.0, "chroma_power": 3.0}
CASES = {  # repair, what for, good settings, at least dB, settings that do harm
    "unsharp": (
        classical.unsharp_mask, "blur",
        {"sigma": 1.5, "amount": 1.0, "chroma_amount": 0.5}, 0.5, {"amount": 12.0},
    ),
    "wiener": (classical.wiener, "blur", WIENER, 1.0, {"sigma": 4.0}),
    "wiener and thresholds": (
        classical.wiener_thresholding, "blur",
        WIENER | {"ratio": 0.2, "threshold": 1.5, "chroma_threshold": 2.0}, 1.5,
        {"threshold": 1e3, "chroma_threshold": 1e3},
    ),
    "flat wiener": (
        classical.wiener, "blur", WIENER | {"power": 0.0, "ratio": 0.01}, 0.5, {"ratio": 1e-7},
    ),
    "richardson-lucy": (
        classical.richardson_lucy, "blur", {"sigma": 1.3, "iterations": 3}, 0.5, {"sigma": 4.0},
    ),
    "means": (
        classical.non_local_means, "noise",
        {"strength": 24.0, "chroma_strength": 24.0}, 1.0, {"strength": 900.0, "patch": 3},
    ),
    "variation": (
        classical.total_variation, "noise",
        {"weight": 14.0, "chroma_weight": 20.0}, 2.0, {"weight": 400.0},
    ),
    "cosines": (
        classical.dct_thresholding, "noise",
        {"threshold": 52.0, "chroma_threshold": 60.0}, 2.0, {"threshold": 2e4},
    ),
    "cosines of a file": (
        classical.dct_thresholding, "jpeg",
        {"threshold": 60.0, "chroma_threshold": 90.0}, 0.2, {"threshold": 2e4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_gains_with_a_good_setting_and_not_with_a_bad_one(case):
    repair, kind, settings, least, bad = CASES[case]
    assert gain(functools.partial(repair, **settings), kind) > least
    assert gain(functools.partial(repair, **(settings | bad)), kind) < 0


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (7, 2, 1), (33, 18, 3)])
def test_any_size_and_grey_and_flat(case, shape):
    repair, _, settings, *_ = CASES[case]
    repair = functools.partial(repair, **settings)
    for value in (-1.0, 0.3, 1.0):
        flat = np.full(shape, value, np.float32)
        np.testing.assert_allclose(repair(flat), flat, atol=2e-5)
    wild = np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)
    repaired = repair(wild)
    assert repaired.shape == shape and repaired.dtype == np.float32
    assert np.isfinite(repaired).all() and np.abs(repaired).max() <= 1


@pytest.mark.parametrize("case", CASES)
def test_grey_of_one_channel_is_grey_of_three(case):
    repair, kind, settings, *_ = CASES[case]
    grey = degraded(kind)[:20, :23].mean(axis=-1, keepdims=True)
    three = repair(np.repeat(grey, 3, axis=-1), **settings)
    np.testing.assert_allclose(repair(grey, **settings), three[..., :1], atol=2e-5)
    np.testing.assert_allclose(np.ptp(three, axis=-1), 0, atol=2e-5)


def test_wiener_without_noise_undoes_the_blur_at_the_borders_too():
    soft = gaussian_filter(CLEAN.astype(np.float64), (1, 1, 0), mode="reflect", truncate=8)
    settings = {"ratio": 1e-9, "power": 0.0, "chroma_ratio": 1e-9, "chroma_power": 0.0}
    repaired = classical.wiener(soft, sigma=1.0, **settings)
    assert np.abs(soft - CLEAN).max() > 0.1
    np.testing.assert_allclose(repaired, np.clip(CLEAN, -1, 1), atol=0.01)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"picture \[h, w, 1 or 3\], not \(4, 4, 2\)"):
        classical.dct_thresholding(np.zeros((4, 4, 2)), threshold=1, chroma_threshold=1)


@pytest.mark.parametrize("level", [5, 20])
def test_noise_is_estimated(level):
    smooth = gaussian_filter(CLEAN, (2, 2, 0))
    found = classical.estimate_noise(smooth + noise(level))
    assert abs(found - level) < 0.1 * level
    assert classical.estimate_noise(np.zeros((1, 5, 3))) == 0


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_enlarging_keeps_a_ramp_and_the_place(kernel):
    ramp = np.linspace(-0.8, 0.8, 12, dtype=np.float32)[:, None, None].repeat(9, 1)
    large = classical.enlarge(ramp, 2, kernel=kernel)
    assert large.shape == (24, 18, 1)
    steps = np.diff(large[8:16, 9, 0])
    np.testing.assert_allclose(steps, 0.8 / 11, rtol=0.1)  # Lanczos's weights ripple
    assert classical.enlarge(np.zeros((3, 2, 3)), 4, kernel=kernel).shape == (12, 8, 3)


@pytest.mark.parametrize("name", PHOTOGRAPHIC)
def test_every_photographic_corruption_has_a_repair(name):
    picture = degraded("noise")[:17, :16]
    repaired = best_repair(name).repair(picture)
    assert repaired.shape == picture.shape and np.isfinite(repaired).all()


def test_published_corruptions_have_none_here():
    assert len(PHOTOGRAPHIC) >= 6
    others = {"jpeg-10", "blur-uni", "sr4x-pool", "colorize", "mixture", "inpaint-center"}
    assert {name for name in others if best_repair(name) is not None} == set()
    with pytest.raises(ValueError, match="unknown corruption 'blur-foto'"):
        best_repair("blur-foto")


def test_what_is_told_helps():
    one, told = (best_repair("blur-photo", **facts) for facts in ({}, {"sigma": 1.5, "noise": 0}))
    assert gain(told.repair, "blur") > gain(one.repair, "blur") + 0.3 > 0.6
    blind, told = (best_repair("noise-0-50", **facts).repair for facts in ({}, {"noise": 20}))
    assert gain(told, "noise") > gain(blind, "noise") - 0.1 > 2
    fine, coarse = (best_repair("jpeg-file", quality=q).repair for q in (90, 10))
    assert gain(coarse, "jpeg") > gain(fine, "jpeg") + 0.1


def test_settings_lie_between_those_of_the_tuned_levels():
    seen = degraded("blur")
    nearer = [best_repair("blur-photo", sigma=s, noise=2).repair(seen) for s in (1.0, 1.25, 1.5)]
    assert np.std(nearer[0]) < np.std(nearer[1]) < np.std(nearer[2])


def test_thresholds_gain_on_the_filter_that_they_follow():
    ratios = 10.0 ** np.arange(-1, 3)
    alone = [
        gain(functools.partial(classical.wiener, **WIENER | {"ratio": r}), "grainy blur")
        for r in ratios
    ]
    both = {"ratio": 1.0, "threshold": 8.0, "chroma_threshold": 8.0}
    repair = functools.partial(classical.wiener_thresholding, **WIENER | both)
    assert gain(repair, "grainy blur") > max(alone) + 0.1
