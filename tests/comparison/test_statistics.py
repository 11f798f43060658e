"""Intervals and the paired bootstrap, against scipy, brute force and known cases."""

import itertools

import numpy as np
import pytest
from scipy import stats

from saliencymixplus.comparison.statistics import paired_bootstrap, summarise_seeds


def test_interval_is_scipys():
    values = [24.1, 25.3, 24.8, 26.0]
    found = summarise_seeds(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (found.n, found.mean) == (4, pytest.approx(25.05))
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_seed_has_no_interval():
    found = summarise_seeds([3.0])
    assert (found.mean, found.sd, found.low, found.high) == (3.0, None, None, None)


def wrongs(seed, count, *rates):
    generator = np.random.default_rng(seed)
    return [generator.random(count) < rate for rate in rates]


def test_bootstrap_agrees_with_scipys():
    a, b = wrongs(0, 800, 0.25, 0.3)
    found = paired_bootstrap([a], [b], resamples=20_000)
    expected = stats.bootstrap(
        (100 * (a.astype(float) - b),), np.mean, method="percentile", n_resamples=9999, rng=1
    )
    low, high = expected.confidence_interval
    assert found.difference == pytest.approx(100 * (a.mean() - b.mean()))
    assert found.low == pytest.approx(low, abs=0.15)
    assert found.high == pytest.approx(high, abs=0.15)


def test_p_value_agrees_with_every_possible_resample():
    a = np.array([1, 1, 1, 1, 0, 0], bool)
    b = np.array([0, 0, 0, 1, 1, 0], bool)
    d = a.astype(int) - b
    draws = [sum(d[list(pick)]) for pick in itertools.product(range(6), repeat=6)]
    at_most = np.mean([draw <= 0 for draw in draws])
    found = paired_bootstrap([a], [b], resamples=200_000)
    assert found.p_value == pytest.approx(2 * at_most, rel=0.03)


def test_p_value_is_near_that_of_a_z_test_on_many_images():
    a, b = wrongs(3, 5000, 0.20, 0.21)
    d = a.astype(float) - b
    z = d.mean() / (d.std() / np.sqrt(5000))
    found = paired_bootstrap([a], [b], resamples=50_000)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), abs=0.02)


def test_seeds_are_pooled_image_by_image():
    a, b, c, d = wrongs(4, 300, 0.2, 0.25, 0.3, 0.3)
    found = paired_bootstrap([a, b], [c, d])
    per_image = ((a.astype(float) - c) + (b.astype(float) - d)) / 2
    generator = np.random.default_rng(0)
    draws = [100 * per_image[generator.integers(0, 300, 300)].mean() for _ in range(4000)]
    assert (found.seeds, found.images) == (2, 300)
    assert found.difference == pytest.approx(100 * per_image.mean())
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.4)


def test_seeds_p_value_is_the_paired_t_test():
    a, b, c = wrongs(5, 400, 0.2, 0.22, 0.21)
    x, y, z = wrongs(6, 400, 0.25, 0.26, 0.22)
    found = paired_bootstrap([a, b, c], [x, y, z])
    expected = stats.ttest_rel([a.mean(), b.mean(), c.mean()], [x.mean(), y.mean(), z.mean()])
    assert found.seeds_p_value == pytest.approx(expected.pvalue)


def test_no_difference_is_no_evidence():
    (a,) = wrongs(7, 100, 0.3)
    found = paired_bootstrap([a, a], [a, a])
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)
    assert found.seeds_p_value is None


def test_swapping_sides_changes_the_sign_only():
    a, b = wrongs(8, 500, 0.2, 0.26)
    one, two = paired_bootstrap([a], [b]), paired_bootstrap([b], [a])
    assert one.difference == pytest.approx(-two.difference)
    assert one.low == pytest.approx(-two.high, abs=0.4)
    assert one.p_value == pytest.approx(two.p_value, abs=0.02)


def test_false_alarms_come_as_often_as_promised():
    alarms = 0
    for seed in range(300):
        a, b = wrongs(100 + seed, 400, 0.3, 0.3)
        alarms += paired_bootstrap([a], [b], resamples=1000).p_value < 0.05
    assert 0.02 < alarms / 300 < 0.09


@pytest.mark.parametrize(("one", "two"), [([], []), ([5], [5, 5]), ([5], [6])])
def test_unequal_sides_are_refused(one, two):
    with pytest.raises(ValueError, match="same"):
        paired_bootstrap([np.zeros(n, bool) for n in one], [np.zeros(n, bool) for n in two])
