import numpy as np
import pytest

from audio_neurons.neurons.selection import Selection
from audio_neurons.neurons.specificity import colligation, preferred, specificity


def chosen(response, assigned):
    """A selection of which classes (rows) the neurons (columns) belong to, and their responses."""
    response, assigned = np.array(response, float), np.array(assigned, bool)
    some = assigned.any(0)
    return Selection(
        response=response, entropy=np.zeros(len(some)), candidates=some, selected=some, eligible=some,
        assigned=assigned, response_threshold=0.0, assignment_threshold=0.0,
    )  # fmt: skip


def test_the_preferred_class_is_the_strongest_of_those_that_a_neuron_belongs_to():
    """The first neuron responds more to a class that it does not belong to; the last belongs to none."""
    found = preferred(chosen([[0.9, 0, 0.2, 0.5], [0.1, 0, 0.3, 0.4]], [[0, 0, 1, 0], [1, 1, 1, 0]]))
    assert found.tolist() == [1, 1, 1, -1]


def test_a_class_without_clips_counts_among_none():
    """Of three classes one has no clips: the neuron of the other two is a neuron of all."""
    response = [[0.5, 0.5, 0.5], [np.nan] * 3, [0.1, 0.5, 0.1]]
    found = specificity(chosen(response, [[1, 1, 1], [0, 0, 0], [0, 1, 0]]))
    assert found == pytest.approx([4 / 3, 2 / 3, 1 / 3, 1 / 3])  # odds of 1 against 1/9, and of 1 against 1
    assert np.isnan(specificity(chosen(response, [[0, 0, 0]] * 3))).all()


def test_colligation_by_hand():
    p = np.array([[0.5, 0.3, 1, 0, 0.4], [0, 0.3, 1, 0, 0.1], [0, 0.3, 1, 0, 0.3]])
    odds = 0.4 / 0.6 / (0.2 / 0.8)
    expected = (np.sqrt(odds) - 1) / (np.sqrt(odds) + 1)
    assert colligation(p) == pytest.approx([1, 0, 0, 0, expected])
    assert np.isnan(colligation(p[:1])).all()
