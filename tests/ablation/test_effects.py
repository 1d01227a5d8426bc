"""The arithmetic of effects, by hand."""

import numpy as np
import pandas as pd
import pytest

from audio_neurons import tables
from audio_neurons.ablation.conditions import Condition, NeuronSet
from audio_neurons.ablation.effects import ALL, Clusters, Measured, controls_of, effects, mcnemar
from audio_neurons.ablation.intervention import Change
from audio_neurons.settings.ablation import Conditions
from benchmarks import validity

SETTINGS = Conditions(bootstrap=200, confidence=0.9)
A, B = (NeuronSet("class", name, (name,), frozenset({(2, 1), (1, 5)})) for name in "ab")


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [(0, 0, 1), (4, 0, 0.125), (0, 6, 2 / 64), (8, 2, 2 * (1 + 10 + 45) / 1024), (5, 5, 1), (1, 0, 1)],
)
def test_mcnemar_by_hand(lost, gained, p):
    assert mcnemar(lost, gained) == pytest.approx(p)


def test_intervals_of_clusters_draw_whole_groups():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(30), 10)
    values = rng.normal(0, 1, 30)[group] + 0.01 * rng.normal(0, 1, 300)
    low, high = Clusters(group, 2000, np.random.default_rng(1)).interval(values[None], 0.95)
    width = 2 * 1.96 * values.reshape(30, 10).mean(1).std() / np.sqrt(30)
    assert (high - low)[0] == pytest.approx(width, rel=0.1)
    assert low[0] < values.mean() < high[0]
    alone = Clusters(np.arange(300), 2000, np.random.default_rng(1)).interval(values[None], 0.95)
    assert (alone[1] - alone[0])[0] < 0.5 * width
    for args in ((np.zeros(300), 100), (group, 0)):
        assert np.isnan(Clusters(*args, rng).interval(values[None], 0.95)).all()


def test_intervals_of_clusters_against_drawing_one_by_one():
    values, group = np.array([[1.0, 2, 4, 8, 16]]), np.array([0, 0, 1, 2, 2])
    low, high = Clusters(group, 4000, np.random.default_rng(0)).interval(values, 0.9)
    members = [np.flatnonzero(group == g) for g in range(3)]
    rng = np.random.default_rng(5)
    means = [
        values[0, np.concatenate([members[g] for g in rng.integers(0, 3, 3)])].mean() for _ in range(4000)
    ]
    np.testing.assert_allclose([low[0], high[0]], np.quantile(means, [0.05, 0.95]), rtol=0.1)


def test_intervals_of_clusters_of_two_groups_by_hand():
    """Both of one group, or one of each: a quarter, a quarter and a half of the draws."""
    values = np.array([[1.0, 5, 5, 5], [0, 3, 3, 6]])
    low, high = Clusters(list("xyyy"), 400, np.random.default_rng(0)).interval(values, 0.9)
    assert (low.tolist(), high.tolist()) == ([1, 0], [5, 4])
    low, high = Clusters(list("xyyy"), 400, np.random.default_rng(0)).interval(values, 0.1)
    assert (low.tolist(), high.tolist()) == ([4, 3], [4, 3])


def test_sums_of_outcomes_by_hand():
    frame = pd.DataFrame({"clip_id": list("vwxyz"), "class": list("aabbb")})
    measured = Measured.empty(frame, "ab", (0,), 1, [0])
    before = np.array([[0, 1, 1, 1, 0]]), np.log([[0.9, 0.4, 0.8, 0.7, 0.3]])
    after = np.array([[1, 0, 1, 0, 0]]), np.log([[0.45, 0.8, 0.8, 0.35, 0.3]])
    for rows in (np.array([1, 2, 3]), np.array([0, 4])):
        measured.add(rows, {k: (p[:, rows], t[:, rows]) for k, (p, t) in ((-1, before), (0, after))})
    assert measured.correct[0].tolist() == [[1, 1]]
    assert measured.lost[0].tolist() == [[1, 1]]
    assert measured.gained[0].tolist() == [[1, 0]]
    # Integers: sums do not depend on how clips are divided among batches.
    for sums in (measured.correct, measured.lost, measured.gained, measured.change):
        assert sums.dtype == np.int64
    np.testing.assert_allclose(measured.change[0] / 2**32, [[0, np.log(0.5)]], atol=1e-9)
    for kept, given in ((measured.before, before), (measured.kept[0], after)):
        for mine, theirs in zip(kept, given, strict=True):
            np.testing.assert_array_equal(mine, theirs)


