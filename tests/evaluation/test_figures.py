"""Figures of sets of pictures, and their intervals, beside what the definitions say."""

import numpy as np
import pytest

from i2sb_jax.evaluation.bootstrap import set_figure
from i2sb_jax.evaluation.figures import Pictures, make_reference, summarise
from i2sb_jax.evaluation.frechet import FeatureMoments, Statistics, frechet_distance

COUNT, WIDTH = 20, 6
ARRAYS = {"inception": "features"}
PICTURES = Pictures([f"{n}.png" for n in range(COUNT)], np.full(COUNT, -1), np.ones(COUNT, bool))


def features(seed, count=COUNT):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((count, WIDTH)) @ rng.standard_normal((WIDTH, WIDTH))).astype("f4")


class Stored:
    """A store with features of clean pictures and of a method."""

    def whole(self, kind, *, arrays=None):
        if kind.startswith("pictures/"):
            return {"finite": np.ones(COUNT, bool)}
        return {"features": features(0 if kind.endswith("/clean") else 1)}


def figures(reference, method="nfe 1"):
    return summarise(Stored(), ARRAYS, PICTURES, method=method, reference=reference, seed=3)[0]


def fid(a, b):
    a, b = FeatureMoments.of(a), FeatureMoments.of(b)
    return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)


def test_the_interval_of_a_fid_is_that_of_pictures_drawn_again():
    found = figures(make_reference(Stored(), ARRAYS, PICTURES, None))["fid"]

    def drawn_again(counts):
        return np.array([fid(np.repeat(features(1), row, axis=0), features(0)) for row in counts])

    expected = set_figure(fid(features(1), features(0)), drawn_again, COUNT, seed=3, least=0.0)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found.low < found.value < found.high


def test_clean_pictures_are_not_compared_with_themselves():
    reference = make_reference(Stored(), ARRAYS, PICTURES, None)
    assert set(reference.names.values()) == {"the 20 clean pictures of this evaluation"}
    assert figures(reference, "clean") == {}
    assert make_reference(Stored(), {}, PICTURES, None) is None


@pytest.mark.parametrize("has_features", [True, False])
def test_statistics_of_a_file_are_what_is_compared_with(has_features):
    theirs = features(7, 50)
    moments = FeatureMoments.of(theirs)
    has = {"features": theirs} if has_features else {}
    given = Statistics(mu=moments.mean, sigma=moments.covariance, **has)
    reference = make_reference(Stored(), ARRAYS, PICTURES, given)
    assert reference.names["fid"] == "evaluation.reference_stats"
    assert figures(reference)["fid"].value == pytest.approx(fid(features(1), theirs), rel=1e-6)
    clean = figures(reference, "clean")
    assert clean["fid"].value == pytest.approx(fid(features(0), theirs), rel=1e-6)
    # without features of the file, the clean pictures are what the kernel distance compares with
    assert ("kid" in clean) == has_features
    assert ("clean" in reference.names["kid"]) == (not has_features)
