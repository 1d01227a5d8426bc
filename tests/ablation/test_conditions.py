"""Neuron sets, the published lists, and matched controls."""

import numpy as np
import pandas as pd
import pytest
from common import ROOT

from audio_neurons.ablation.changes import Change
from audio_neurons.ablation.conditions import (
    Condition,
    ConditionError,
    Controls,
    NeuronSet,
    compared,
    conditions,
    matched,
    membership,
    read_list,
    response_bins,
    sets_of,
    shifted,
)
from audio_neurons.settings.ablation import Conditions

PUBLISHED = ROOT / "resources" / "published" / "neurons"
SPECIFIC = {"a": {(0, 1), (0, 2), (1, 3)}, "b": {(0, 2), (1, 3), (1, 4)}, "c": {(1, 3)}, "d": set()}


def neurons(specific=SPECIFIC, depth=2, width=40, seed=0):
    """A ``neurons`` table; the responses of the last class are missing, as without clips."""
    rng, rows = np.random.default_rng(seed), []
    for name, mine in specific.items():
        for layer in range(depth):
            for unit in range(width):
                response = rng.random() if name != list(specific)[-1] else np.nan
                rows.append((layer, unit, name, response, (layer, unit) in mine))
    return pd.DataFrame(rows, columns=["layer", "neuron", "class", "response", "assigned"])


def test_sets_of_classes_and_what_they_share(capsys):
    mine = NeuronSet("list", "mine", ("a",), frozenset({(1, 1)}))
    found = {s.label: s for s in sets_of(neurons(), None, [["a", "b"], ["a", "b", "c"]], [mine])}
    assert {label: set(s.neurons) for label, s in found.items()} == {
        "class:a": SPECIFIC["a"],
        "class:b": SPECIFIC["b"],
        "class:c": SPECIFIC["c"],
        "shared:a+b": {(0, 2), (1, 3)},
        "exact:a+b": {(0, 2)},  # (1, 3) is specific to c, too
        "shared:a+b+c": {(1, 3)},
        "exact:a+b+c": {(1, 3)},
        "list:mine": {(1, 1)},
    }
    assert found["exact:a+b"].targets == ("a", "b")
    assert "class:d: no neurons, not ablated" in capsys.readouterr().err
    assert [s.label for s in sets_of(neurons(), ["c"], [], [])] == ["class:c"]


def test_unknown_classes_are_named():
    for classes, shared, targets in ((["x"], [], []), (None, [["a", "x"]], []), (None, [], ["x"])):
        lists = [NeuronSet("list", "mine", tuple(targets), frozenset({(0, 0)}))]
        with pytest.raises(ConditionError, match="no class x; there are a, b, c, d"):
            sets_of(neurons(), classes, shared, lists)
    with pytest.raises(ConditionError, match="no class x, y; there are a, b, c, d"):
        sets_of(neurons(), ["y", "a"], [["a", "x"]], [])


# Layer and index as in EVAR's configurations, and the neurons of its controls.
ANGER = {
    0: ([1, 112, 793], [2, 113, 794]),
    3: ([382, 741, 755, 1959, 2097, 2233], [383, 742, 756, 1960, 2098, 2234]),
    5: ([1430, 2471], [1431, 2472]),
    6: ([1196], [1197]),
    7: ([638, 1157, 2499], [639, 1158, 2500]),
    8: ([386, 2554], [387, 2555]),
    9: ([347], [348]),
    10: ([393, 2120, 2369, 2663], [394, 2121, 2370, 2664]),
}
JAZZ = {
    3: ([2540], [2541]),
    4: ([270, 827], [271, 828]),
    5: ([1521, 2462], [1522, 2463]),
    6: ([907, 2415, 2852], [908, 2416, 2853]),
    7: ([540, 763, 2466, 2756], [541, 764, 2467, 2757]),
    8: ([193, 348, 690, 1315, 1669, 2804], [194, 349, 691, 1316, 1670, 2805]),
    9: ([328, 596, 660, 1720], [329, 597, 661, 1721]),
    10: ([1521, 1861, 2798], [1522, 1862, 2799]),
    11: ([1030], [1031]),
}


