import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
import simulated

from audio_neurons import tables
from audio_neurons.inference.resampling import observed as observed_of
from audio_neurons.neurons import sharing
from audio_neurons.neurons.sharing import SharingError, compare, expected_ratio, mean_ratios, p_value, ratio
from audio_neurons.settings.selection import rule_of


def neurons(*units: int) -> frozenset[tuple[int, int]]:
    return frozenset((0, unit) for unit in units)


SIZES = [(a, b, pool) for pool in (1, 4, 6) for a in range(pool + 1) for b in range(pool + 1) if a + b]


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [((1, 2, 3), (2, 3, 4), 0.5), ((1,), (1,), 1), ((1,), (2,), 0), ((), (2,), 0), ((1, 2), (2,), 0.5)],
)
def test_ratio_by_hand(a, b, value):
    assert ratio(neurons(*a), neurons(*b)) == ratio(neurons(*b), neurons(*a)) == value


def test_two_empty_sets_have_no_ratio():
    assert math.isnan(ratio(neurons(), neurons()))
    assert math.isnan(expected_ratio(0, 0, 10))


def test_the_same_unit_of_another_layer_is_another_neuron():
    assert ratio(frozenset({(0, 1)}), frozenset({(1, 1)})) == 0


@pytest.mark.parametrize(("a", "b", "pool"), SIZES)
def test_chance_level_is_the_mean_over_all_pairs_of_sets(a, b, pool):
    ratios, common = [], []
    for x in map(set, combinations(range(pool), a)):
        for y in map(set, combinations(range(pool), b)):
            ratios.append(Fraction(len(x & y), len(x | y)))
            common.append(len(x & y))
    assert expected_ratio(a, b, pool) == pytest.approx(float(sum(ratios) / len(ratios)))
    for seen in range(min(a, b) + 1):
        assert p_value(seen, a, b, pool) == pytest.approx(np.mean([c >= seen for c in common]))


def test_chance_level_against_random_draws():
    rng = np.random.default_rng(0)
    a, b, pool = 40, 25, 300
    draws = np.array(
        [len(np.intersect1d(rng.permutation(pool)[:a], rng.permutation(pool)[:b])) for _ in range(4000)]
    )
    ratios = draws / (a + b - draws)
    assert expected_ratio(a, b, pool) == pytest.approx(ratios.mean(), abs=4 * ratios.std() / 4000**0.5)
    for common in (2, 4, 7):
        assert p_value(common, a, b, pool) == pytest.approx((draws >= common).mean(), abs=0.03)


def test_within_a_task_the_table_is_symmetric_and_names_match_themselves():
    sets = {"a": neurons(1, 2, 3), "b": neurons(3, 4), "c": neurons()}
    table = compare(sets, sets, 20)
    assert len(table) == 9
    assert (table["pool"] == 20).all()
    for value in ("common", "ratio", "expected", "p_value"):
        grid = table.pivot(index="class_a", columns="class_b", values=value).to_numpy()
        np.testing.assert_allclose(grid, grid.T)
    rows = table.set_index(["class_a", "class_b"])
    assert rows["matched"].to_dict() == {(a, b): a == b for a in "abc" for b in "abc"}
    ab = rows.loc[("a", "b")]
    assert ab[["neurons_a", "neurons_b", "common"]].tolist() == [3, 2, 1]
    assert ab["ratio"] == 0.25
    assert rows.loc[("a", "a"), "ratio"] == 1
    assert math.isnan(rows.loc[("c", "c"), "ratio"])
    assert rows.loc[("c", "a"), "ratio"] == 0
    # 1 - C(17, 2) / C(20, 2): at least one of two neurons is among the three.
    assert ab["p_value"] == pytest.approx(1 - 136 / 190)


def test_between_tasks_equal_names_match():
    table = compare({"x": neurons(1), "y": neurons(2)}, {"y": neurons(2), "z": neurons(1)}, 5)
    assert table.loc[table["matched"], ["class_a", "class_b"]].to_numpy().tolist() == [["y", "y"]]
    assert table["class_a"].tolist() == ["x", "x", "y", "y"]


def test_pairs_say_what_is_compared_in_which_order_and_what_matches():
    first = {"cough": neurons(1), "dog": neurons(2), "wind": neurons(3)}
    second = {"Dog": neurons(2), "Wind": neurons(3), "Bark": neurons(2), "Rain": neurons()}
    pairs = [("wind", "Wind"), ("dog", "Dog"), ("dog", "Bark")]
    table = compare(first, second, 9, pairs)
    assert list(dict.fromkeys(table["class_a"])) == ["wind", "dog"]
    assert list(dict.fromkeys(table["class_b"])) == ["Wind", "Dog", "Bark"]
    assert list(zip(table["class_a"], table["class_b"], table["matched"], strict=True)) == [
        (a, b, (a, b) in pairs) for a in ("wind", "dog") for b in ("Wind", "Dog", "Bark")
    ]