# Four clips of class a (two groups), four of b (two groups, of one and three clips), one of c, none of d.
FRAME = pd.DataFrame({"class": list("aaaabbbbc"), "group": list("xxyyuvvvw")})
RIGHT = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2])
BEFORE = np.array([RIGHT, RIGHT])
BEFORE[0, 4] = 3  # the first probe has one clip of b wrong


def one(measured, k, now, change):
    """Add a change of the nine clips: predictions and changes of log-probability (2, 9)."""
    logs = np.full((2, 9), -5.0)
    measured.add(np.arange(9), {-1: (BEFORE, logs), k: (np.array(now), logs + np.array(change))})


def controls(drawn: float, number: int, chosen=A, gain=0.0, replacement="zero"):
    """Return a random control that changes every clip of class a by ``drawn``, and nothing else."""
    condition = Condition(chosen, Change(frozenset({(0, number)}), gain, replacement), "random", number)
    return condition, BEFORE, [[drawn] * 4 + [0] * 5] * 2


@pytest.fixture
def study():
    """Random controls of class a, class a, its shifted control, its half, the same around means, class b."""
    change = [[-4, -4, -2, -2, -1, 0, 0, 1, 3], [-3, -3, -1, -1, 0, 0, 0, 0, 1]]
    now = [[1, 1, 1, 1, 1, 1, 1, 1, 2], [1, 0, 0, 0, 1, 1, 1, 0, 2]]  # a lost, b gained; one of each lost
    done = [
        *(controls(drawn, n) for n, drawn in enumerate((-3.0, -2.5, 0.0))),
        (Condition(A, Change(A.neurons)), now, change),
        (Condition(A, Change(A.neurons), "shifted"), BEFORE, np.zeros((2, 9))),
        controls(-9.0, 0, gain=0.5),
        (Condition(A, Change(A.neurons, 0.5)), now, change),
        (Condition(A, Change(A.neurons, 0.0, "mean")), now, change),
        (Condition(B, Change(B.neurons)), now, change),
    ]
    found = [condition for condition, *_ in done]
    keep = [k for k, c in enumerate(found) if c.control != "random"]
    measured = Measured.empty(FRAME, "abcd", (3, 5), len(done), keep)
    for k, (_, now, change) in enumerate(done):
        one(measured, k, now, change)
    for k, others in controls_of(found).items():
        for other in others:
            measured.pool([k], np.full((2, 9), -5.0) + np.array(done[other][2]))
    for k, odds in ((-1, [5, 4, 3, 2, 1, 0, -1, -2, 9]), (3, [5, 4, -1, -3, 1, 0, -1, -2, -9])):
        measured.add_odds(np.arange(9), {(k, 0): np.array(odds, np.float32)})
    return measured, found


@pytest.fixture
def table(study):
    return effects(*study, SETTINGS, "train")


def of(table, condition, probe):
    rows = table[(table["condition"] == condition) & (table["probe"] == probe)]
    assert rows["class"].tolist() == ["*", "a", "b", "c"]  # no clip is of class d
    return rows