@pytest.mark.parametrize(
    ("name", "layers", "count"),
    [("cremad_anger_happiness", ANGER, 22), ("gtzan_jazz_classical", JAZZ, 26)],
)
def test_published_lists_and_their_controls(name, layers, count):
    found = read_list(PUBLISHED / f"{name}.csv", "published", ["ANG", "HAP"])
    assert len(found.neurons) == count
    assert found.neurons == {(layer, unit) for layer, (units, _) in layers.items() for unit in units}
    control = shifted(found.neurons, 3072)
    assert control == {(layer, unit) for layer, (_, units) in layers.items() for unit in units}
    assert len(control) == count
    assert not control & found.neurons


def test_the_last_neuron_is_followed_by_the_first():
    assert shifted(frozenset({(2, 3071), (2, 5)}), 3072) == {(2, 0), (2, 6)}


@pytest.mark.parametrize(
    "text",
    ["", "layer,unit\n1,2\n", "layer,neuron\n", "layer,neuron\n1,x\n", "layer,neuron\n0,3.5\n", "# no\n"],
)
def test_what_is_no_list(tmp_path, text):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(ConditionError, match=r"mine\.csv: (not a list|no neurons)"):
        read_list(tmp_path / "mine.csv", "mine", [])


def test_a_list_of_ones_own(tmp_path):
    (tmp_path / "mine.csv").write_text("# why\nneuron, layer\n7, 1\n8, 0\n7, 1\n")
    assert read_list(tmp_path / "mine.csv", "mine", []).neurons == {(1, 7), (0, 8)}


def test_random_sets_are_as_active_on_the_class_that_is_scored():
    """Neurons of class a are active on it alone; others of their mean response are half as active on it."""
    rng = np.random.default_rng(0)
    places = pd.MultiIndex.from_product([range(2), range(400)], names=["layer", "neuron"])
    rate = rng.uniform(0, 0.5, len(places))
    wide = pd.DataFrame({"a": rate, "b": rate}, index=places).rename_axis(columns="class")
    chosen = rng.choice(len(wide), 20, replace=False)
    wide.iloc[chosen] = np.stack([rng.uniform(0.4, 0.5, 20), np.zeros(20)], axis=1)
    table = wide.stack().rename("response").reset_index()
    table["assigned"] = table["class"].eq("a") & (table["response"] > 2)
    one = NeuronSet("class", "a", ("a",), frozenset((int(x), int(y)) for x, y in wide.index[chosen]))
    means = {}
    for match in ("targets", "all"):
        made = Controls(table, Conditions(match=match))
        controls = [
            made.random(Condition(one, Change(one.neurons)), draw).change.neurons for draw in range(30)
        ]
        means[match] = np.mean([wide.loc[sorted(drawn), "a"].mean() for drawn in controls])
    own = wide.iloc[chosen]["a"].mean()
    assert means["targets"] == pytest.approx(own, rel=0.06)
    assert means["all"] < 0.6 * own


