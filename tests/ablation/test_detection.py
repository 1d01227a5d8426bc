import numpy as np
import pytest
import torch

from audio_neurons.ablation.detection import area
from audio_neurons.ablation.probes import log_odds


@pytest.mark.parametrize(
    ("values", "member", "expected"),
    [
        ([3, 2, 1], [1, 0, 0], 1),
        ([3, 2, 1], [0, 0, 1], 0),
        ([1, 1, 1], [1, 0, 0], 0.5),
        ([1, 2, 2], [0, 1, 0], 0.75),
    ],
)
def test_area_by_hand(values, member, expected):
    assert area(np.array(values, float), np.array(member, bool)) == expected


def test_area_of_all_or_none_is_not_defined():
    assert np.isnan(area(np.arange(3.0), np.ones(3, bool)))
    assert np.isnan(area(np.arange(3.0), np.zeros(3, bool)))


def test_log_odds_are_means_over_probes():
    p = torch.tensor([[[0.5, 0.25, 0.25], [0.2, 0.7, 0.1]], [[0.8, 0.1, 0.1], [0.2, 0.2, 0.6]]]).double()
    expected = [(np.log(1) + np.log(4)) / 2, np.log(0.25)]
    np.testing.assert_allclose(log_odds(p.log(), 0), expected, rtol=1e-6, atol=1e-7)


def test_a_shift_of_all_clips_alike_moves_accuracy_and_not_the_area():
    """Of two classes, whose log odds differ by 2: shifted by 3, all clips are called the first."""
    rng = np.random.default_rng(0)
    first = np.arange(200) < 100
    odds = np.where(first, 1, -1) + rng.normal(0, 0.3, 200)
    right = [np.mean((odds + shift > 0) == first) for shift in (0, 3)]
    assert right == [pytest.approx(1, abs=0.01), 0.5]
    assert area(odds + 3, first) == area(odds, first) > 0.99