@pytest.mark.parametrize(
    ("probe", "column", "values"),
    [
        ("3", "n", [9, 4, 4, 1]),
        ("3", "accuracy_before", [8 / 9, 1, 3 / 4, 1]),
        ("5", "accuracy_before", [1, 1, 1, 1]),
        ("mean", "accuracy_before", [17 / 18, 1, 7 / 8, 1]),
        ("3", "accuracy", [5 / 9, 0, 1, 1]),
        ("5", "accuracy", [7 / 9, 3 / 4, 3 / 4, 1]),
        ("mean", "accuracy", [6 / 9, 3 / 8, 7 / 8, 1]),
        ("3", "delta", [-3 / 9, -1, 1 / 4, 0]),
        ("5", "delta", [-2 / 9, -1 / 4, -1 / 4, 0]),
        ("mean", "delta", [-5 / 18, -5 / 8, 0, 0]),
        ("3", "mcnemar_p", [2 * 6 / 32, 2 / 16, 1, 1]),  # 4 lost and 1 gained; 4 lost; 1 gained
        ("5", "mcnemar_p", [1 / 2, 1, 1, 1]),
        ("mean", "mcnemar_p", [np.nan] * 4),
        # Net changes over both probes: x -3, y -2, u +1, v -1, w 0 (the fourth of v is lost by one).
        ("mean", "flip_p", [6 / 16, 2 / 4, 1, 1]),
        ("3", "flip_p", [np.nan] * 4),
        ("mean", "groups", [5, 2, 2, 1]),
        ("3", "logprob_before", [-5, -5, -5, -5]),
        ("3", "logprob_delta", [-9 / 9, -3, 0, 3]),
        ("5", "logprob_delta", [-7 / 9, -2, 0, 1]),
        ("mean", "logprob_delta", [-8 / 9, -2.5, 0, 2]),
        # Its change less the mean of those of b and c, which are no targets; theirs less each other's.
        ("3", "specificity", [np.nan, -3 - 3 / 2, 0 - 3, 3 - 0]),
        ("5", "specificity", [np.nan, -2 - 1 / 2, 0 - 1, 1 - 0]),
        ("mean", "specificity", [np.nan, -2.5 - 2 / 2, 0 - 2, 2 - 0]),
        # One clip of c: no other groups. All clips: five groups, drawn below.
        ("3", "low", [None, -4, -1, np.nan]),
        ("3", "high", [None, -2, 1 / 3, np.nan]),
        ("mean", "low", [None, -3.5, -0.5, np.nan]),
        ("mean", "high", [None, -1.5, 1 / 6, np.nan]),
        # Of the three random sets: as low or lower than -3 is one, than -2 two, than -2.5 two.
        ("3", "logprob_p", [3 / 4, 2 / 4, 4 / 4, 4 / 4]),
        ("5", "logprob_p", [3 / 4, 3 / 4, 4 / 4, 4 / 4]),
        ("mean", "logprob_p", [3 / 4, 3 / 4, 4 / 4, 4 / 4]),
        ("mean", "delta_p", [1 / 4, 1 / 4, 4 / 4, 4 / 4]),
        ("mean", "specificity_p", [np.nan, 1 / 4, 1 / 4, 4 / 4]),
        # Random sets change clips of class a by -11/6 on average, and no others.
        ("3", "excess", [-9 / 9 + 4 * 11 / 54, -3 + 11 / 6, 0, 3]),
        ("mean", "excess", [-8 / 9 + 4 * 11 / 54, -2.5 + 11 / 6, 0, 2]),
        ("mean", "excess_low", [None, -3.5 + 11 / 6, -0.5, np.nan]),
        ("mean", "excess_high", [None, -1.5 + 11 / 6, 1 / 6, np.nan]),
        # Of the 4 x 5 pairs of a clip of class a with another, the latter is lower in 16, later in 11.
        ("mean", "auroc_before", [np.nan, 16 / 20, np.nan, np.nan]),
        ("mean", "auroc", [np.nan, (5 + 5 + 2.5 + 1) / 20, np.nan, np.nan]),
        ("mean", "auroc_delta", [np.nan, -2.5 / 20, np.nan, np.nan]),
        ("3", "auroc", [np.nan] * 4),
        ("mean", "target", [False, True, False, False]),
        ("mean", "controls", [3] * 4),
    ],
)
def test_effects_by_hand(table, probe, column, values):
    found = of(table, "class:a gain=0 zero", probe)[column]
    for value, expected in zip(found, values, strict=True):
        if expected is not None:
            assert value == pytest.approx(expected, nan_ok=True)


