from dataclasses import replace

import numpy as np
import pytest
import simulated
from scipy import stats

from audio_neurons.activations.units import Units
from audio_neurons.inference import replication
from audio_neurons.inference.inference import Task, infer
from audio_neurons.inference.inference import replication as replicated
from audio_neurons.inference.permutation import Permutation
from audio_neurons.inference.replication import Ranks, Splits, judge, transfer
from audio_neurons.inference.resampling import Bootstrap, Outcome
from audio_neurons.inference.sharing import infer_ratios
from audio_neurons.neurons.specificity import preferred, specificity
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import rule_of
from benchmarks import validity as designs

RULE = rule_of("aape", {"top_share": 0.05})
QUICK = Inference(draws=39, bootstrap=39, halves=1, replications=39, splits=2)


def values(units, settings=QUICK, rule=RULE):
    return replicated(Task.of(units, rule), settings)[0].set_index("statistic")


@pytest.mark.parametrize("first", [None, Permutation, Bootstrap])
@pytest.mark.parametrize("within", [False, True])
def test_no_group_chooses_and_judges(within, first):
    units = simulated.units(1, groups=20, classes=4, neurons=10, within=within)[0]
    scheme = Splits(units, 3, first and first(units))
    seen = set()
    for i in range(20):
        labels, weights = scheme(np.random.default_rng(i))
        assert labels.shape == weights.shape == (6, len(units.labels))
        for a, b in zip(weights[::2], weights[1::2], strict=True):
            assert not set(units.groups[a > 0]) & set(units.groups[b > 0])
            seen.add(tuple(a))
            if first is not Bootstrap:  # in which a class may be left with one group
                assert set(labels[0][a > 0]) == set(labels[0][b > 0]) == set(range(4))
        assert (weights[0] + weights[1] == weights[2] + weights[3]).all()
    assert len(seen) > 30


def test_judged_by_hand():
    """Neuron 0 belongs to class a, 1 to b, 2 to none; rows 0 to 3 judge, of them row 3 twice."""
    active = np.array([[8, 1, 0], [2, 1, 0], [4, 5, 0], [2, 1, 0], [0, 9, 9]], np.uint32)
    units = Units(active, np.array([10, 10, 10, 10, 10]), np.array([0, 0, 1, 1, 1]), np.arange(5), ("a", "b"))
    weights = np.array([1, 1, 1, 2, 0])
    ranks = Ranks(units)
    found = judge(units, units.labels, weights, np.array([0, 1, -1]), ranks)
    # Rates of a: .8, .2; of b: .4, .2, .2. Rates of b in neuron 1: .5, .1, .1; of a: .1, .1.
    auroc = [(3 + (0 + 0.5 + 0.5)) / 6, (2 + 1 + 1) / 6]
    odds = lambda k, n: np.log((k + 0.5) / (n + 1) / (1 - (k + 0.5) / (n + 1)))  # noqa: E731
    log_odds = [odds(10, 20) - odds(8, 30), odds(7, 30) - odds(2, 20)]
    assert found == pytest.approx([np.mean(auroc), np.mean(log_odds), 1])
    assert np.isnan(judge(units, units.labels, weights, np.array([-1, -1, -1]), ranks)).all()
    absent = np.array([1, 1, 0, 0, 0])  # no row of class b
    assert np.isnan(judge(units, units.labels, absent, np.array([0, 1, -1]), ranks)).all()


def test_areas_do_not_depend_on_the_block(monkeypatch):
    units = simulated.units(1, groups=20, classes=3, neurons=30)[0]
    of = np.arange(30) % 4 - 1
    known = judge(units, units.labels, np.ones(20, int), of, Ranks(units))
    monkeypatch.setattr(replication, "BLOCK", 7)
    np.testing.assert_array_equal(judge(units, units.labels, np.ones(20, int), of, Ranks(units)), known)


@pytest.mark.parametrize("within", [False, True])
def test_planted_neurons_replicate(within):
    units, _ = simulated.units(1, groups=40, classes=4, neurons=400, planted=5, within=within)
    rows = values(units)
    assert rows["value"]["auroc"] > 0.95
    assert rows["value"]["again"] > 0.95
    assert rows["value"]["log_odds"] > 2
    assert (rows["p_value"] == 1 / 40).all()
    assert (rows["low"] <= rows["value"] + 0.02).all()
    assert rows["null_mean"]["auroc"] == pytest.approx(0.5, abs=0.03)
    assert rows["null_mean"]["again"] == pytest.approx(1 / 4, abs=0.1)


def test_chosen_neurons_look_specific_on_the_groups_that_chose_them_and_not_on_others():
    """No class does anything: the best of many neurons have low entropy all the same."""
    units = simulated.units(5, groups=24, classes=4, neurons=800, spread=5)[0]
    task = Task.of(units, RULE)
    assert specificity(task.chosen)[3] > 0.15
    rows = values(units)
    assert rows["value"]["auroc"] == pytest.approx(0.5, abs=0.06)
    assert rows["p_value"]["auroc"] > 0.05


