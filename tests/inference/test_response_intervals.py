import numpy as np
import pytest
from scipy import stats

from audio_neurons.activations.units import Units
from audio_neurons.inference.responses import intervals, wilson


def drawn(rng, groups, p, spread, tokens=50):
    """Counts of groups whose rates vary around p (Beta distribution), and their tokens."""
    size = rng.integers(tokens // 2, 2 * tokens, groups)
    rates = rng.beta(spread * p, spread * (1 - p), groups)
    return rng.binomial(size, rates)[:, None].astype(float), size[:, None]


@pytest.mark.parametrize(("p", "groups", "spread"), [(0.3, 12, 8), (0.05, 30, 20), (0.8, 20, 1000)])
def test_intervals_cover_the_probability_of_the_population_as_often_as_they_say(p, groups, spread):
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(600):
        low, high = wilson(*drawn(rng, groups, p, spread), 0.9)
        inside.append(low[0] <= p <= high[0])
    assert np.mean(inside) == pytest.approx(0.9, abs=0.05)


def test_the_interval_of_many_equal_groups_is_wilson_s():
    rng = np.random.default_rng(2)
    active = rng.permutation(np.arange(4000) < 800).astype(float)[:, None]
    low, high = wilson(active, np.ones((4000, 1)), 0.95)
    expected = stats.binomtest(800, 4000).proportion_ci(0.95, "wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_intervals_contain_their_value_and_are_lacking_for_one_group():
    rng = np.random.default_rng(3)
    labels, groups = np.array([0, 0, 0, 0, 1, 2, 2]), np.array([0, 1, 2, 2, 0, 1, 2])
    active = rng.integers(0, 11, (7, 5)).astype(np.uint32)
    active[:4, 0], active[:4, 1] = 0, 10
    units = Units(active, np.full(7, 10), labels, groups, ("a", "b", "c"))
    low, high = intervals(units, 0.95)
    assert np.isnan(low[1]).all()
    assert np.isnan(high[1]).all()
    for label in (0, 2):
        p = active[labels == label].sum(0) / (10 * (labels == label).sum())
        assert (low[label] <= p + 1e-12).all()
        assert (p <= high[label] + 1e-12).all()
        assert ((low[label] >= 0) & (high[label] <= 1)).all()
    assert low[0, 0] == 0
    assert high[0, 0] < 1  # never active in 3 groups
    assert low[0, 1] > 0
    assert high[0, 1] == 1
