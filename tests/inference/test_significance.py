import warnings

import numpy as np
import pytest
from scipy import stats

from audio_neurons.inference.significance import interval, largest, p_values, pooled_p, q_values, table


def test_p_values_by_hand():
    null = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 7.0]])
    greater, less = p_values(np.array([2.0, 6.0]), null)
    assert less.tolist() == [3 / 4, 2 / 3]
    assert greater.tolist() == [3 / 4, 2 / 3]  # a ratio of two empty sets is no draw
    assert np.isnan(p_values(np.array([np.nan]), null[:, :1])).all()


def test_benjamini_hochberg_by_hand():
    """0.005 * 4 / 1, 0.01 * 4 / 2, 0.03 * 4 / 3, 0.04 * 4 / 4; q-values are monotonic."""
    q = q_values(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    np.testing.assert_allclose(q, [0.02, 0.04, np.nan, 0.04, 0.02])
    np.testing.assert_allclose(q_values(np.array([0.04, 0.041])), [0.041, 0.041])
    assert np.isnan(q_values(np.array([np.nan]))).all()


@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_q_values_have_the_bits_of_scipy(n):
    rng = np.random.default_rng(n)
    for p in (rng.random(n), rng.random(n) ** 4, rng.integers(0, 4, n) / 4, np.ones(n)):
        np.testing.assert_array_equal(q_values(p), stats.false_discovery_control(p))


def test_intervals_hold_the_level():
    low, high = interval(np.arange(1001.0)[:, None], 0.9)
    assert (low[0], high[0]) == pytest.approx((50, 950))


def test_table_by_hand():
    """19 permutations and 5 resamples of five statistics; the last has no value."""
    null = np.repeat(np.arange(19.0)[:, None], 5, 1)
    null[:, 4] = 0
    null[0, 1] = np.nan  # no draw
    resampled = np.arange(5.0)[:, None] * [1, 10, 100, 1000, 1]
    resampled[2, 0] = np.nan  # 0, 1, 3, 4
    facts = {
        "alternative": ["greater", "greater", "less", "two-sided", "greater"],
        "family": ["alone", "alone", "three", "three", "three"],
    }
    found = table(facts, np.array([17.5, 8.5, -1, 9, np.nan]), null, resampled, 0.5)
    assert found[["alternative", "family"]].to_dict("list") == facts
    expected = {
        "value": [17.5, 8.5, -1, 9, np.nan],
        "null_mean": [9, 9.5, 9, 9, np.nan],
        "null_low": [4.5, 5.25, 4.5, 4.5, np.nan],
        "null_high": [13.5, 13.75, 13.5, 13.5, np.nan],
        "low": [0.75, 10, 100, 1000, np.nan],
        "high": [3.25, 30, 300, 3000, np.nan],
        "p_value": [2 / 20, 11 / 19, 1 / 20, 1, np.nan],
        "p_greater": [2 / 20, 11 / 19, 20 / 20, 11 / 20, np.nan],
        "p_less": [19 / 20, 9 / 19, 1 / 20, 11 / 20, np.nan],
        # Statistics in family "alone" are not adjusted; two of the others are tested.
        "q_value": [2 / 20, 11 / 19, 2 / 20, 1, np.nan],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, err_msg=name)


def test_p_of_the_greatest_by_hand():
    value, null = np.array([2.0, 1.0, np.nan]), np.array([[1.0, 2, 0], [0, -3, 1], [-1, 0, 5]])
    spread = np.sqrt([6 / 4, 14 / 4])  # the data among the draws
    greatest = (null[:, :2] / spread).max(1)
    expected = [(1 + np.sum(greatest >= t)) / 4 for t in value[:2] / spread]
    np.testing.assert_allclose(largest(value, null), [*expected, np.nan])
    assert np.isnan(largest(np.zeros(2), np.zeros((3, 2)))).all()


@pytest.mark.parametrize("statistics", [4, 100])
def test_the_greatest_of_many_is_called_as_often_as_it_should_be(statistics):
    rng = np.random.default_rng(0)
    p = []
    for _ in range(1000):
        draws = rng.standard_t(3, (40, statistics)) * np.arange(1, statistics + 1)
        p.append(np.nanmin(largest(draws[0], draws[1:])))
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / 1000) ** 0.5)


def test_pooled_p_by_hand():
    value, null = np.array([3.0, 1.0, np.nan, 0.0]), np.array([[1.0, 2, 1, 0], [2, 3, 1, 0], [2, 2, 1, 0]])
    ratios = np.concatenate([null[:, 0] / 2, null[:, 1] / 2])  # means 8 / 4 and 8 / 4, the data among them
    expected = [(1 + np.sum(ratios >= own)) / 7 for own in (1.5, 0.5)]
    np.testing.assert_allclose(pooled_p(value, null), [*expected, np.nan, np.nan])


def test_pooled_p_is_uniform_where_statistics_differ_in_scale_and_reaches_far_below_one_in_the_draws():
    rng = np.random.default_rng(0)
    drawn = rng.chisquare(3, (40, 5000)) * 10 ** rng.uniform(-4, 0, 5000)
    p = pooled_p(drawn[0], drawn[1:])
    for alpha in (0.05, 0.001):
        assert np.mean(p <= alpha) == pytest.approx(alpha, abs=4 * (alpha / 5000) ** 0.5)
    drawn[0, :20] = 8 * drawn[1:, :20].mean(0)
    found = pooled_p(drawn[0], drawn[1:])
    assert (q_values(found)[:20] < 0.05).all()
    assert found.min() < 1 / 40 / 100


def test_the_greatest_of_many_by_hand_where_some_are_not_known():
    """What is not known in a draw is never its greatest; a tie counts as at least as great."""
    null = np.array([[3, 5, np.nan], [-1, 5, 0.5], [0.2, 5, np.nan]])
    np.testing.assert_array_equal(largest(np.array([2, np.nan, 1]), null), [2 / 4, np.nan, 2 / 4])
    assert largest(np.array([1.0]), np.array([[1.0], [0.0]])).tolist() == [2 / 3]


def test_an_interval_of_nothing_is_not_known_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = interval(np.array([[np.nan, 1.0], [np.nan, np.nan], [np.nan, 3.0]]), 1.0)
    np.testing.assert_array_equal(found, [[np.nan, 1], [np.nan, 3]])
