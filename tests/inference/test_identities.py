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


def test_all_permutations_of_seven_classes_are_tried():
    assert identity_test(sharing(np.eye(7))) == (1 / 5040, 5040)


def test_classes_match_by_their_names_and_in_any_order():
    """Rows of the table are neither sorted nor do matching classes have one name."""
    ratios = np.random.default_rng(0).random((4, 4))
    plain = sharing(ratios)
    names = dict(zip("abcd", "dbac", strict=True)), dict(zip("abcd", "xzwy", strict=True))
    table = plain.assign(class_a=plain["class_a"].map(names[0]), class_b=plain["class_b"].map(names[1]))
    assert identity_test(table) == identity_test(plain)
    assert 1 / 24 < identity_test(plain)[0] < 1


def test_only_pairs_without_a_ratio_are_left_out():
    assert identity_test(sharing(np.eye(3)).assign(expected=np.nan)) == (pytest.approx(1 / 6), 6)


def test_a_pair_without_a_ratio_among_classes_that_have_one_has_no_test():
    table = sharing(np.eye(3))
    table.loc[(table["class_a"] == "a") & (table["class_b"] == "b"), "ratio"] = np.nan
    p, count = identity_test(table)
    assert np.isnan(p)
    assert count == 0


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
    everything = sharing(np.eye(3)).assign(matched=True)
    one_of_both = sharing(np.eye(2)).assign(matched=[True, False, True, False])  # a and b both mean a
    for table in (
        everything,
        one_of_both,
        one_of_both.rename(columns={"class_a": "class_b", "class_b": "class_a"}),
    ):
        p, count = identity_test(table)
        assert np.isnan(p)
        assert count == 0


def test_sampled_permutations_have_every_class_once_and_come_from_the_seed():
    """Where only the second class matters, all permutations share the same."""
    assert identity_test(sharing(np.tile(np.arange(8.0), (8, 1)))) == (1, identities.SAMPLED)
    table = sharing(np.random.default_rng(0).random((8, 8)))
    assert identity_test(table) == identity_test(table, 0) != identity_test(table, 1)


def test_many_classes_are_sampled_and_p_is_uniform_without_meaning():
    rng = np.random.default_rng(1)
    identities_p = [identity_test(sharing(rng.random((8, 8))))[0] for _ in range(60)]
    assert np.mean(np.array(identities_p) <= 0.05) < 0.05 + 3 * (0.05 * 0.95 / 60) ** 0.5
    p, count = identity_test(sharing(np.eye(9)))
    assert count == identities.SAMPLED
    assert p == 1 / (identities.SAMPLED + 1)
