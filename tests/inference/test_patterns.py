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


def test_pairs_that_the_pattern_leaves_open_count_on_neither_side():
    """The pair a, c is of named classes, and neither in the pattern nor against it."""
    grid = symmetric(3)
    found = contrast(within(grid), [("a", "b")], [("b", "c")])
    effects = np.array([grid[x, y] - grid[y, z] for x, y, z in permutations(range(3))])
    assert found.effect == pytest.approx(effects[0])
    assert found.identity_p == pytest.approx(np.mean(effects >= effects[0]))
    assert found.identity_p_less == pytest.approx(np.mean(effects <= effects[0]))
    assert (found.identities, found.identity_floor) == (6, 1 / 6)


def test_names_of_matching_classes_need_not_be_equal():
    draws = between(np.random.default_rng(0).random((4, 4)))
    other = replace(draws, names=[(a, b.upper()) for a, b in draws.names])
    for near in ([("a", "b"), ("c", "d")], [(c, c) for c in "abcd"]):
        found = contrast(other, [(a, b.upper()) for a, b in near])
        assert found == contrast(draws, near)
        assert found.identities == 24


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
        assert found.relative == pytest.approx(0.25 / 0.35)
        assert found.verdict(0.05) == "found"
        opposite = contrast(between(1 - grid), *neighbours(NAMES[:6]))
        assert opposite.verdict(0.05) == "opposite"
        assert opposite.identity_p_less == pytest.approx(2 / 720)
        assert opposite.relative == pytest.approx(-0.25 / 1.65)


def test_where_no_neurons_are_shared_nothing_is_relative():
    assert np.isnan(contrast(between(np.zeros((3, 3))), [("a", "b")]).relative)


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
    assert contrast(within(grid), *neighbours(NAMES[:9]), seed=0) == found
    assert contrast(within(grid), *neighbours(NAMES[:9]), seed=1) != found
    assert contrast(within(grid), *neighbours(NAMES[:9]), seed=1).identity_p == pytest.approx(
        found.identity_p, abs=0.03
    )


@pytest.mark.parametrize("how", ["within", "together", "second", "both"])
def test_sampled_names_give_nearly_the_p_of_all_names(how, monkeypatch):
    """So they do whichever names may change: of one task, of both alike, of the second, of each by itself."""
    grid = np.random.default_rng(1).random((4, 4))
    draws = within(grid + grid.T) if how == "within" else between(grid[:3] if how == "both" else grid)
    pattern = [("a", "a"), ("a", "b")] if how == "second" else [("a", "b"), ("c", "d")]
    every = contrast(draws, pattern)
    assert every.identities == (6 * 24 if how == "both" else 24)
    monkeypatch.setattr(patterns, "EXHAUSTIVE", 0)
    some = contrast(draws, pattern)
    assert some.identities == patterns.SAMPLED
    for name in ("identity_p", "identity_p_less", "identity_floor"):
        assert getattr(some, name) == pytest.approx(getattr(every, name), abs=0.015)


def test_of_many_classes_of_two_tasks_the_second_alone_is_renamed():
    """What the first task's classes share with all others then explains nothing, and is no evidence."""
    grid = np.tile(np.arange(8.0)[::-1, None], (1, 8))
    found = contrast(between(grid), [("a", "a"), ("a", "b")])
    assert (found.identity_p, found.identity_p_less, found.identities) == (1, 1, patterns.SAMPLED)
    assert contrast(between(grid.T), [(c, c) for c in "abcdefgh"]).identity_p == 1


@pytest.mark.parametrize(("rows", "columns", "count"), [(7, 4, patterns.SAMPLED), (3, 6, 6 * 720)])
def test_number_of_names_of_both_tasks(rows, columns, count):
    grid = np.random.default_rng(0).random((rows, columns))
    assert contrast(between(grid), [("a", "b")]).identities == count


def test_seven_classes_are_tried_in_all_ways():
    assert contrast(within(symmetric(7)), [("a", "b")]).identities == 5040


def test_blocks_of_names_do_not_matter(monkeypatch):
    found = contrast(within(symmetric(5)), *blocks(["ab", "cde"]))
    monkeypatch.setattr(patterns, "BLOCK", 7 * 25)
    assert contrast(within(symmetric(5)), *blocks(["ab", "cde"])) == found


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


MORE = Contrast(
    effect=0.2, low=0.1, high=0.3, inside=0.5, against=0.3, relative=0.25, identities=120,
    identity_floor=0.05, identity_p=0.05, identity_p_less=0.9, label_p=0.05, label_p_less=0.9,
)  # fmt: skip
LESS = replace(
    MORE,
    effect=-0.2,
    low=-0.3,
    high=-0.1,
    identity_p=0.9,
    identity_p_less=0.05,
    label_p=0.9,
    label_p_less=0.05,
)


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"low": 0}, ["the interval contains 0"]),
        ({"low": -0.1}, ["the interval contains 0"]),
        ({"identity_p": 0.2}, ["other names of the classes do as well (p = 0.2)"]),
        ({"label_p": 0.2}, ["permuted labels do as well (p = 0.2)"]),
        (
            {"identity_floor": 0.1, "identity_p": 0.2, "label_p": 0.3},
            ["too few classes: p of their names is at least 0.1", "permuted labels do as well (p = 0.3)"],
        ),
    ],
)
def test_a_pattern_is_found_if_interval_names_and_labels_agree_and_else_it_is_said_which_do_not(
    change, reasons
):
    mirror = {"low": "high", "identity_p": "identity_p_less", "label_p": "label_p_less"}
    less = {mirror.get(name, name): -value if name == "low" else value for name, value in change.items()}
    for found, changed, verdict in ((MORE, change, "found"), (LESS, less, "opposite")):
        assert (found.verdict(0.05), found.reasons(0.05)) == (verdict, [])
        found = replace(found, **changed)
        assert (found.verdict(0.05), found.reasons(0.05)) == ("cannot be told", reasons)


def test_pairs_without_neurons_count_nowhere():
    grid = np.eye(5)
    grid[4] = grid[:, 4] = np.nan
    found = contrast(between(grid), [(c, c) for c in "abcde"])
    assert (found.effect, found.identities) == (1.0, 24)
    nothing = contrast(between(grid), [("e", "e")])
    assert np.isnan(nothing.effect)
    assert np.isnan(nothing.identity_p)
    assert nothing.identities == 0
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
