"""Contrasts over pairs of classes, by hand and in simulations."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import simulated

from audio_neurons import tables
from audio_neurons.inference import patterns
from audio_neurons.inference.identities import identity_test
from audio_neurons.inference.inference import Task, ratios
from audio_neurons.inference.patterns import Contrast, PairDraws, PatternError, blocks, contrast, neighbours
from audio_neurons.inference.sharing import infer_comparison
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of

NAMES = "abcdefghij"


def between(grid, permuted=39, resampled=39, noise=0.01, seed=0):
    """Pairs of two tasks whose classes of one name mean the same; null draws are noise around 0.5."""
    rng = np.random.default_rng(seed)
    n, m = grid.shape
    names = [(NAMES[i], NAMES[j]) for i in range(n) for j in range(m)]
    value = grid.ravel()
    return PairDraws(
        names, np.array([a == b for a, b in names]), False, value,
        0.5 + noise * rng.normal(size=(permuted, n * m)), value + noise * rng.normal(size=(resampled, n * m)),
    )  # fmt: skip


def within(grid, **options):
    full = between(grid, **options)
    once = np.array([a < b for a, b in full.names])
    names = [pair for pair, one in zip(full.names, once, strict=True) if one]
    return PairDraws(
        names, np.zeros(len(names), bool), True,
        full.value[once], full.permuted[:, once], full.resampled[:, once],
    )  # fmt: skip


def symmetric(n, seed=0):
    grid = np.random.default_rng(seed).random((n, n))
    return grid + grid.T


def test_within_a_task_all_ways_to_name_the_classes_by_hand():
    grid = symmetric(5)
    inside, against = blocks(["ab", "cde"])
    found = contrast(within(grid), inside, against)

    def effect(order):
        means = [
            np.mean([grid[order[NAMES.index(a)], order[NAMES.index(b)]] for a, b in side])
            for side in (inside, against)
        ]
        return means[0] - means[1]

    effects = np.array([effect(order) for order in permutations(range(5))])
    assert found.effect == pytest.approx(effects[0])
    assert found.identity_p == pytest.approx(np.mean(effects >= effects[0] - 1e-9))
    assert found.identity_p_less == pytest.approx(np.mean(effects <= effects[0] + 1e-9))
    assert (found.identities, found.identity_floor) == (120, 2 * 6 / 120)
    assert found.effect == pytest.approx(found.inside - found.against)
    assert found.relative == pytest.approx(found.effect / (found.inside + found.against))


def test_p_of_labels_and_the_interval_are_those_of_the_draws():
    draws = within(symmetric(4), permuted=99, resampled=199, noise=0.5)
    found = contrast(draws, [("b", "a")])  # in any order
    null = draws.permuted[:, 0] - draws.permuted[:, 1:].mean(1)
    assert found.label_p == (1 + np.sum(null >= found.effect)) / 100
    assert found.label_p_less == (1 + np.sum(null <= found.effect)) / 100
    drawn = draws.resampled[:, 0] - draws.resampled[:, 1:].mean(1)
    assert [found.low, found.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert 0 < found.label_p < 1


def test_pairs_that_mean_the_same_give_the_p_of_identities():
    for seed in range(3):
        grid = np.random.default_rng(seed).random((4, 4))
        draws = between(grid)
        table = {"class_a": [a for a, _ in draws.names], "class_b": [b for _, b in draws.names]}
        sharing = tables.pd.DataFrame(table).assign(matched=draws.matched, ratio=draws.value)
        found = contrast(draws, [(name, name) for name in "abcd"])
        assert (found.identity_p, found.identities) == (pytest.approx(identity_test(sharing)[0]), 24)
        assert found.identity_floor == 1 / 24


def test_adjacent_classes_between_tasks_are_told_whatever_the_same_classes_share():
    """Classes of one name keep it in common, so their great ratios hide nothing."""
    place = np.arange(6)
    apart = np.abs(place[:, None] - place)
    for diagonal in (0.1, 0.9):
        grid = np.where(apart == 0, diagonal, np.where(apart == 1, 0.3, 0.05))
        found = contrast(between(grid), *neighbours(NAMES[:6]))
        assert found.effect == pytest.approx(0.25)
        assert found.identity_p == found.identity_floor == pytest.approx(2 / 720)  # the order and its reverse
        assert found.verdict(0.05) == "found"
        opposite = contrast(between(1 - grid), *neighbours(NAMES[:6]))
        assert opposite.verdict(0.05) == "opposite"
        assert opposite.identity_p_less == pytest.approx(2 / 720)


def test_names_of_classes_that_do_not_match_are_permuted_in_both_tasks():
    grid = np.random.default_rng(0).random((3, 4))
    grid[2, 1] = 2
    draws = between(grid)
    found = contrast(draws, [("c", "b")])
    assert (found.identities, found.identity_p) == (6 * 24, pytest.approx(1 / 12))


def test_of_many_classes_names_are_sampled():
    grid = symmetric(9)
    found = contrast(within(grid), *neighbours(NAMES[:9]))
    assert found.identities == patterns.SAMPLED
    assert contrast(within(grid), *neighbours(NAMES[:9])) == found
    assert contrast(within(grid), *neighbours(NAMES[:9]), seed=1).identity_p == pytest.approx(
        found.identity_p, abs=0.03
    )


def test_classes_that_the_pattern_does_not_name_keep_their_names():
    grid = symmetric(6)
    some = contrast(within(grid), *blocks(["ab", "c"]))
    alone = contrast(within(grid[:3, :3]), *blocks(["ab", "c"]))
    assert replace(some, low=0, high=0) == replace(alone, low=0, high=0)  # of other draws


def test_what_few_classes_cannot_show_is_told_with_its_reason():
    found = contrast(between(np.eye(2), permuted=99), [("a", "a"), ("b", "b")])
    assert (found.identity_p, found.identity_floor) == (0.5, 0.5)
    assert found.verdict(0.05) == "cannot be told"
    assert found.reasons(0.05) == ["too few classes: p of their names is at least 0.5"]
    flat = contrast(between(np.full((4, 4), 0.3), noise=1), [("a", "b")])
    assert flat.reasons(0.05)[0] == "the interval contains 0"
    assert contrast(between(np.eye(5)), [(c, c) for c in "abcde"]).reasons(0.05) == []
    alone = replace(between(np.eye(5)), permuted=np.empty((0, 25)))
    assert contrast(alone, [(c, c) for c in "abcde"]).reasons(0.05) == [
        "permuted labels mean nothing for two labels of the same recordings"
    ]


def test_pairs_without_neurons_count_nowhere():
    grid = np.eye(5)
    grid[4] = grid[:, 4] = np.nan
    found = contrast(between(grid), [(c, c) for c in "abcde"])
    assert (found.effect, found.identities) == (1.0, 24)
    nothing = contrast(between(grid), [("e", "e")])
    assert np.isnan(nothing.effect)
    assert np.isnan(nothing.identity_p)
    assert nothing.reasons(0.05) == ["no class of the pattern, or of the others, has neurons"]


@pytest.mark.parametrize(
    ("inside", "against", "message"),
    [
        ([("a", "z")], None, "no pair a and z; there are a, b, c with a, b, c"),
        ([("a", "b")], [("a", "b"), ("b", "c")], "a and b are on both sides of the pattern"),
        ([], None, "no pair of classes is in the pattern"),
        ([("a", "b")], [], "no pair of classes is against the pattern"),
    ],
)
def test_a_pattern_that_says_nothing_is_refused(inside, against, message):
    with pytest.raises(PatternError, match=message):
        contrast(between(np.eye(3)), inside, against)


def test_blocks_and_neighbours():
    inside, against = blocks([["de", "en"], ["fr"]])
    assert inside == [("de", "en"), ("en", "de")]
    assert set(against) == {("de", "fr"), ("en", "fr"), ("fr", "de"), ("fr", "en")}
    near, far = neighbours(["1", "2", "10"])
    assert near == [("1", "2"), ("2", "1"), ("2", "10"), ("10", "2")]
    assert far == [("1", "10"), ("10", "1")]


def test_p_of_identities_is_uniform_if_names_mean_nothing_and_finds_what_is_there():
    called = {0.0: [], 1.0: []}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        popular = rng.random(6) * 2  # a class may share much with all
        for size, found in called.items():
            grid = popular[:, None] + popular + symmetric(6, seed)
            grid[:3, :3] += size
            grid[3:, 3:] += size
            found.append(contrast(within(grid), *blocks(["abc", "def"])).identity_p <= 0.1)
    assert np.mean(called[0.0]) == pytest.approx(0.1, abs=3 * (0.1 * 0.9 / 100) ** 0.5)
    assert np.mean(called[1.0]) > 0.5


def test_patterns_of_real_draws_are_those_of_their_table(tmp_path):
    rule = rule_of("aape", {"top_share": 0.05})
    tasks = [Task.of(simulated.units(seed, groups=12, classes=4, neurons=200)[0], rule) for seed in (0, 1)]
    settings = Inference(draws=19, bootstrap=19, halves=2)
    for some in (tasks, tasks[:1]):
        found, _, table = infer_comparison(some, None, settings)
        tables.write(tmp_path / "pairs.parquet", "pair_draws", table)
        draws = PairDraws.read(tmp_path / "pairs.parquet", within=len(some) == 1)
        assert draws.permuted.shape == draws.resampled.shape == (19, len(draws.names))
        pairs = found[found["statistic"] == "ratio"]
        assert draws.names == list(zip(pairs["class_a"], pairs["class_b"], strict=True))
        np.testing.assert_array_equal(draws.value, pairs["value"])
        np.testing.assert_allclose(np.nanmean(draws.permuted, 0), pairs["null_mean"])
        one = draws.names[1]
        result = contrast(draws, [one])
        assert isinstance(result, Contrast)
        grid = ratios(some[0].chosen.assigned, some[-1].chosen.assigned)
        assert result.inside == grid[NAMES.index(one[0]), NAMES.index(one[1])]
    matched = contrast(PairDraws.read(tmp_path / "pairs.parquet", within=True), [("a", "b")])
    assert matched.identity_floor == 1 / 6
