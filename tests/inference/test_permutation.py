from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated
from scipy import stats

from audio_neurons import tables
from audio_neurons.activations.rows import read_jointly
from audio_neurons.activations.units import Units
from audio_neurons.inference.inference import Task, infer
from audio_neurons.inference.permutation import Exchange, Jointly, Permutation, design
from audio_neurons.inference.resampling import Bootstrap
from audio_neurons.inference.sharing import association, infer_ratios, read_together
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of
from benchmarks import validity as designs

RULE = rule_of("aape", {"top_share": 0.05})


def test_sizes_that_do_not_vary_go_with_nothing_and_those_of_one_group_per_class_go_with_all():
    def rows(sizes, labels):
        sizes, labels = np.array(sizes), np.array(labels)
        one = np.ones((len(sizes), 1), np.uint32)
        return Exchange(Units(one, sizes, labels, np.arange(len(sizes)), ("a", "b")))

    assert rows([5, 5, 5, 5], [0, 0, 1, 1]).association == 0
    assert rows([5, 9], [0, 1]).association == 1  # nothing is left over to compare with
    assert rows([5, 9, 5, 9], [0, 0, 1, 1]).association == 0


def rows(*facts, classes=3):
    """Units of (group, class, tokens)."""
    groups, labels, tokens = np.array(facts).T
    return Units(np.zeros((len(facts), 1), np.uint32), tokens, labels, groups, tuple("abc"[:classes]))


def drawn(units, number=0):
    return Permutation(units)(np.random.default_rng(number))[0][0]


def test_only_groups_of_like_size_change_places():
    facts = [(0, 0, 10), (1, 1, 19), (2, 0, 20), (3, 2, 39), (4, 1, 320), (5, 1, 640)]
    seen = {tuple(drawn(rows(*facts), i)) for i in range(200)}
    assert seen == {(a, 1 - a, b, 2 - b, 1, 1) for a in (0, 1) for b in (0, 2)}
    assert Exchange(rows(*facts)).movable.tolist() == [True] * 4 + [False] * 2


def test_rows_of_a_group_change_places_where_they_are_of_like_size():
    units = rows((0, 0, 1), (0, 1, 12), (0, 2, 13), (1, 0, 5), (1, 1, 6), (1, 2, 7))
    seen = {tuple(drawn(units, i)) for i in range(400)}
    assert len(seen) == 2 * 6
    assert {labels[0] for labels in seen} == {0}


def test_a_group_of_one_class_moves_with_all_its_clips():
    """Rows are clips: two of speaker 0, two of speaker 1, and three of speaker 2, who has both classes."""
    units = rows((0, 0, 1), (1, 1, 1), (0, 0, 1), (1, 1, 1), (2, 0, 1), (2, 0, 1), (2, 1, 1), classes=2)
    seen = {tuple(drawn(units, i)) for i in range(300)}
    assert len(seen) == 2 * 3
    for labels in seen:
        assert labels[0] == labels[2] != labels[1] == labels[3]
        assert sorted(labels[4:]) == [0, 0, 1]


def test_design_by_hand():
    units = rows((0, 0, 10), (1, 0, 10), (2, 1, 40), (3, 1, 10), (4, 2, 1000))
    found = design(units).set_index(["statistic", "class"])["value"]
    size = np.log([10, 10, 40, 10, 1000])
    means = [np.log(10), np.log([40, 10]).mean(), np.log(1000)]
    between = sum(n * (m - size.mean()) ** 2 for n, m in zip((2, 2, 1), means, strict=True))
    total = ((size - size.mean()) ** 2).sum()
    assert found["size_association", ""] == pytest.approx(1 - (1 - between / total) * 4 / 2)
    assert found["movable", ""] == 3 / 5
    assert [found["movable", c] for c in "abc"] == [1, 0.5, 0]
    assert [found["effective_groups", c] for c in "abc"] == pytest.approx([2, 50**2 / 1700, 1])


def test_within_groups_the_sizes_of_whole_groups_do_not_count():
    units = rows((0, 0, 10), (0, 1, 10), (1, 0, 50), (1, 1, 50), classes=2)
    assert design(units)["value"][0] == 0
    units = rows((0, 0, 10), (0, 1, 20), (1, 0, 50), (1, 1, 100), classes=2)
    assert design(units)["value"][0] == pytest.approx(1)
    assert design(units)["value"][1] == 0


def test_where_sizes_do_not_go_with_the_class_all_change_places():
    units = rows(*((g, g % 2, (10, 10, 60, 60)[g % 4]) for g in range(12)), classes=2)
    assert design(units)["value"][:2].tolist() == [0, 1]
    assert len({tuple(drawn(units, i)) for i in range(100)}) > 80
    # Eight classes of three rows each: eta² is large by chance alone.
    rng = np.random.default_rng(0)
    noise = [design(replace(rows(*((g, g % 8, int(n)) for g, n in enumerate(rng.integers(5, 50, 24)))),
                            classes=tuple("abcdefgh")))["value"][0] for _ in range(400)]  # fmt: skip
    assert np.median(noise) == 0


