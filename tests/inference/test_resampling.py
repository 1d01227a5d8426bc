from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import simulated
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_neurons.activations.units import Units
from audio_neurons.inference import resampling
from audio_neurons.inference.permutation import Permutation
from audio_neurons.inference.resampling import (
    Bootstrap,
    Draws,
    Halves,
    ResamplingError,
    draw,
    observed,
    pooled,
    totals,
)
from audio_neurons.settings.selection import PRESETS, rule_of

few = settings(deadline=None, max_examples=40)
RULE = rule_of("aape", {"top_share": 0.1})


def rows(*pairs: tuple[int, int], classes: int = 3) -> Units:
    """Units of (group, class), whose counts identify their rows."""
    groups, labels = np.array(pairs).T
    counts = 2 ** np.arange(len(pairs), dtype=np.uint32)[:, None]
    return Units(counts, np.full(len(pairs), 2**31), labels, groups, tuple("abcdefgh"[:classes]))


def drawn(scheme, number=0):
    return scheme(np.random.default_rng(number))


mixed = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=30, unique=True)


# Permutations


def test_groups_of_one_class_change_places():
    units = rows((0, 0), (1, 0), (2, 1), (3, 2))
    seen = Counter(tuple(drawn(Permutation(units), i)[0][0]) for i in range(600))
    assert len(seen) == 12  # 4! / 2!
    assert min(seen.values()) > 25
    assert all(sorted(labels) == [0, 0, 1, 2] for labels in seen)


def test_groups_of_several_classes_shuffle_them_within():
    units = rows((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))
    seen = Counter(tuple(drawn(Permutation(units), i)[0][0]) for i in range(600))
    assert len(seen) == 2 * 6
    assert min(seen.values()) > 25


@few
@given(mixed, st.integers(0, 99))
def test_permutation_keeps_every_groups_number_of_classes(pairs, number):
    units = pooled(rows(*pairs, classes=4))
    labels, weights = drawn(Permutation(units), number)
    assert (weights == 1).all()
    several = np.bincount(units.groups)[units.groups] > 1
    assert sorted(labels[0][~several]) == sorted(units.labels[~several])
    for group in set(units.groups[several]):
        mine = units.groups == group
        assert sorted(labels[0][mine]) == sorted(units.labels[mine])


# Resamples


def test_groups_of_one_class_by_class_and_those_of_several_take_each_others_place():
    units = rows((0, 1), (1, 0), (2, 0), (2, 2), (3, 1), (4, 0), (4, 1), (4, 2), classes=3)
    assert [members.tolist() for members in resampling.strata(units)] == [[1], [0, 3], [2, 4]]


def test_bootstrap_draws_groups_of_one_class_within_it():
    units = rows((0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 2))
    weights = np.stack([drawn(Bootstrap(units), i)[1][0] for i in range(2000)])
    for label, groups in ((0, 3), (1, 2), (2, 1)):
        assert (weights[:, units.labels == label].sum(1) == groups).all()
    assert weights.mean(0) == pytest.approx(np.ones(6), abs=0.08)
    assert (weights[:, 0] == 3).mean() == pytest.approx(1 / 27, abs=0.02)


def test_a_class_that_would_be_lost_keeps_one_of_its_groups_once():
    """Classes c and d are only in the first of three groups, which is missing in 8 of 27 draws."""
    units = rows((0, 0), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0), (2, 1), classes=4)
    weights = np.stack([drawn(Bootstrap(units), i)[1][0] for i in range(1000)])[:, [0, 3, 5]]
    assert weights[:, 0].min() == 1
    # Class b is in the other two groups. If the first is drawn three times, one of them is kept.
    added, thrice = weights.sum(1) == 4, weights[:, 0] == 3
    assert (weights[~added].sum(1) == 3).all()
    assert (weights[added & ~thrice, 0] == 1).all()
    assert {tuple(w) for w in weights[thrice, 1:]} == {(0, 1), (1, 0)}
    assert added.mean() == pytest.approx(8 / 27 + 1 / 27, abs=0.04)


@few
@given(mixed, st.integers(0, 99))
def test_bootstrap_moves_whole_groups_and_every_class_keeps_one(pairs, number):
    units = pooled(rows(*pairs, classes=4))
    labels, weights = drawn(Bootstrap(units), number)
    np.testing.assert_array_equal(labels[0], units.labels)
    for group in set(units.groups):
        assert len(set(weights[0][units.groups == group])) == 1
    assert set(units.labels[weights[0] > 0]) == set(units.labels)
    by_group = dict(zip(units.groups, weights[0], strict=True))
    assert len(by_group) <= sum(by_group.values()) < len(by_group) + len(units.classes)


@few
@given(mixed, st.integers(0, 99))
def test_halves_are_disjoint_and_even(pairs, number):
    units = pooled(rows(*pairs, classes=4))
    _, (first, second) = drawn(Halves(units), number)
    assert (first + second == 1).all()
    assert len(set(units.groups)) == 1 or 0 < sum(first) < len(first)  # no half is empty
    for members in resampling.strata(units):
        inside = [first[units.groups == group][0] for group in members]
        assert abs(2 * sum(inside) - len(members)) <= 1
        assert all(len(set(first[units.groups == group])) == 1 for group in members)


# Sums


