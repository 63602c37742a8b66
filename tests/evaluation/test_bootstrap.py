"""Intervals cover what they should, as often as they should."""

import numpy as np
import pytest

from i2sb_jax.evaluation.bootstrap import mean_figure, set_figure


def test_the_interval_of_a_mean_covers_it_in_about_95_percent():
    rng = np.random.default_rng(0)
    covered = []
    for trial in range(300):
        figure = mean_figure(rng.gamma(2.0, 1.0, 40), seed=trial)
        covered.append(figure.low <= 2.0 <= figure.high)
    assert 0.88 < np.mean(covered) < 0.985
    # a control: half as wide, it does not
    narrow = [abs(rng.gamma(2.0, 1.0, 40).mean() - 2) < 0.98 * np.sqrt(2 / 40) for _ in range(300)]
    assert np.mean(narrow) < 0.8


def test_means_leave_out_what_is_not_finite():
    figure = mean_figure(np.array([1.0, np.nan, 3.0, np.inf]), seed=0)
    assert (figure.value, figure.pictures) == (2.0, 2)
    many = mean_figure(np.tile([1.0, np.nan, 3.0, np.inf], 9), seed=0)
    assert (many.value, many.pictures) == (2.0, 18) and 1.0 < many.low < many.high < 3.0
    assert mean_figure(np.array([np.nan]), seed=0).value is None


def test_it_is_a_function_of_the_seed():
    values = np.random.default_rng(1).standard_normal(50)
    assert mean_figure(values, seed=3) == mean_figure(values, seed=3)
    assert mean_figure(values, seed=3) != mean_figure(values, seed=4)


def test_the_interval_of_a_set_is_centred_on_it():
    values = np.random.default_rng(2).standard_normal(400)

    def spread(counts):
        return counts @ values / counts.sum(axis=1)

    figure = set_figure(0.5, spread, 400, seed=0)
    assert figure.value == 0.5 and np.isclose(figure.high - 0.5, 0.5 - figure.low)
    # 1.96 · σ / √n, as far as 50 resamples know σ
    assert 0.7 < (figure.high - 0.5) / (1.96 * values.std() / 20) < 1.3
    assert set_figure(0.01, spread, 400, seed=0, least=0.0).low == 0.0
    assert set_figure(0.5, spread, 1, seed=0).low is None


@pytest.mark.parametrize("count, has_interval", [(2, False), (9, False), (10, True), (400, True)])
def test_fewer_than_ten_pictures_have_no_interval(count, has_interval):
    values = np.random.default_rng(3).standard_normal(count)
    of_mean = mean_figure(values, seed=0)
    of_set = set_figure(0.5, lambda counts: counts @ values / count, count, seed=0)
    for figure in (of_mean, of_set):
        assert figure.pictures == count and figure.value is not None
        assert (figure.low is not None, figure.high is not None) == (has_interval,) * 2
