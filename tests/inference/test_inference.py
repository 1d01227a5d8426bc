from dataclasses import replace

import interval_coverage
import numpy as np
import pandas as pd
import pytest
import simulated
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audio_neurons import tables
from audio_neurons.inference import inference, resampling
from audio_neurons.inference import sharing as inferred_sharing
from audio_neurons.inference.inference import Task, infer, ratios, task_statistics
from audio_neurons.inference.permutation import Permutation
from audio_neurons.inference.resampling import Bootstrap, Draws, draw
from audio_neurons.inference.sharing import infer_ratios
from audio_neurons.inference.significance import interval
from audio_neurons.neurons import selection, sharing
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import Rule, rule_of

QUICK = Inference(draws=39, bootstrap=39, halves=10, splits=1)
# Without what replicates on other groups, where that is not looked at: it takes most of the time.
HERE = {"splits": 1, "replications": 1}
RULE = rule_of("aape", {"top_share": 0.05})


sets = st.integers(1, 4).flatmap(
    lambda c: st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=c, max_size=c)
)


@settings(deadline=None, max_examples=50)
@given(sets, sets)
def test_ratios_are_those_of_sets(a, b):
    a, b = np.array(a), np.array(b)
    found = ratios(a, b)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            expected = sharing.ratio(*(frozenset((0, n) for n in np.flatnonzero(s)) for s in (x, y)))
            np.testing.assert_equal(found[i, j], expected)


# Under the null


