from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from audio_neurons.inference import identities
from audio_neurons.inference.identities import identity_test


def sharing(ratios, names="abcdefghij"):
    n, m = ratios.shape
    rows = [(names[i], names[j], i == j, ratios[i, j]) for i in range(n) for j in range(m)]
    return pd.DataFrame(rows, columns=["class_a", "class_b", "matched", "ratio"])


def test_all_permutations_by_hand():
    ratios = np.random.default_rng(0).random((4, 4))
    means = [np.mean([ratios[i, j] for i, j in enumerate(order)]) for order in permutations(range(4))]
    assert identity_test(sharing(ratios)) == (np.mean(np.array(means) >= means[0]), 24)


def test_two_classes_cannot_show_anything():
    assert identity_test(sharing(np.eye(2))) == (0.5, 2)
    assert identity_test(sharing(1 - np.eye(2))) == (1.0, 2)


def test_classes_without_a_match_are_left_out():
    wide = np.eye(3, 5)
    assert identity_test(sharing(wide)) == (pytest.approx(1 / 6), 6)
    gap = sharing(np.eye(4))
    gap.loc[(gap["class_a"] == "d") | (gap["class_b"] == "d"), "ratio"] = np.nan
    assert identity_test(gap) == (pytest.approx(1 / 6), 6)


def test_several_matches_of_a_class_have_no_test():
    table = sharing(np.eye(3)).assign(matched=True)
    p, count = identity_test(table)
    assert np.isnan(p)
    assert count == 0


def test_many_classes_are_sampled_and_p_is_uniform_without_meaning():
    rng = np.random.default_rng(1)
    identities_p = [identity_test(sharing(rng.random((8, 8))))[0] for _ in range(60)]
    assert np.mean(np.array(identities_p) <= 0.05) < 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5
    p, count = identity_test(sharing(np.eye(9)))
    assert count == identities.SAMPLED
    assert p == 1 / (identities.SAMPLED + 1)
