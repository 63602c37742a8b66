"""The kernel distance against its definition, and that it is unbiased."""

import numpy as np
import pytest

from i2sb_jax.evaluation import kernel as module
from i2sb_jax.evaluation.kernel import kernel_distance, kernel_distances


def definition(x, y):
    """Eq. 4 of the paper, with loops."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def draw(rng, count, *, shift=0.0):
    return np.maximum(rng.standard_normal((count, 16)) + shift, 0).astype(np.float32)


def test_it_is_the_definition(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = draw(rng, 9), draw(rng, 7, shift=0.3)
    expected = definition(x.astype(np.float64), y.astype(np.float64))
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(module, "_BLOCK", 4)  # several blocks
    assert kernel_distance(x, y) == pytest.approx(expected, rel=1e-10)


def test_resamples_are_distances_of_what_was_drawn():
    rng = np.random.default_rng(1)
    x, y = draw(rng, 8), draw(rng, 6)
    drawn = rng.integers(0, 8, (3, 8))
    counts = np.stack([np.bincount(row, minlength=8) for row in drawn])
    expected = [definition(x[row].astype(np.float64), y.astype(np.float64)) for row in drawn]
    np.testing.assert_allclose(kernel_distances(x, y, counts), expected, rtol=1e-9)


def test_it_is_unbiased():
    rng = np.random.default_rng(2)
    found = [kernel_distance(draw(rng, 20), draw(rng, 20)) for _ in range(400)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert np.mean(np.array(found) < 0) > 0.2  # as often below 0 as above, about
    # a control: with the pairs of each with itself, as the biased estimate has them, it is not
    own = [(np.square(draw(rng, 20)).sum(axis=1) / 16 + 1) ** 3 for _ in range(50)]
    other = [(draw(rng, 20) @ draw(rng, 20).T / 16 + 1) ** 3 for _ in range(50)]
    bias = (np.mean(own) - np.mean(other)) * 2 / 20
    assert bias > 20 * error


def test_other_distributions_are_far():
    rng = np.random.default_rng(3)
    assert kernel_distance(draw(rng, 50), draw(rng, 50, shift=1.0)) > 1.0


@pytest.mark.parametrize("shapes", [((1, 4), (5, 4)), ((5, 4), (1, 4)), ((5, 4), (5, 3))])
def test_too_few_or_other_features_are_refused(shapes):
    x, y = map(np.zeros, shapes)
    with pytest.raises(ValueError, match="kernel distance of features"):
        kernel_distance(x, y)