@pytest.mark.parametrize("within", [False, True])
def test_p_values_of_neurons_are_uniform_under_the_null(within):
    """Groups differ and classes do not: only permutation of groups keeps its level."""
    units, _ = simulated.units(3, groups=24, classes=3, neurons=1500, within=within, spread=10)
    *_, found = infer(Task.of(units, RULE), QUICK.changed(draws=199, bootstrap=1, halves=1, **HERE))
    p = found["p_value"]
    assert stats.kstest(p - 1 / 400, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.02)
    assert (found["q_value"] <= 0.05).sum() == 0
    # If clips are treated as independent, the same data give many false discoveries.
    if not within:
        parts = 8
        as_clips = replace(
            units,
            active=np.repeat(units.active // parts, parts, axis=0),
            tokens=np.repeat(units.tokens // parts, parts),
            labels=np.repeat(units.labels, parts),
            groups=np.arange(parts * len(units.groups)),
        )
        *_, naive = infer(Task.of(as_clips, RULE), QUICK.changed(draws=99, bootstrap=1, halves=1, **HERE))
        assert (naive["p_value"] <= 0.05).mean() > 0.3


@pytest.mark.parametrize("within", [False, True])
def test_p_values_of_statistics_are_uniform_under_the_null(within):
    """Mean entropy of selected neurons and contrast of two tasks, over simulated data."""
    entropy, contrast = [], []
    settings = Inference(draws=39, bootstrap=1, halves=1, **HERE)
    for seed in range(100):
        tasks = [
            Task.of(
                simulated.units(2 * seed + side, 12, 2, 60, within=within)[0],
                rule_of("mad", {"top_share": 0.2}),
            )
            for side in (0, 1)
        ]
        rows, *_ = infer(replace(tasks[0], rule=RULE, chosen=Task.of(tasks[0].units, RULE).chosen), settings)
        entropy.append(rows.set_index("statistic").loc["entropy", "p_value"])
        rows = infer_ratios(tasks, None, settings)[0].set_index("statistic")
        contrast.append(rows.loc["contrast", "p_value"])
    for p in (entropy, contrast):
        assert stats.kstest(np.array(p) - 1 / 80, "uniform").pvalue > 0.01
        assert np.mean(np.array(p) <= 0.1) < 0.2


# With something to find


@pytest.mark.parametrize("within", [False, True])
def test_planted_neurons_stand_out(within):
    units, truth = simulated.units(1, groups=40, neurons=600, planted=8, within=within)
    task = Task.of(units, rule_of("aape", {"top_share": 32 / 600}))
    rows, _, found = infer(task, QUICK.changed(draws=199, **HERE))
    planted = truth.any(0)
    assert (found["p_value"][planted] == 1 / 200).all()
    assert (found["q_value"][planted] < 0.1).all()
    assert (found["q_value"][~planted] < 0.1).mean() < 0.02
    assert found["selected"][planted].min() > 0.9
    assert found["assigned"][truth].min() > 0.9
    assert found["assigned"][~truth].mean() < 0.02
    rows = rows.set_index("statistic")
    assert rows.loc["entropy", ["p_value", "p_less", "p_greater"]].tolist() == [2 / 200, 1 / 200, 1]
    assert rows.loc["coverage", "value"] == 1
    assert (rows.loc["neurons", "repeatability"] > 0.6).all()
    assert rows.loc["neurons", "family"].unique().tolist() == ["neurons of 4 classes"]
    assert (rows.loc["neurons", "groups"] == (40 if within else 10)).all()


def test_permuted_classes_are_alike_so_that_a_task_shares_more_under_its_null():
    units, _ = simulated.units(1, groups=40, neurons=600, planted=8, spread=200)
    rows, draws = (t.set_index("statistic") for t in infer_ratios([Task.of(units, RULE)], None, QUICK))
    assert (rows.loc["ratio", "null_mean"] > 0.3).all()
    assert (rows.loc["ratio", "value"] < 0.1).all()
    assert (rows.loc["ratio", "p_greater"] == 1).all()
    assert (rows.loc["ratio", "p_less"] == 1 / 40).all()
    assert (rows.loc["ratio", "p_value"] == 2 / 40).all()
    assert set(rows.index) == {"ratio", "centred", "mean_other", "first", "top3"}
    assert set(draws.index) == {"mean_other"}


def test_two_tasks_that_share_by_class():
    tasks = [
        Task.of(simulated.units(seed, neurons=600, planted=8, within=seed == 2)[0], RULE) for seed in (1, 2)
    ]
    table, _ = infer_ratios(tasks, None, QUICK)
    assert len(table) == 4 * 16 + 5 + 1
    rows = table.set_index(["statistic", "class_a", "class_b"])
    assert rows.loc[("contrast", "", ""), "p_value"] == 1 / 40
    assert rows.loc[("contrast", "", ""), "value"] == pytest.approx(
        rows.loc[("mean_matched", "", ""), "value"] - rows.loc[("mean_other", "", ""), "value"]
    )
    own = [inference.repeatabilities(task, QUICK) for task in tasks]
    same = rows.loc[("ratio", "b", "b")]
    assert same["value"] > 0.5
    assert same["q_value"] < 0.2
    assert same["repeatability"] == pytest.approx((own[0][1] * own[1][1]) ** 0.5)
    assert same["low"] <= same["value"] <= same["high"]
    assert same["groups"] == 10
    both, apart = (rows.loc[(name, "", ""), "value"] for name in ("mean_matched", "mean_other"))
    assert rows.loc[("normalised", "", ""), "value"] == pytest.approx((both - apart) / (both + apart))
    pairs = table[table["statistic"] == "centred"].set_index(["class_a", "class_b"])
    assert set(pairs.index[pairs["q_value"] < 0.05]) == {(c, c) for c in "abcd"}
    ranks = table[table["statistic"] == "top3"].set_index(["class_a", "class_b"])["value"]
    assert ranks.nlargest(3).index.isin([(c, c) for c in "abcd"]).all()
    assert rows.loc[("common_groups", "", ""), "value"] == 0


def test_repeatabilities_are_mean_ratios_of_halves():
    """Classes have one, two and five groups; a class without neurons in both halves counts as 0."""
    units = simulated.units(1, groups=8, classes=3, neurons=200, planted=5)[0]
    order = np.argsort(units.labels, kind="stable")
    units = replace(units, active=units.active[order], labels=np.repeat(range(3), [1, 2, 5]))
    task = Task.of(units, RULE)
    ratios = []
    for halves in draw(task.units, task.rule, resampling.Halves(task.units), Draws(10)):
        sets = [[{*np.flatnonzero(row)} for row in half.assigned] for half in halves]
        ratios.append([len(a & b) / len(a | b) if a | b else 0 for a, b in zip(*sets, strict=True)])
    found = inference.repeatabilities(task, QUICK)
    np.testing.assert_allclose(found, [np.nan, *np.mean(ratios, axis=0)[1:]])
    two = Task.of(replace(units, labels=np.repeat(range(4), 2), classes=tuple("abcd")), RULE)
    assert not np.isnan(inference.repeatabilities(two, QUICK)).any()
    assert (inference.repeatabilities(task, QUICK.changed(seed=1)) != found).all()


def test_repeatabilities_and_groups_of_a_pair_are_those_of_its_two_classes():
    """Classes of 2, 4 and 8 groups in one task, of 6 and 3 in the other."""
    sizes = [2, 4, 8], [6, 3]
    tasks = []
    for seed, groups in enumerate(sizes, 1):
        units = simulated.units(seed, groups=sum(groups), classes=len(groups), neurons=300, planted=5)[0]
        order = np.argsort(units.labels, kind="stable")
        units = replace(units, active=units.active[order], labels=np.repeat(range(len(groups)), groups))
        tasks.append(Task.of(units, RULE))
    own = [inference.repeatabilities(task, QUICK) for task in tasks]
    table = infer_ratios(tasks, None, QUICK)[0]
    rows = table[~table["statistic"].isin(["centred", "first", "top3"])].set_index(["class_a", "class_b"])
    for i, a in enumerate("abc"):
        for j, b in enumerate("ab"):
            assert rows.loc[(a, b), "groups"] == min(sizes[0][i], sizes[1][j])
            assert rows.loc[(a, b), "repeatability"] == pytest.approx((own[0][i] * own[1][j]) ** 0.5)
    ratios = rows[rows["statistic"] == "ratio"]
    matched = ratios.index.isin([("a", "a"), ("b", "b")])
    means = rows.set_index("statistic")
    for name, mine in (("mean_matched", matched), ("mean_other", ~matched)):
        assert means.loc[name, "repeatability"] == pytest.approx(ratios.loc[mine, "repeatability"].mean())
        assert means.loc[name, "groups"] == 9
    assert np.isnan(means.loc["contrast", "repeatability"])
    # Each of these is a family of its own, so it is not adjusted.
    three = means.loc[["mean_matched", "mean_other", "contrast"]]
    assert three["q_value"].tolist() == three["p_value"].tolist()
    assert (ratios["q_value"] >= ratios["p_value"]).all()
    assert (ratios["q_value"] > ratios["p_value"]).any()


def test_two_tasks_are_drawn_independently():
    """Even with the same groups: the two draws of a task compared with itself differ."""
    task = Task.of(simulated.units(1, groups=12, classes=3, neurons=100, spread=3)[0], RULE)
    rows, draws = infer_ratios([task, task], None, QUICK)
    assert rows.set_index("statistic").loc["mean_matched", "value"] == 1
    assert (draws.loc[draws["statistic"] == "mean_matched", "value"] < 1).all()
    assert rows.set_index("statistic").loc["mean_matched", "null_high"] < 1


def test_a_task_of_one_class_has_no_pairs():
    units = simulated.units(1, groups=6, classes=1, neurons=50)[0]
    rows, draws = infer_ratios([Task.of(units, RULE)], None, QUICK)
    assert rows["statistic"].tolist() == ["mean_other"]
    assert rows[["value", "p_value", "low", "high", "repeatability"]].isna().all(axis=None)
    assert len(draws) == QUICK.bootstrap


def test_pairs_say_what_is_compared():
    a = Task.of(simulated.units(1, neurons=100)[0], RULE)
    b = Task.of(replace(simulated.units(2, neurons=100)[0], classes=("w", "x", "y", "z")), RULE)
    table = infer_ratios([a, b], [("b", "x"), ("a", "w"), ("a", "gone")], QUICK)[0]
    pairs = table[table["statistic"] == "ratio"]
    assert list(zip(pairs["class_a"], pairs["class_b"], strict=True)) == [
        ("b", "x"), ("b", "w"), ("a", "x"), ("a", "w"),
    ]  # fmt: skip
    assert pairs["family"].unique().tolist() == ["4 pairs of classes"]


@pytest.mark.parametrize("pairs", [[], [("a", "gone"), ("gone", "b")]])
def test_where_no_pair_is_left_nothing_is_compared(pairs, tmp_path):
    """Without ``pairs``, in contrast, all classes are compared."""
    tasks = [Task.of(simulated.units(seed, neurons=100)[0], RULE) for seed in (1, 2)]
    rows, draws = infer_ratios(tasks, pairs, QUICK)
    *tested, common = rows["statistic"].tolist()
    assert tested == ["mean_matched", "mean_other", "contrast", "normalised", "transfer"]
    assert common == "common_groups"
    columns = ["value", "p_value", "q_value", "low", "high", "repeatability"]
    assert rows[columns].iloc[:-1].isna().all(axis=None)
    tables.write(tmp_path / "inference.parquet", "inference", rows)
    tables.write(tmp_path / "draws.parquet", "draws", draws)


def test_bootstrap_intervals_cover_near_their_level():
    """Intervals of a neuron's entropy, against the entropy of the rates that groups vary around."""
    every = Rule(response_filter="weakest", weakest_share=0.0, top_share=1.0)
    p = np.array([0.3, 0.2, 0.1])
    share = p / p.sum()
    truth = -(share * np.log(share)).sum()
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(150):
        rates = rng.beta(30 * p, 30 * (1 - p), (60, 3)).ravel()
        labels, groups = np.tile(np.arange(3), 60), np.repeat(np.arange(60), 3)
        counts = rng.binomial(400, rates)[:, None].astype(np.uint32)
        units = resampling.Units(counts, np.full(180, 400), labels, groups, ("a", "b", "c"))
        values = [task_statistics(c)[2:3] for (c,) in draw(units, every, Bootstrap(units), Draws(120, seed))]
        low, high = interval(np.stack(values), 0.95)
        covered.append(low[0] <= truth <= high[0])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


def test_intervals_cover_what_other_samples_of_this_size_give():
    """If few neurons are stable, an interval may miss the value, but not the expected value."""
    found = interval_coverage.covered(50, samples=100, cases=40, draws=100, endless=50)
    assert (found.loc["percentiles", "samples of this size"] >= 0.9).all()
    assert (found.loc["reverse percentiles", "samples of this size"] < 0.8).all()


# Edges


def test_a_class_of_one_group_and_a_dead_neuron():
    units, _ = simulated.units(1, groups=9, classes=2, neurons=50)
    labels = np.array([0] * 8 + [1])
    active = units.active.copy()
    active[:, 7] = 0
    rows, _, found = infer(Task.of(replace(units, labels=labels, active=active), RULE), QUICK)
    assert np.isnan(found["p_value"]).nonzero()[0].tolist() == [7]
    assert np.isnan(rows[rows["statistic"] == "neurons"].set_index("class_a").loc["b", "repeatability"])
    assert rows["groups"].tolist()[:9] == [9] * 7 + [8, 1]


@pytest.mark.parametrize("labels", [[0, 1], [0, 0], [0, 1, 2]])
def test_as_few_groups_as_can_be(labels):
    units, _ = simulated.units(1, groups=len(labels), classes=3, neurons=50)
    small = replace(units, labels=np.array(labels), groups=np.zeros(len(labels), int) + np.array(labels))
    rows, _, _ = infer(Task.of(small, RULE), QUICK)
    assert rows["repeatability"].isna().all()
    assert np.isnan(inference.repeatabilities(Task.of(small, RULE), QUICK)).all()
    again = ["auroc", "log_odds", "again"]
    tested = rows[(rows["family"] != "") & ~rows["statistic"].isin(again)]
    assert tested["groups"].tolist() == [len(set(labels))] * 7 + [1] * len(set(labels))


def test_classes_without_clips_have_no_rows():
    units, _ = simulated.units(1, groups=9, classes=2, neurons=50)
    rows, *_ = infer(Task.of(replace(units, labels=units.labels * 2, classes=("a", "b", "c")), RULE), QUICK)
    assert rows.loc[rows["statistic"] == "neurons", "class_a"].tolist() == ["a", "c"]


# Draws


def other_model(units, seed):
    """The same clips in another model, whose neurons are those of ``units`` in another order."""
    return replace(
        units, active=units.active[:, np.random.default_rng(seed).permutation(units.active.shape[1])]
    )


@pytest.mark.parametrize("within", [False, True])
def test_every_number_of_a_task_follows_from_its_draws(within):
    """With few groups, some permutations equal the labels, and some neurons equal their null."""
    units = simulated.units(3, groups=3, classes=2, neurons=40, within=within)[0]
    task = Task.of(units, rule_of("aape", {"top_share": 0.1}))
    rows, draws, found = infer(task, QUICK)
    null, boot = (
        [c for (c,) in draw(task.units, task.rule, scheme(task.units), Draws(39))]
        for scheme in (Permutation, Bootstrap)
    )
    h = np.array([c.entropy for c in null])
    assert (h == task.chosen.entropy).any()
    np.testing.assert_allclose(
        found["p_value"], [(1 + (x <= y).sum()) / 40 for x, y in zip(h.T, task.chosen.entropy, strict=True)]
    )
    np.testing.assert_allclose(found["null_entropy"], h.mean(0))
    np.testing.assert_allclose(found["selected"], np.mean([c.selected for c in boot], axis=0))
    np.testing.assert_allclose(found["assigned"], np.mean([c.assigned for c in boot], axis=0))

    facts = rows[rows["family"] == ""]
    assert set(facts["statistic"]) == {"size_association", "movable", "effective_groups"}
    again = ["auroc", "log_odds", "again"]
    rows = rows[(rows["family"] != "") & ~rows["statistic"].isin(again)]
    specific = ["classes_per_neuron", "exclusive", "everywhere", "colligation"]
    names = ["coverage", "neurons_per_class", "entropy", *specific, "neurons", "neurons"]
    assert rows["statistic"].tolist() == names
    assert rows["class_a"].tolist() == [*[""] * 7, "a", "b"]
    assert set(rows["class_b"]) == {""}
    assert set(rows["alternative"]) == {"two-sided"}
    assert rows["family"].tolist() == ["alone"] * 7 + ["neurons of 2 classes"] * 2
    rows = rows[~rows["statistic"].isin(specific)]

    def plainly(c):
        sizes = [int(row.sum()) for row in c.assigned]
        chosen = [x for x, s in zip(c.entropy, c.selected, strict=True) if s]
        return [sum(n > 0 for n in sizes) / 2, sum(sizes) / 2, sum(chosen) / len(chosen), *sizes]

    np.testing.assert_allclose(rows["value"], plainly(task.chosen))
    np.testing.assert_allclose(rows["null_mean"], np.mean([plainly(c) for c in null], axis=0))
    drawn = np.array([plainly(c) for c in boot])
    np.testing.assert_allclose(rows[["low", "high"]].T, np.quantile(drawn, [0.025, 0.975], axis=0))
    for name, values in zip(["coverage", "neurons_per_class", "entropy"], drawn.T, strict=False):
        mine = draws[draws["statistic"] == name]
        assert mine["draw"].tolist() == list(range(39))
        np.testing.assert_allclose(mine["value"], values)


def test_statistics_of_a_selection_by_hand():
    chosen = selection.Selection(
        response=np.array([[0.5, 0.5, 0, 0], [0.1, 0.1, 0, 0.1], [0.1, 0.6, 0.1, 0]]),
        entropy=np.array([0.1, 0.5, np.nan, 0.2]),
        candidates=np.ones(4, bool),
        selected=np.array([True, True, True, False]),
        eligible=np.ones(4, bool),
        assigned=np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]], bool),
        response_threshold=0.0,
        assignment_threshold=0.0,
    )
    found = task_statistics(chosen)
    np.testing.assert_allclose(found[[0, 1, 2, 3, 4, 5, 7, 8, 9]], [2 / 3, 1, 0.3, 1.5, 0.5, 0, 2, 0, 1])
    # Odds of 1 against 1/9, and of 3/2 against 3/7.
    y = [(np.sqrt(o) - 1) / (np.sqrt(o) + 1) for o in (9, 3.5)]
    assert found[6] == pytest.approx(np.mean(y))
    none = replace(chosen, selected=np.zeros(4, bool), assigned=np.zeros((3, 4), bool))
    np.testing.assert_array_equal(task_statistics(none), [0, 0, *[np.nan] * 5, 0, 0, 0])