def test_rows_of_the_same_group_and_class_are_pooled():
    units = rows((7, 2), (3, 0), (7, 2), (7, 0))
    small = pooled(units)
    assert small.classes == ("a", "c")
    assert sorted(zip(small.groups, small.labels, small.active[:, 0], strict=True)) == [
        (0, 0, 2), (1, 0, 8), (1, 1, 5),
    ]  # fmt: skip
    assert sorted(small.tokens) == [2**31, 2**31, 2**32]
    again = pooled(small)
    assert again.active is small.active


def test_no_rows_are_an_error():
    empty = Units(np.zeros((0, 3), np.uint32), *np.zeros((3, 0), np.int64), ("a",))
    with pytest.raises(ResamplingError, match="statistics_split"):
        pooled(empty)


def test_rows_in_another_order_keep_their_counts():
    units = pooled(rows((1, 0), (0, 1), (0, 0)))
    assert list(zip(units.groups, units.labels, units.active[:, 0], strict=True)) == [
        (0, 0, 4), (0, 1, 2), (1, 0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("cells", [2**24, 100])
@pytest.mark.parametrize("scale", [1, 2**12, 2**20])
def test_sums_are_exact_however_large(scale, cells, monkeypatch):
    """Around and above 2^24, the limit of exact float32; with CELLS 100, three neurons at a time."""
    monkeypatch.setattr(resampling, "CELLS", cells)
    rng = np.random.default_rng(0)
    labels, weights = rng.integers(0, 3, (4, 30)), rng.integers(0, 9, (4, 30))
    tokens = rng.integers(scale, 2 * scale, 30)
    active = rng.integers(0, tokens[:, None] + 1, (30, 20)).astype(np.uint32)
    units = Units(active, tokens, labels[0], np.arange(30), ("a", "b", "c"))
    sums, of_class = totals(units, labels, weights)
    assert sums.dtype == (np.float32 if scale == 1 else np.float64) or scale == 2**12
    for d in range(4):
        for c in range(3):
            mine = labels[d] == c
            exact = (weights[d][mine, None] * active[mine].astype(object)).sum(0)
            assert sums[d, c].astype(object).tolist() == exact.tolist()
            assert of_class[d, c] == (weights[d][mine] * tokens[mine]).sum()


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("scheme", [Permutation, Bootstrap, Halves])
def test_blocks_and_threads_do_not_matter(scheme, within, monkeypatch):
    units = pooled(simulated.units(0, groups=12, classes=3, neurons=60, within=within)[0])

    def all_of(**how):
        return list(draw(units, RULE, scheme(units), Draws(11, 5, **how)))

    reference = all_of(block=1)
    monkeypatch.setattr(resampling, "CELLS", 100)
    for how in ({"block": 4}, {"block": 100, "threads": 3}):
        for mine, other in zip(all_of(**how), reference, strict=True):
            assert len(mine) == (2 if scheme is Halves else 1)
            for a, b in zip(mine, other, strict=True):
                np.testing.assert_array_equal(a.entropy, b.entropy)
                np.testing.assert_array_equal(a.assigned, b.assigned)


def test_with_many_classes_blocks_and_threads_are_as_few_as_memory_allows():
    few_classes = replace(rows((0, 0), (1, 1)), active=np.zeros((2, 36_864), np.uint32))
    many = replace(few_classes, classes=tuple(map(str, range(1251))))
    asked = Draws(1000, block=32, threads=8)
    assert resampling._affordable(few_classes, asked) == (32, 8)
    block, threads = resampling._affordable(many, asked)
    assert 4 * block * 1251 * 36_864 < 1.1e9
    assert (block, threads) == (5, 1)
    larger = replace(many, classes=tuple(map(str, range(100_000))))
    assert resampling._affordable(larger, asked) == (1, 1)


def test_draws_differ_by_number_seed_and_side_and_more_begin_the_same():
    units = pooled(simulated.units(0, groups=12, classes=3, neurons=60)[0])

    def entropies(plan):
        return [c.entropy.tobytes() for (c,) in draw(units, RULE, Permutation(units), plan)]

    plan = Draws(6, 5)
    assert entropies(replace(plan, count=9))[:6] == entropies(plan)
    every = [*entropies(plan), *entropies(replace(plan, seed=6)), *entropies(replace(plan, side=1))]
    assert len(set(every)) == 18


@pytest.mark.parametrize("preset", [p for p in PRESETS if p != "auroc"])
def test_weights_of_one_are_the_selection_itself(preset):
    units = pooled(simulated.units(0, groups=12, classes=3, neurons=60)[0])
    rule = rule_of(preset, {"top_share": 0.1})

    class Same:
        number = 9

        def __call__(self, rng):
            return units.labels[None], np.ones((1, len(units.labels)), np.int64)

    ((chosen,),) = draw(units, rule, Same(), Draws(1))
    np.testing.assert_array_equal(chosen.assigned, observed(units, rule).assigned)
    # A unit with weight 2 equals two units.
    twice = Units(
        np.concatenate([units.active] * 2),
        np.concatenate([units.tokens] * 2),
        np.concatenate([units.labels] * 2),
        np.concatenate([units.groups, units.groups + 99]),
        units.classes,
    )
    np.testing.assert_array_equal(observed(pooled(twice), rule).assigned, chosen.assigned)


def test_auroc_has_no_draws():
    units = pooled(simulated.units(0, groups=6, classes=2, neurons=10)[0])
    with pytest.raises(ResamplingError, match="auroc cannot be computed from counts"):
        next(draw(units, PRESETS["auroc"], Permutation(units), Draws(1)))
