"""The bootstrap's interval and p-value against scipy and hand counts."""

import numpy as np
import pytest
from scipy import stats

from saliencymixplus.bootstrap import difference, percentile_interval


def test_the_interval_is_scipys_percentile_interval():
    data = np.random.default_rng(0).normal(1.0, 2.0, 50)
    expected = stats.bootstrap((data,), np.mean, method="percentile", n_resamples=999, rng=3)
    found = percentile_interval(float(data.mean()), expected.bootstrap_distribution)
    low, high = expected.confidence_interval
    assert (found.value, found.low, found.high) == pytest.approx((data.mean(), low, high))


def test_p_values_by_hand():
    assert difference(1.0, np.array([1, 2, 3, 4, 5, 6, 7, 8, 9])).p_value == 2 * 1 / 10
    assert difference(1.0, np.array([-1, 0, 3, 4, 5, 6, 7, 8, 9])).p_value == 2 * 3 / 10
    assert difference(-1.0, -np.array([-1, 0, 3, 4, 5, 6, 7, 8, 9])).p_value == 2 * 3 / 10
    assert difference(0.0, np.zeros(9)).p_value == 1


def test_draws_that_are_undefined_are_left_out():
    found = difference(0.5, np.array([np.nan, 0.4, 0.6, np.inf]))
    assert (found.low, found.high) == pytest.approx((0.405, 0.595))
    assert found.p_value == pytest.approx(2 / 3)
    assert np.isnan(percentile_interval(np.nan, np.ones(3)).low)
    assert np.isnan(difference(1.0, np.full(3, np.nan)).p_value)