@pytest.mark.parametrize("seed", range(5))
def test_random_sets_match_in_number_per_layer_and_response(seed):
    table = neurons(width=400, seed=seed)
    rng = np.random.default_rng(seed)
    mine = frozenset((int(n) // 400, int(n) % 400) for n in rng.choice(800, 60, replace=False))
    rank, bins = response_bins(table, 10)
    assert np.bincount(bins[0]).tolist() == [40] * 9 + [10] * 4  # the strongest tenth in four
    rates = table.groupby(["layer", "neuron"])["response"].mean().to_numpy().reshape(2, 400)
    sets = [matched(mine, rank, bins, np.random.default_rng(draw)) for draw in range(100)]
    assert len(set(sets)) == 100
    counted = sorted((layer, bins[layer, unit]) for layer, unit in mine)
    for drawn in sets:
        assert not drawn & mine
        assert sorted((layer, bins[layer, unit]) for layer, unit in drawn) == counted
        for layer, number in set(counted):
            low, high = rates[layer, bins[layer] == number].min(), rates[layer, bins[layer] == number].max()
            here = [rates[at, unit] for at, unit in drawn if at == layer and bins[at, unit] == number]
            assert all(low <= rate <= high for rate in here)
    # Every other neuron of the bins in question is drawn now and then.
    reached = set().union(*sets)
    assert len(reached) > 0.95 * sum(
        (layer, bins[layer, unit]) in set(counted) and (layer, unit) not in mine
        for layer in range(2)
        for unit in range(400)
    )


def test_a_bin_with_just_as_many_others_borrows_none():
    rank, bins = response_bins(neurons(width=40), 10)
    four = np.flatnonzero(bins[1] == 4)
    for seed in range(5):
        drawn = matched(frozenset((1, int(u)) for u in four[:2]), rank, bins, np.random.default_rng(seed))
        assert drawn == {(1, int(u)) for u in four[2:]}


def test_a_bin_that_is_taken_up_borrows_from_its_neighbours():
    table = neurons(width=40)
    rank, bins = response_bins(table, 10)
    mine = frozenset((0, int(u)) for u in np.flatnonzero(bins[0] == 4))
    drawn = [matched(mine, rank, bins, np.random.default_rng(i)) for i in range(20)]
    assert len(set(drawn)) > 5
    for one in drawn:
        assert len(one) == 4
        assert not one & mine
        assert all(abs(rank[0, unit] - 17.5) <= 6 for _, unit in one)


def test_sets_too_large_for_a_control_are_refused():
    rank, bins = response_bins(neurons(), 10)
    with pytest.raises(ConditionError, match=r"21 of the 40 neurons of layer 1 .*set ablation\.random to 0$"):
        matched(frozenset((1, u) for u in range(21)), rank, bins, np.random.default_rng(0))
    assert len(matched(frozenset((1, u) for u in range(20)), rank, bins, np.random.default_rng(0))) == 20


def test_conditions_are_sets_at_every_gain_and_replacement_and_the_papers_control_at_the_gain_next_to_0():
    table = neurons()
    sets = sets_of(table, ["a", "b"], [], [])
    settings = Conditions(gains=(0.5, 0), replacements=("zero", "mean"))
    controls = Controls(table, settings)
    found = conditions(sets, controls, settings)
    assert len({c.name for c in found}) == len(found) == 2 * (2 * 2 + 2)
    assert "class:a gain=0 zero" in {c.name for c in found}
    assert {c.change.gain for c in found if c.control == "shifted"} == {0}
    for c in found:
        assert (c.change.neurons == c.set.neurons) == (c.control == "none")
        assert len(c.change.neurons) == 3
    assert not any(
        c.control == "shifted" for c in conditions(sets, controls, settings.changed(shifted=False))
    )


def test_a_random_set_is_the_same_at_all_gains_and_replacements_and_beside_other_sets():
    table = neurons()
    sets = sets_of(table, ["a", "b"], [], [])
    settings = Conditions(gains=(0, 0.5), replacements=("zero", "mean"))

    def drawn(sets, settings):
        controls = Controls(table, settings)
        fixed = [c for c in conditions(sets, controls, settings) if c.control == "none"]
        return {
            c.name: c.change.neurons
            for one in fixed
            for draw in range(3)
            for c in [controls.random(one, draw)]
        }

    found = drawn(sets, settings)
    assert len(found) == 2 * 3 * 2 * 2
    assert "class:b random 2 gain=0.5 mean" in found
    assert len({found[f"class:a random 1 gain={g:g} {r}"] for g in (0, 0.5) for r in ("zero", "mean")}) == 1
    assert len({found[f"class:a random {n} gain=0 zero"] for n in range(3)}) > 1
    assert drawn(sets[1:], settings).items() <= found.items()
    assert drawn(sets, settings.changed(seed=1)) != found
    made = Controls(table, settings)
    listed = membership([c for one in conditions(sets, made, settings) for c in (one, made.random(one, 1))])
    assert listed.groupby("control")["draw"].unique().map(sorted).to_dict() == {
        "none": [0], "shifted": [0], "random": [1],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gains", "replacements", "how", "expected"),
    [
        ((0, 0.5), ("zero", "mean"), {}, {(0, "mean")}),
        ((0.5, 2), ("zero", "resample"), {}, {(0.5, "zero"), (0.5, "resample")}),
        ((0,), ("zero",), {}, {(0, "zero")}),
        ((0, 2), ("zero", "mean"), {"random_at": "all"}, {(g, r) for g in (0, 2) for r in ("zero", "mean")}),
        ((0, 2), ("zero", "mean"), {"random": 0}, set()),
    ],
)
def test_random_sets_run_where_effects_are_called(gains, replacements, how, expected):
    table = neurons()
    settings = Conditions(gains=gains, replacements=replacements, **how)
    found = conditions(sets_of(table, ["a"], [], []), Controls(table, settings), settings)
    wanted = compared(found, settings)
    assert {(c.change.gain, c.change.replacement) for c in wanted} == expected
    assert all(c.control == "none" for c in wanted)