@pytest.mark.parametrize("name", designs.DESIGNS)
def test_size_of_the_tests_in_designs_where_clips_go_with_the_class(name):
    """No effect of any class: whole rows that change places would be called in nearly all of such data."""
    units = [designs.sample(name, seed, neurons=120) for seed in range(20)]
    called = designs.size(units, draws=39)
    bound = 0.05 + 3 * (0.05 * 0.95 / 20) ** 0.5
    assert called["entropy"] < bound
    assert called["classes_per_neuron"] < bound
    assert called["auroc"] < bound
    assert called["neurons"] < 0.09


def test_freely_exchanged_rows_are_called_where_clips_go_with_the_class():
    units = [designs.sample("a class of single clips", seed, neurons=300) for seed in range(4)]
    assert designs.size(units, draws=39, scheme=designs.Free)["neurons"] > 0.15


# Two labels of the same clips


def test_two_labels_of_the_same_rows_stay_together():
    combinations = rows((0, 0, 9), (0, 2, 9), (1, 1, 9), (1, 2, 9))
    first, second = np.array([0, 0, 1]), np.array([0, 1, 0])
    for kind in (Permutation, Bootstrap):
        for i in range(20):
            plain, weights = kind(combinations)(np.random.default_rng(i))
            for of in (first, second):
                labels, same = Jointly(kind(combinations), of)(np.random.default_rng(i))
                assert np.array_equal(labels, of[plain])
                assert np.array_equal(same, weights)


def write_units(path, units, **labels):
    frame = pd.DataFrame(
        {"split": "train", "fold": 0, "group": [f"g{n:03d}" for n in units.groups], **labels}
    )
    frame = frame.assign(clips=1, tokens=units.tokens, active=list(units.active))
    tables.write(path, "units", frame)


def units_of(units):
    """The same units without the names of groups."""
    return Units(units.active, units.tokens, units.labels, units.groups, units.classes)


def test_tasks_of_one_dataset_are_drawn_together(tmp_path):
    """The second label goes with the first in 80 % of the groups, and does nothing by itself.

    If both are permuted, apart or together, the contrast is nearly always called; nothing is.
    """
    called = []
    settings = Inference(draws=39, bootstrap=2, halves=1)
    for seed in range(6):
        units, _ = simulated.units(seed, groups=40, classes=2, neurons=150, planted=5)
        other = np.where(np.random.default_rng(seed).random(40) < 0.8, units.labels, 1 - units.labels)
        write_units(tmp_path / "u.parquet", units, a=np.array(["x", "y"])[units.labels],
                    b=np.array(["x", "y"])[other])  # fmt: skip
        together = read_together(tmp_path / "u.parquet", ["a", "b"], ["train"], [RULE, RULE])
        apart = [Task.of(units_of(task.units), RULE) for task in together]
        plain, table = (infer_ratios(t, None, settings)[0].set_index("statistic") for t in (apart, together))
        called.append(plain.loc["contrast", "p_value"] <= 0.05)
        assert plain.loc["common_groups", "value"] == 0
        assert table.loc["contrast", "value"] == plain.loc["contrast", "value"]
        assert table[["p_value", "q_value"]].isna().all(axis=None)
        assert table.loc["labels_association", "value"] == pytest.approx(0.6, abs=0.25)
    assert np.mean(called) > 0.5


def test_association_of_labels_is_cramers_v():
    counts = np.array([[10, 0, 5], [3, 7, 1]])
    a, b = (x.ravel() for x in np.mgrid[:2, :3])
    units = Units(np.ones((6, 4), np.uint32), counts.ravel(), a, np.arange(6), ("x", "y"))
    units = replace(units, tokens=np.maximum(counts.ravel(), 0))
    tasks = [Task(units, RULE, None), Task(replace(units, labels=b, classes=("p", "q", "r")), RULE, None)]
    expected = stats.contingency.association(counts, method="cramer")
    assert association(tasks) == pytest.approx(expected)
    three = Task(replace(units, labels=b, classes=("p", "q", "r")), RULE, None)
    assert association([three, three]) == pytest.approx(1)
    one = Task(replace(units, labels=np.zeros(6, int), classes=("x",)), RULE, None)
    assert np.isnan(association([one, three]))


def test_combinations_of_two_labels_sum_to_each(tmp_path):
    units, _ = simulated.units(1, groups=10, classes=2, neurons=20, within=True)
    write_units(tmp_path / "u.parquet", units, a=units.labels.astype(str), b=(units.groups % 3).astype(str))
    found, of, classes = read_jointly(tmp_path / "u.parquet", ["a", "b"], None)
    assert classes == [("0", "1"), ("0", "1", "2")]
    assert found.names == tuple(f"g{n:03d}" for n in range(10))
    for place, expected in zip(of, (units.labels, units.groups % 3), strict=True):
        for c in np.unique(expected):
            mine, theirs = place[found.labels] == c, expected == c
            assert found.tokens[mine].sum() == units.tokens[theirs].sum()
            np.testing.assert_array_equal(found.active[mine].sum(0), units.active[theirs].sum(0))


def test_a_class_that_cannot_move_is_told():
    units = designs.sample("a class of single clips", 0, neurons=60)
    rows = infer(Task.of(units, RULE), Inference(draws=9, bootstrap=2, halves=1))[0]
    facts = rows[rows["family"] == ""].set_index(["statistic", "class_a"])["value"]
    assert facts["size_association", ""] > 0.5
    assert facts["movable", "a"] == 0