@pytest.mark.parametrize("pair", [("dog", "Cat"), ("cat", "Dog")])
def test_an_unknown_class_is_named_with_the_known_ones(pair):
    with pytest.raises(SharingError, match=r"(?i)no class cat; there are dog"):
        compare({"dog": neurons(1)}, {"Dog": neurons(1)}, 9, [pair])


def test_all_unknown_classes_are_named():
    sets = {"dog": neurons(1), "owl": neurons(2)}
    with pytest.raises(SharingError, match=r"^no class cat, emu; there are dog, owl$"):
        compare(sets, sets, 9, [("cat", "dog"), ("dog", "dog"), ("emu", "owl")])


def write_task(path, specific: dict[str, set[int]], selected: set[int], width: int = 12, eligible: int = 0):
    frames = [
        pd.DataFrame(
            {
                "layer": 0,
                "neuron": range(width),
                "class": name,
                "response": 0.5,
                "entropy": np.nan,
                "selected": [n in selected for n in range(width)],
                "eligible": [n in selected or n < eligible for n in range(width)],
                "assigned": [n in units for n in range(width)],
            }
        )
        for name, units in specific.items()
    ]
    tables.write(path, "neurons", pd.concat(frames))
    return str(path)


def test_within_a_task_chance_draws_from_the_chosen_neurons(tmp_path):
    path = write_task(tmp_path / "a.parquet", {"a": {1, 2}, "b": {2}}, {1, 2, 3, 5, 8}, eligible=7)
    sharing.compare_tasks([path], None, tmp_path / "out.parquet")
    table = tables.read(tmp_path / "out.parquet", "sharing")
    assert table["pool"].unique().tolist() == [5]
    ab = table.set_index(["class_a", "class_b"]).loc[("a", "b")]
    assert ab["ratio"] == 0.5
    assert ab["expected"] == pytest.approx(2 / 5 * 0.5)
    assert ab["p_value"] == pytest.approx(2 / 5)


def test_between_tasks_chance_draws_from_the_neurons_that_could_have_been_chosen(tmp_path):
    paths = [
        write_task(tmp_path / "a.parquet", {"f": {1, 2}, "m": {4}}, {1, 2, 4}, eligible=6),
        write_task(tmp_path / "b.parquet", {"female": {2}, "male": set()}, {2}, eligible=4),
    ]
    sharing.compare_tasks(paths, [["f", "female"], ["m", "male"]], tmp_path / "out.parquet")
    table = tables.read(tmp_path / "out.parquet", "sharing")
    assert table[["pool_a", "pool_b", "pool"]].drop_duplicates().to_numpy().tolist() == [[6, 4, 4]]
    assert table["common"].tolist() == [1, 0, 0, 0]
    assert table["matched"].tolist() == [True, False, False, True]
    # The one neuron of four is, by chance, among the two of six with probability 1/3.
    assert table["expected"].iloc[0] == pytest.approx(2 / 6 * 0.5)
    assert table["p_value"].iloc[0] == pytest.approx(2 / 6)


@pytest.mark.parametrize(("first", "second", "both"), [(6, 5, 3), (3, 6, 3), (6, 3, 3), (4, 4, 0)])
def test_chance_with_two_pools_is_the_mean_over_all_pairs_of_sets(first, second, both):
    pools = range(first), range(first - both, first - both + second)
    pool = sharing.Pool(first, second, both)
    for a, b in product(range(1, first + 1), range(1, second + 1)):
        common = [len({*x} & {*y}) for x in combinations(pools[0], a) for y in combinations(pools[1], b)]
        assert expected_ratio(a, b, pool) == pytest.approx(np.mean([c / (a + b - c) for c in common]))
        for seen in range(min(a, b) + 1):
            assert p_value(seen, a, b, pool) == pytest.approx(np.mean([c >= seen for c in common]))


def test_overlap_of_matched_sets_is_the_mean_over_all_of_them():
    cells = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    ours, theirs = np.zeros((2, 9), bool)
    ours[[0, 1, 4, 7]], theirs[[0, 2, 4, 5]] = True, True
    inside = [
        [set(x) for x in combinations(np.flatnonzero(cells == c), np.count_nonzero(ours[cells == c]))]
        for c in range(3)
    ]
    common = [len({0, 2, 4, 5} & set().union(*sets)) for sets in product(*inside)]
    expected, p = sharing.matched_overlap(ours, theirs, cells)
    assert expected == pytest.approx(np.mean(common))
    assert p == pytest.approx(np.mean([c >= 2 for c in common]))
    nothing = np.zeros(9, bool)
    assert sharing.matched_overlap(nothing, theirs, cells) == (0, 1)