def test_specificity_leaves_out_the_targets_of_its_own_condition(table):
    found = of(table, "class:b gain=0 zero", "mean")["specificity"]
    np.testing.assert_allclose(found, [np.nan, -2.5 - 2, 0 - (-2.5 + 2) / 2, 2 + 2.5])


def test_conditions_are_described(table):
    about = table.drop_duplicates("condition").set_index("condition")
    assert len(about) == 9
    assert len(table) == 9 * 3 * 4
    assert set(table["probe"]) == {"3", "5", "mean"}
    assert (table["selection_split"] == "train").all()
    row = about.loc["class:a gain=0.5 zero"]
    described = ["set", "kind", "targets", "control", "draw", "gain", "replacement", "neurons", "first_layer"]
    assert row[described].tolist() == ["class:a", "class", "a", "none", 0, 0.5, "zero", 2, 1]
    assert about.loc["class:a random 2 gain=0 zero", ["control", "draw"]].tolist() == ["random", 2]
    assert about.loc["class:a gain=0 mean", "replacement"] == "mean"


def test_a_condition_is_compared_with_random_sets_of_its_own_set_gain_and_replacement(table):
    mean = table[(table["probe"] == "mean") & (table["class"] == "a")].set_index("condition")
    assert mean["controls"].to_dict() == {
        "class:a gain=0 zero": 3,
        "class:a shifted gain=0 zero": 3,
        "class:a gain=0.5 zero": 1,
        "class:a gain=0 mean": 0,
        "class:b gain=0 zero": 0,
        **{f"class:a random {n} gain=0 zero": 0 for n in range(3)},
        "class:a random 0 gain=0.5 zero": 0,
    }
    assert mean.loc["class:a gain=0.5 zero", "logprob_p"] == 2 / 2
    assert mean.loc["class:a shifted gain=0 zero", "logprob_p"] == 4 / 4
    p = ["delta_p", "logprob_p", "specificity_p", "excess", "excess_low"]
    without = [name for name, n in mean["controls"].items() if not n]
    assert mean.loc[without, p].isna().all(axis=None)
    assert mean.loc[mean["control"] == "random", ["low", "high"]].isna().all(axis=None)


def test_specificity_without_another_class_that_is_no_target():
    both = NeuronSet("shared", "a+b", ("a", "b"), A.neurons)
    measured = Measured.empty(FRAME.iloc[:8], "ab", (3,), 1, [])
    logs = np.full((1, 8), -1.0)
    measured.add(np.arange(8), {-1: (BEFORE[:1, :8], logs), 0: (BEFORE[:1, :8], 2 * logs)})
    found = effects(measured, [Condition(both, Change(A.neurons))], SETTINGS, "train")
    assert found["specificity"].isna().all()
    assert found["targets"].unique().tolist() == ["a+b"]


def test_intervals_depend_on_the_seed_and_the_class_alone(study):
    """Conditions that do the same have the same interval, so that they can be told apart by what they do."""
    measured, found = study
    tables_of = [effects(measured, found, SETTINGS.changed(seed=seed), "train") for seed in (0, 0, 1, 2)]
    ends = [t[t["class"] == ALL].set_index(["condition", "probe"])[["low", "high"]] for t in tables_of]
    pd.testing.assert_frame_equal(ends[0], ends[1])
    assert len({tuple(e.loc[("class:a gain=0 zero", "mean")]) for e in ends}) > 1
    for name in ("class:a gain=0.5 zero", "class:b gain=0 zero"):
        pd.testing.assert_frame_equal(ends[0].loc[name], ends[0].loc["class:a gain=0 zero"])


def test_no_conditions_have_an_empty_table(study):
    found = effects(study[0], [], SETTINGS, "train")
    assert found.empty
    assert found.columns.tolist() == tables.SCHEMAS["ablation"].names


def test_the_interval_of_the_difference_to_controls_calls_what_is_more_than_they_do():
    """Where every set harms alike, the change has an interval below 0 in all data; p alone guards it."""
    nothing, more = (validity.harm(10, extra, 150) for extra in (0.0, 0.3))
    bound = 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    assert nothing["p and interval of the excess"] <= nothing["p alone"] < bound
    assert more["p and interval of the excess"] > 0.8
