import numpy as np
import pytest

from audio_neurons.ablation.clustered import sign_flip
from audio_neurons.ablation.effects import mcnemar


def test_sign_flips_by_hand():
    """Net changes of groups x, y, z: -2, -1, +1; of the eight signs, six sums are at least as far as -2."""
    values = np.array([[-1, -1, -1, 0, 1.0]])
    sums = [abs(a * 2 + b + c) for a in (1, -1) for b in (1, -1) for c in (1, -1)]
    assert sign_flip(values, list("xxyyz"), [0]).tolist() == [np.mean([s >= 2 for s in sums])]


def test_groups_that_do_not_change_do_not_matter():
    values = np.array([[-1.0, -1, -1, 0, 0, 1, -1]])
    assert sign_flip(values, list("abcdeff"), [0]) == sign_flip(values[:, :3], list("abc"), [0]) == 2 / 8
    assert sign_flip(np.zeros((2, 3)), list("abc"), [0]).tolist() == [1, 1]


def test_many_groups_are_sampled_alike_with_every_seed():
    values = np.ones((1, 40))
    p = sign_flip(values, np.arange(40), [3, 5])
    assert p == sign_flip(values, np.arange(40), [3, 5]) == 1 / 10_000


@pytest.mark.parametrize("per_group", [1, 20])
def test_clips_of_a_group_that_change_together_are_no_evidence_by_themselves(per_group):
    """Each of 20 speakers loses or gains, with all clips: only the test of groups keeps its level."""
    rng = np.random.default_rng(0)
    flips, naive = [], []
    for _ in range(300):
        moved = rng.choice([-1, 0, 1], 20, p=[0.25, 0.5, 0.25])
        values = np.repeat(moved, per_group)[None].astype(float)
        flips.append(sign_flip(values, np.repeat(np.arange(20), per_group), [0])[0])
        naive.append(mcnemar(int((values < 0).sum()), int((values > 0).sum())))
    bound = 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5
    assert np.mean(np.array(flips) <= 0.05) < bound
    assert (np.mean(np.array(naive) <= 0.05) > 0.3) == (per_group == 20)