def test_a_probability_is_at_most_1_however_it_is_rounded():
    found = [p_value(0, a, b, 60) for a in range(1, 30) for b in range(1, a)]
    assert found == pytest.approx([1] * len(found))
    assert max(found) == 1
    cells = np.arange(120) % 5
    for a, b in ((40, 50), (35, 70), (60, 60)):
        assert sharing.matched_overlap(np.arange(120) < a, np.arange(120) >= 120 - b, cells)[1] <= 1


def test_two_selections_of_noise_overlap_as_chance_says():
    """Two tasks without any effect choose from nearly the same neurons: the pool is not all neurons."""
    observed, expected, everywhere = [], [], []
    for seed in range(20):
        tasks = [simulated.units(seed + 50 * k, 24, 2, 800, rates=3) for k in (0, 1)]
        chosen = [observed_of(units, rule_of("aape", {"top_share": 0.03})) for units, _ in tasks]
        sets = [frozenset((0, int(n)) for n in np.flatnonzero(c.assigned[0])) for c in chosen]
        able = [c.eligible for c in chosen]
        pool = sharing.Pool(*(int(m.sum()) for m in (*able, able[0] & able[1])))
        observed.append(ratio(*sets))
        expected.append(expected_ratio(len(sets[0]), len(sets[1]), pool))
        everywhere.append(expected_ratio(len(sets[0]), len(sets[1]), 800))
    assert np.mean(observed) > 5 * np.mean(everywhere)
    assert np.mean(observed) < 3 * np.mean(expected)


def test_a_class_without_clips_has_no_ratio(tmp_path):
    """For any selector, the means are over the other pairs."""
    path = write_task(tmp_path / "a.parquet", {"a": {1, 2}, "b": {2}, "none": set()}, {1, 2, 3, 5, 8})
    frame = tables.read(path, "neurons")
    frame.loc[frame["class"] == "none", "response"] = np.nan
    tables.write(path, "neurons", frame)
    out = tmp_path / "out.parquet"
    for paths, within in (([path], True), ([path, path], False)):
        sharing.compare_tasks(paths, None, out)
        table = tables.read(out, "sharing")
        lacking = (table["class_a"] == "none") | (table["class_b"] == "none")
        assert table.loc[lacking, ["ratio", "expected"]].isna().all(axis=None)
        assert table.loc[~lacking, ["ratio", "expected"]].notna().all(axis=None)
        assert mean_ratios(table, within)["other"] == 0.5


def test_classes_are_in_natural_order(tmp_path):
    path = write_task(tmp_path / "a.parquet", {"10": {1}, "9": {2}, "-1": {1}}, {1, 2})
    sharing.compare_tasks([path], None, tmp_path / "out.parquet")
    table = tables.read(tmp_path / "out.parquet", "sharing")
    assert table["class_a"].drop_duplicates().tolist() == table["class_b"][:3].tolist() == ["-1", "9", "10"]


def test_an_empty_list_of_pairs_compares_nothing(tmp_path):
    sets = {"a": neurons(1), "b": neurons(2)}
    assert compare(sets, sets, 9, []).empty
    path = write_task(tmp_path / "a.parquet", {"a": {1, 2}, "b": {2}}, {1, 2})
    sharing.compare_tasks([path, path], [], tmp_path / "out.parquet")
    assert tables.read(tmp_path / "out.parquet", "sharing").empty


def test_mean_ratios_by_hand():
    columns = ["class_a", "class_b", "matched", "ratio", "expected"]
    within = pd.DataFrame(
        [
            ("a", "a", True, 1.0, 0.3),
            ("a", "b", False, 0.2, 0.1),
            ("b", "a", False, 0.2, 0.1),
            ("a", "c", False, 0.4, 0.2),
            ("c", "a", False, 0.4, 0.2),
            ("b", "c", False, np.nan, np.nan),
        ],
        columns=columns,
    )
    means = mean_ratios(within, within=True)
    assert means["other"] == pytest.approx(0.3)
    assert means["other_expected"] == pytest.approx(0.15)
    assert math.isnan(means["same"])
    between = pd.DataFrame(
        [("a", "A", True, 0.5, 0.1), ("a", "B", False, 0.2, 0.1), ("b", "A", False, 0.1, 0.3),
         ("b", "B", True, np.nan, np.nan)],
        columns=columns,
    )  # fmt: skip
    assert mean_ratios(between, within=False) == pytest.approx(
        {"same": 0.5, "same_expected": 0.1, "other": 0.15, "other_expected": 0.2}
    )
