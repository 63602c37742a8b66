"""Qualities read from pixels, of files written here."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from i2sb_jax.corruptions.jpeg_quality import estimate_quality
from tests.golden import synthetic

SOFT = gaussian_filter(synthetic.photo(1, 70, 3)[0], (0.7, 0.7, 0))
LEVELS = np.rint((0.6 * SOFT + 1) * 127.5).astype(np.uint8)


def saved(quality, levels=LEVELS, **options):
    file = io.BytesIO()
    Image.fromarray(levels[:, :66]).save(file, "JPEG", quality=quality, **options)
    return (np.asarray(Image.open(file)) / 127.5 - 1).astype(np.float32)


@pytest.mark.parametrize("quality", [5, 10, 33, 50, 75, 90])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_the_quality_of_a_file(quality, subsampling):
    assert abs(estimate_quality(saved(quality, subsampling=subsampling)) - quality) <= 1


def test_grey_files():
    assert abs(estimate_quality(saved(40, LEVELS[..., 1])[..., None]) - 40) <= 1


def test_clipped_blocks_do_not_mislead():
    bright = LEVELS.astype(int)
    bright[:40] += 100
    clipped = np.clip(bright, 0, 255).astype(np.uint8)
    assert (clipped == 255).mean() > 0.05
    assert abs(estimate_quality(saved(20, clipped)) - 20) <= 1


def test_what_was_no_file_is_of_the_best_quality():
    assert estimate_quality(LEVELS / 127.5 - 1) >= 97
    assert estimate_quality(np.zeros((3, 50, 3))) is None
    assert estimate_quality(np.full((16, 16, 3), 0.3)) is None
