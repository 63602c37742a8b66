"""The table of gains on real JPEG files: what it measures, on restorers whose gain is known."""

import math

import numpy as np
import pytest

pytest.importorskip("skimage")

from experiments.jpeg_file import table
from i2sb_jax.pictures import from_uint8, to_uint8
from tests.golden import synthetic

PHOTOGRAPHS = [
    to_uint8(synthetic.photo(1, 160, seed)[0, :height]) for seed, height in ((1, 70), (2, 130))
]


def test_windows_are_those_of_the_picture():
    picture = PHOTOGRAPHS[1]
    cut = table.windows(picture, 64)
    assert cut.shape == (4, 64, 64, 3) and cut.dtype == np.float32
    np.testing.assert_array_equal(cut[3], from_uint8(picture[64:128, 64:128]))


@pytest.mark.parametrize("subsampling", table.SUBSAMPLINGS)
def test_gains_of_known_restorers(subsampling):
    def half_way(file, *, nfe):
        """Knows the truth, and takes half of the error away: 20·log10(2) dB."""
        clean = np.concatenate([table.windows(photograph, 64) for photograph in PHOTOGRAPHS])
        (start,) = [i for i in (0, 2) if np.abs(clean[i : i + len(file)] - file).mean() < 0.2]
        return (file + clean[start : start + len(file)]) / 2

    def nothing(file, *, nfe):
        assert nfe == 3
        return file

    before, gains = table.measure(PHOTOGRAPHS, [nothing, half_way], 20, subsampling, size=64, nfe=3)
    assert 20 < before < 45
    np.testing.assert_allclose(gains, [0, 20 * math.log10(2)], atol=1e-4)


def test_better_files_are_closer():
    scores = [
        table.measure(PHOTOGRAPHS, [], quality, "4:2:0", size=64, nfe=1)[0]
        for quality in table.QUALITIES
    ]
    assert scores == sorted(scores)
    full = table.measure(PHOTOGRAPHS, [], 90, "4:4:4", size=64, nfe=1)[0]
    assert full > scores[-1]