@pytest.mark.parametrize("within", [False, True])
def test_models_of_a_task_are_resampled_alike(within):
    """Two models that differ only in the order of their neurons agree in every draw."""
    every = rule_of("mad", {"top_share": 0.1})  # has no ties, so the order of neurons does not matter
    units = [simulated.units(seed, neurons=200, planted=5, within=within, spread=5)[0] for seed in (1, 2)]
    mine, twin = (
        [Task.of(change(one), RULE) for one in units] for change in (lambda u: u, lambda u: other_model(u, 7))
    )
    first, second = (infer(task[0], QUICK)[1] for task in (mine, twin))
    pd.testing.assert_frame_equal(first, second)
    assert first.groupby("statistic")["value"].nunique()["entropy"] > 30
    first, second = (
        infer_ratios(
            [replace(t, rule=every, chosen=Task.of(t.units, every).chosen) for t in tasks], None, QUICK
        )[1]
        for tasks in (mine, twin)
    )
    # The neurons of both tasks are permuted alike, so ratios are kept too.
    pd.testing.assert_frame_equal(first, second)
    assert first.groupby("statistic")["value"].nunique()["contrast"] > 5


def test_a_resample_is_of_groups_and_classes_alone(monkeypatch):
    """The same groups are drawn whatever the model's counts; the two sides of a comparison differ."""
    units, _ = simulated.units(1, groups=20, within=True)
    noise = np.random.default_rng(1).integers(0, 9, (len(units.labels), 50)).astype(np.uint32)
    seen = []
    monkeypatch.setattr(
        resampling,
        "totals",
        lambda u, *drawn, totals=resampling.totals: seen.append(drawn) or totals(u, *drawn),
    )
    for side in (0, 1):
        for one in (units, replace(units, active=noise)):
            list(
                draw(resampling.pooled(one), RULE, Bootstrap(resampling.pooled(one)), Draws(5, 3, side=side))
            )
    (labels, weights), again, other, _ = seen
    assert np.array_equal(labels, again[0])
    assert np.array_equal(weights, again[1])
    assert not np.array_equal(weights, other[1])


def test_of_too_many_pairs_only_the_means_are_resampled_and_it_is_told(monkeypatch, capsys):
    units, _ = simulated.units(1, groups=24, classes=6, neurons=300, planted=3, spread=80.0)
    task = Task.of(units, RULE)
    monkeypatch.setattr(inferred_sharing, "MOST_PAIRS", 15)
    whole, draws = infer_ratios([task], None, QUICK)
    assert (whole["statistic"] == "ratio").sum() == 15
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(inferred_sharing, "MOST_PAIRS", 14)
    means, drawn = infer_ratios([task], None, QUICK)
    of_pairs = ["ratio", "centred", "first", "top3"]
    expected = whole[~whole["statistic"].isin(of_pairs)].reset_index(drop=True)
    pd.testing.assert_frame_equal(means.reset_index(drop=True), expected, check_dtype=False)
    pd.testing.assert_frame_equal(drawn, draws)
    told = (
        "15 pairs of classes are too many to resample each, which would take 1.9e-05 GB for 39 permutations"
    )
    assert told in capsys.readouterr().err
