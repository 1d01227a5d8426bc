"""Sequential Monte Carlo p-values, by hand and under the null hypothesis."""

import numpy as np
import pytest

from audio_neurons.ablation.sequential import ended, p_values
from benchmarks import drawing

# Whether each of six controls is as low, of three statistics.
LOWER = np.array([[0, 1, 1], [1, 0, 1], [0, 0, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]], bool)


def test_p_values_by_hand():
    """Besag and Clifford's (1991) p: h / l once h were as extreme, else as of a fixed number."""
    np.testing.assert_allclose(p_values(LOWER, 2), [2 / 4, 2 / 5, 2 / 2])
    np.testing.assert_allclose(p_values(LOWER, 3), [3 / 7, 3 / 7, 3 / 4])
    np.testing.assert_allclose(p_values(LOWER, 0), [3 / 7, 3 / 7, 5 / 7])
    np.testing.assert_allclose(p_values(LOWER[:, :, None].repeat(2, 2), 2)[:, 1], [2 / 4, 2 / 5, 2 / 2])


def test_drawing_ends_once_every_statistic_has_enough():
    assert ended(LOWER, 2) == 5
    assert ended(LOWER[:, :1], 2) == 4
    assert ended(LOWER[:, 2:], 2) == 2
    assert ended(LOWER, 3) is None
    assert ended(LOWER[:0], 1) is None
    assert ended(LOWER, 0) is None


@pytest.mark.parametrize("enough", [1, 3, 10])
def test_what_was_drawn_beyond_the_end_does_not_count(enough):
    drawn = np.random.default_rng(0).random((100, 2)) < (0.2, 0.5)
    end = ended(drawn, enough)
    np.testing.assert_array_equal(p_values(drawn, enough), p_values(drawn[:end], enough))


@pytest.mark.parametrize(("enough", "limit"), [(2, 20), (5, 100), (10, 100)])
def test_p_is_exact_under_the_null_hypothesis_and_calls_what_all_controls_call(enough, limit):
    """The share of p at most a is a, at values that p can have; 20,000 sets of a uniform rank."""
    found = drawing.alone(20_000, enough, limit, harm=0.0, seed=1)
    p, every = found.p, found.p_of_all
    for a in (enough / limit, 2 / (limit + 1), enough / (enough + 2), 1 / (limit + 1)):
        assert (p <= a + 1e-12).mean() == pytest.approx(a, abs=4 * np.sqrt(a * (1 - a) / len(p)))
    level = enough / limit
    np.testing.assert_array_equal(p < level, every < level)
    assert found.drawn.mean() < 0.5 * limit
    # E min(h / u, n) for a rank u that is uniform, plus at most one draw.
    assert found.drawn.mean() == pytest.approx(enough * (1 + np.log(limit / enough)), abs=1)


def test_statistics_for_which_drawing_does_not_wait_stay_near_their_level():
    """Other classes, probes, accuracy and AUROC: at worst 0.07 at a level of 0.05, whenever drawing ends."""
    for correlation in (0.0, 0.5, 0.9):
        found = drawing.beside(4000, 10, 100, correlation, seed=2)
        assert (found <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))
    assert drawing.worst(10_000, 10, 100, 0.05) < 0.08