def test_a_model_that_is_active_half_of_the_time_is_no_worse():
    """Log odds of activity shifted by 3: rates from 5 % to 50 %, and the same difference between classes."""
    rng = np.random.default_rng(0)
    label, effect = np.arange(40) % 2, np.zeros((2, 300))
    effect[0, :20], effect[1, 20:40] = 0.5, 0.5
    odds = effect[label] + rng.normal(0, 0.3, (40, 300))
    both = {}
    for name, shift in (("seldom", -3.0), ("often", 0.0)):
        counts = rng.binomial(4000, 1 / (1 + np.exp(-odds - shift))).astype(np.uint32)
        units = Units(counts, np.full(40, 4000), label, np.arange(40), ("a", "b"))
        both[name] = values(units, rule=rule_of("pearson", {"top_share": 0.06}))["value"]
    assert both["often"]["auroc"] == pytest.approx(both["seldom"]["auroc"], abs=0.05)


@pytest.mark.parametrize(
    "name", ["balanced", "a class of single clips within speakers", "one group of most clips"]
)
def test_size_of_the_test_of_replication(name):
    p = [
        values(designs.sample(name, seed, neurons=120), QUICK.changed(bootstrap=1, splits=1))["p_value"][
            "auroc"
        ]
        for seed in range(25)
    ]
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * (0.05 * 0.95 / 25) ** 0.5
    if name == "balanced":
        assert stats.kstest(np.array(p) - 1 / 80, "uniform").pvalue > 0.01


def test_models_are_resampled_alike_and_the_same_seed_gives_the_same(tmp_path):
    units = simulated.units(3, groups=20, classes=3, neurons=100, planted=3, spread=5)[0]
    twin = replace(units, active=units.active[:, np.random.default_rng(1).permutation(100)])
    rule = rule_of("mad", {"top_share": 0.05})
    first, second, again = (replicated(Task.of(u, rule), QUICK)[1]["value"] for u in (units, twin, units))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, second)
    assert first.nunique() > 30


def test_a_class_of_one_group_is_judged_by_the_others():
    units = simulated.units(1, groups=9, classes=2, neurons=50)[0]
    rows = values(replace(units, labels=np.array([0] * 8 + [1])))
    assert rows["value"].notna().all()
    one = values(replace(units, labels=np.arange(9) % 2, groups=np.arange(9)))
    assert one["value"].notna().all()
    alone = values(replace(units, labels=np.array([0, 1] + [2] * 7)[:9], classes=("a", "b", "c")))
    assert 0 <= alone["value"]["auroc"] <= 1 or np.isnan(alone["value"]["auroc"])


def test_infer_tells_what_replicates():
    units = simulated.units(1, groups=12, classes=2, neurons=60, planted=3)[0]
    rows, draws, _ = infer(Task.of(units, RULE), QUICK)
    assert rows["statistic"].isin(["auroc", "log_odds", "again"]).sum() == 3
    assert (draws["statistic"] == "auroc").sum() == 39


# Across datasets


def outcome(task):
    return Outcome(task.chosen, task.units.labels, np.ones_like(task.units.labels))


def test_transfer_is_the_mean_area_of_the_other_tasks_matching_class():
    tasks = [Task.of(simulated.units(seed, 30, 3, 200, planted=4)[0], RULE) for seed in (1, 2)]
    same = [{0: [1, 2], 1: [0]}, {1: [0], 2: [0], 0: [1]}]
    areas = []
    for side, there in ((0, 1), (1, 0)):
        units = tasks[there].units
        for neuron, c in enumerate(preferred(tasks[side].chosen)):
            if c in same[side]:
                own = np.isin(units.labels, same[side][c])
                rate = units.active[:, neuron] / units.tokens
                areas.append(stats.mannwhitneyu(rate[own], rate[~own]).statistic / own.sum() / (~own).sum())
    both, drawn = [t.units for t in tasks], [outcome(t) for t in tasks]
    ranks = [Ranks(units) for units in both]
    assert transfer(both, drawn, same, ranks) == pytest.approx(np.mean(areas))
    assert np.isnan(transfer(both, drawn, [{}, {}], ranks))


def test_neurons_of_one_dataset_know_the_classes_of_another_only_if_they_do():
    for planted, seeds in ((5, (1, 2)), (0, (3, 4))):
        tasks = [Task.of(simulated.units(s, 24, 3, 300, planted=planted, spread=10)[0], RULE) for s in seeds]
        rows = infer_ratios(tasks, None, QUICK)[0].set_index("statistic")
        assert (rows.loc["transfer", "p_value"] <= 0.05) == bool(planted)
        assert rows.loc["transfer", "value"] == pytest.approx(1 if planted else 0.5, abs=0.1)
