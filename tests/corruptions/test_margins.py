"""A window cut with its margin sees what it would see in the middle of the whole photograph."""

import numpy as np
import pytest

from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.corruptions.jpeg_file import through_a_file
from tests.corruptions.cases import cached_corruption
from tests.golden import synthetic

WINDOW = 32
WHOLE = np.round((synthetic.photo(1, 420, 5)[0, :, :404] + 1) * 127.5).astype(np.float32)
WHOLE = WHOLE / np.float32(127.5) - np.float32(1)
NOISE = np.random.default_rng(0).standard_normal((2, *WHOLE.shape), np.float32)
RNG = np.random.default_rng(1)

# what is drawn, the same for the window and for the whole
CASES = {
    "blur-photo-0-3": [[0.9, 0.1, 0, 0, 0.9], [0.9, 0.7, 0.1, 0.3, 0], [0.95, 0.95, 0, 0, 0.5]],
    "noise-0-50": [[0.8]],
    "noise-float-0-50": [[0.8]],
    # quality, kernel, JPEG below a half, subsampling
    "sr2x-photo": [[0.1, 0.9, 0.1, 0.9], [0.1, 0.6, 0.9, 0], [0.3, 0.3, 0.1, 0.5]],
    "sr4x-photo": [[0.1, 0.9, 0.1, 0.9], [0.1, 0.6, 0.9, 0], [0.3, 0.3, 0.1, 0.5]],
    # quality, place in SUBSAMPLINGS
    "jpeg-file-5-95": [[10, 0], [10, 1], [10, 2], [75, 2]],
}


def degrade(name, image, draws, noise):
    if name.startswith("jpeg-file"):
        return through_a_file(image, *draws)
    corruption = cached_corruption(name, image_size=WINDOW)
    noise = noise[: corruption.num_noises] if corruption.num_noises else None
    return corruption.degrade_picture(image, np.array(draws, np.float32), noise)


def difference(name, draws, start, margin, size=WINDOW):
    """The largest difference of a window at `start` and the same place of the whole, in levels."""
    whole = degrade(name, WHOLE, draws, NOISE)
    cut = tuple(slice(place - margin, place + size + margin) for place in start)
    window = degrade(name, WHOLE[cut], draws, NOISE[:, *cut])
    inner = slice(margin, margin + size)
    place = tuple(slice(place, place + size) for place in start)
    return np.abs(window[inner, inner] - whole[place]).max() * 127.5


def grid_places(name):
    facts = corruption_facts(name)
    first = facts.margin
    last = min(WHOLE.shape[:2]) - WINDOW - facts.margin
    places = np.arange(-(-first // facts.grid) * facts.grid, last + 1, facts.grid)
    return [tuple(RNG.choice(places, 2)) for _ in range(2)]


@pytest.mark.parametrize(
    "name, draws", [(name, draws) for name, every in CASES.items() for draws in every]
)
def test_a_window_is_the_same_place_of_the_whole(name, draws):
    margin = corruption_facts(name).margin
    for start in grid_places(name):
        assert difference(name, draws, start, margin) < 1e-5 * 127.5
        if name.startswith("jpeg-file") and draws[1] == 0:
            assert margin > 0  # blocks of 4:4:4 know nothing of their neighbours
        elif margin:
            assert difference(name, draws, start, 0) > 0.5


@pytest.mark.parametrize("name", ("jpeg-file-5-95", "sr2x-photo", "sr4x-photo"))
def test_off_the_grid_it_is_another_picture(name):
    facts = corruption_facts(name)
    start = (facts.margin + facts.grid,) * 2
    shifted = (start[0], start[1] + facts.grid // 4)
    draws = CASES[name][0]
    assert difference(name, draws, start, facts.margin) < 1e-5 * 127.5
    assert difference(name, draws, shifted, facts.margin) > 0.5


@pytest.mark.parametrize("size", (27, 33))
def test_files_need_no_multiple_of_their_blocks(size):
    for draws in CASES["jpeg-file-5-95"]:
        for start in ((16, 48), (64, 32)):
            assert difference("jpeg-file-5-95", draws, start, 16, size) < 1e-5 * 127.5
