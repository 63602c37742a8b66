"""Two hands on a picture: what they do, how much, and that windows tell no other story."""

import functools
import io
import itertools

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from i2sb_jax.corruptions.real import ROUNDS
from tests.corruptions.cases import cached_corruption, corrupt
from tests.golden import synthetic

UNLIKELY = 1e-6  # a p-value below it is no chance
SIDE = 24
DRAWS_A_HAND = 12
(SIZE, NOISE, QUALITY, IS_BLURRED, BLUR, OTHER, ANGLE, IS_RESIZED, KERNEL, IS_GREY, SUBSAMPLING,
 BACK) = range(DRAWS_A_HAND)  # fmt: skip
QUIET = {IS_BLURRED: 0.99, IS_RESIZED: 0.99, NOISE: 0.0, QUALITY: 0.99, SUBSAMPLING: 0.1}


def draws_of(*hands):
    draws = np.zeros((DRAWS_A_HAND, 2), np.float32)
    for number, hand in enumerate(hands):
        for place, value in hand.items():
            draws[place, number] = value
    return draws.ravel()


def degrade(image, *hands, noise=None):
    corruption = cached_corruption("real", image_size=image.shape[0])
    return corruption.degrade_picture(image, draws_of(*hands), noise)


def test_hands_that_do_nothing_save_two_jpegs():
    image = synthetic.photo(1, 48, 5)[0]
    levels = ((image + 1) * 127.5).round().astype(np.uint8)
    for _ in ROUNDS:
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=95, subsampling="4:4:4")
        levels = np.asarray(Image.open(file))
    actual = (degrade(image, QUIET, QUIET) + 1) * 127.5
    np.testing.assert_allclose(actual, levels, atol=1e-3)


@pytest.mark.parametrize("hand", (0, 1))
@pytest.mark.parametrize(
    "change",
    (
        {IS_BLURRED: 0.0, BLUR: 0.9, OTHER: 0.5},
        {IS_RESIZED: 0.0, SIZE: 0.1},
        {QUALITY: 0.0},
        {SUBSAMPLING: 0.9},
    ),
)
def test_each_step_of_each_hand_takes_detail(change, hand):
    image = synthetic.photo(1, 48, 5)[0]
    hands = [QUIET, QUIET]
    hands[hand] = QUIET | change
    least, most = (np.abs(degrade(image, *each) - image).mean() for each in ((QUIET,) * 2, hands))
    assert most > 1.2 * least


@pytest.mark.parametrize("is_grey, expected", ((0.0, 1.0), (0.99, 0.0)))
def test_noise_is_grey_or_coloured(is_grey, expected):
    flat = np.zeros((64, 64, 3), np.float32)
    noise = np.random.default_rng(0).standard_normal((2, 64, 64, 3), np.float32)
    hand = QUIET | {NOISE: 0.99, IS_GREY: is_grey}
    seen = degrade(flat, hand, QUIET, noise=noise).reshape(-1, 3)
    channels = np.corrcoef(seen.T)[0, 1:]
    assert np.abs(channels - expected).max() < 0.1


@pytest.mark.parametrize("backend", ("numpy", "jit", "tf.data"))
def test_what_is_drawn(backend):
    """What both hands make of a flat picture has the contrast that draws of NumPy alone give."""
    flat = np.full((200, SIDE, SIDE, 3), 120 / 127.5 - 1, np.float32)
    corruption = cached_corruption("real", image_size=SIDE)
    seen = corrupt(backend, corruption, 3, flat).image.std(axis=(1, 2, 3))
    assert stats.ks_2samp(seen, contrasts(1.0)).pvalue > UNLIKELY
    assert stats.ks_2samp(seen, contrasts(0.5)).pvalue < UNLIKELY  # only the lower halves


@functools.cache
def contrasts(most):
    rng = np.random.default_rng(0)
    corruption = cached_corruption("real", image_size=SIDE)
    flat = np.full((SIDE, SIDE, 3), 120 / 127.5 - 1, np.float32)
    images = [
        corruption.degrade_picture(
            flat,
            most * rng.random(2 * DRAWS_A_HAND),
            rng.standard_normal((2, SIDE, SIDE, 3)),
        )
        for _ in range(400)
    ]
    return np.stack(images).std(axis=(1, 2, 3))


def test_windows_are_to_whole_photographs_as_one_law():
    """Mean, contrast and spectrum of 200 windows against the same places of whole pictures.

    Resizing by any factor puts no window on a grid of the whole, so pixels differ; what is drawn
    is the same, and the differences of the figures lie within five errors of zero. The control is
    a window whose second hand is left out.
    """
    rng = np.random.default_rng(2)
    size, margin, side, count = 32, 48, 176, 200
    corruption = cached_corruption("real", image_size=size + 2 * margin)
    assert corruption.facts.margin == margin
    wholes = [rough_photo(side, seed) for seed in range(4)]
    inner = (slice(margin, margin + size),) * 2
    differences, control = [], []
    for number in range(count):
        whole = wholes[number % 4]
        y, x = rng.integers(0, (side - size - 2 * margin) // 16 + 1, 2) * 16
        draws = rng.random(2 * DRAWS_A_HAND)
        noise = rng.standard_normal((2, side, side, 3), np.float32)
        cut = (slice(y, y + size + 2 * margin), slice(x, x + size + 2 * margin))
        place = (slice(y + margin, y + margin + size), slice(x + margin, x + margin + size))
        seen = figures(corruption.degrade_picture(whole, draws, noise)[place])
        differences.append(figures(window(corruption, whole[cut], draws, noise)[inner]) - seen)
        once = draws.reshape(DRAWS_A_HAND, 2).copy()
        once[[IS_BLURRED, IS_RESIZED], 1] = 0.99
        once[NOISE, 1] = 0
        once = window(corruption, whole[cut], once.ravel(), noise)
        control.append(figures(once[inner]) - seen)
    for values, within in ((differences, True), (control, False)):
        values = np.array(values)
        scores = np.abs(values.mean(axis=0)) / (values.std(axis=0) / count**0.5)
        assert (scores.max() < 5) == within, scores


def window(corruption, image, draws, noise):
    height, width = image.shape[:2]
    return corruption.degrade_picture(image, draws, noise[:, :height, :width])


def figures(window):
    """Mean, logarithm of the variance, and logarithms of the power in four bands of frequency."""
    grey = window.mean(axis=2)
    size = len(grey)
    taper = np.hanning(size + 2)[1:-1]
    power = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(taper, taper))) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    edges = (0.03, 0.12, 0.25, 0.37, 0.5)
    bands = [
        power[(frequency >= low) & (frequency < high)].sum()
        for low, high in itertools.pairwise(edges)
    ]
    return np.array([grey.mean(), np.log(grey.var()), *np.log(bands)])


def rough_photo(side, seed):
    """Edges and texture of falling power, as photographs have; float32 [side, side, 3]."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    spectrum = np.fft.fft2(rng.standard_normal((3, side, side))) / np.maximum(frequency, 1 / side)
    texture = np.fft.ifft2(spectrum).real
    texture = 0.3 * texture / texture.std()
    return np.clip(np.moveaxis(texture, 0, 2), -1, 1).astype(np.float32)
