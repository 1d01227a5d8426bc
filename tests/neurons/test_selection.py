import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_neurons import tables
from audio_neurons.activations import statistics
from audio_neurons.neurons import measures, selection
from audio_neurons.neurons.ordering import lowest
from audio_neurons.neurons.selection import Selection, SelectionError, select
from audio_neurons.settings.selection import PRESETS, Rule, rule_of

FILTERS = sorted(name for name, rule in PRESETS.items() if rule.measure == "aape")

seeds = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=50)


def probabilities(seed: int, classes: int, neurons: int, levels: int | None = None) -> np.ndarray:
    """Random p with some dead neurons; few ``levels`` give ties."""
    rng = np.random.default_rng(seed)
    if levels:
        return rng.integers(0, levels, (classes, neurons)) / levels
    p = rng.random((classes, neurons)) ** rng.integers(1, 6)
    p[:, rng.random(neurons) < 0.1] = 0
    return p


def same(a: selection.Selection, b: selection.Selection) -> None:
    for name in ("entropy", "candidates", "selected", "eligible", "assigned"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


# Entropy


@pytest.mark.parametrize(
    ("p", "nats"),
    [
        ([0.5, 0.5], math.log(2)),
        ([0.001, 0.001, 0.001], math.log(3)),
        ([1, 0], 0),
        ([0, 0.2, 0], 0),
        ([0, 0], math.nan),
        ([0.75, 0.25], 0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
        ([0.2, 0.1, 0.1], 0.5 * math.log(2) + 0.5 * math.log(4)),
        ([0.3], 0),
    ],
)
def test_entropy_by_hand(p, nats):
    np.testing.assert_allclose(selection.entropy(np.array(p, float)[:, None]), [nats], atol=1e-15)


@few
@given(seeds, st.integers(1, 60))
def test_entropy_lies_between_0_and_ln_c_and_is_nan_of_dead_neurons_only(seed, classes):
    p = probabilities(seed, classes, 40)
    h = selection.entropy(p)
    np.testing.assert_array_equal(np.isnan(h), p.sum(0) == 0)
    alive = h[~np.isnan(h)]
    assert (alive >= 0).all()
    assert (alive <= math.log(classes) + 1e-12).all()


@few
@given(seeds, st.integers(2, 20))
def test_entropy_does_not_depend_on_how_often_a_neuron_fires(seed, classes):
    p = probabilities(seed, classes, 40)
    scale = np.random.default_rng(seed).uniform(1e-6, 1, 40)
    np.testing.assert_allclose(selection.entropy(p * scale), selection.entropy(p), atol=1e-12)


def test_probabilities_are_counts_over_tokens_and_nan_without_tokens():
    p = selection.probabilities(np.array([[1, 4], [0, 5], [0, 0]]), np.array([4, 10, 0]))
    np.testing.assert_array_equal(p, [[0.25, 1.0], [0.0, 0.5], [np.nan, np.nan]])


# The order statistic


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 1))
def test_order_statistic_is_the_rounded_position_in_the_sorted_values(values, share):
    k = max(1, round(share * len(values)))
    assert selection.order_statistic(np.array(values), share) == sorted(values)[k - 1]
    assert selection.order_statistic(np.array(values), share) == torch.tensor(
        values, dtype=torch.float64
    ).kthvalue(k)[0]  # fmt: skip


@pytest.mark.parametrize(("n", "k"), [(10, 10), (30, 28), (50, 48), (70, 66), (90, 86), (1, 1)])
def test_order_statistic_rounds_half_to_even(n, k):
    """0.95 n is 9.5, 28.5, 47.5, 66.5, 85.5."""
    assert selection.order_statistic(np.arange(1.0, n + 1), 0.95) == k


# The three filters


def test_percentile_rule_by_hand():
    """Sorted, p is 0, 0, 0.1, 0.2, 0.3, 0.3, 0.4, 0.5; the 5th and the 6th of 8 are 0.3."""
    p = np.array([[0.5, 0.1, 0.3, 0.0], [0.2, 0.4, 0.3, 0.0]])
    chosen = select(p, Rule(response_percentile=0.75, assignment_percentile=0.625, top_share=0.25))
    assert chosen.response_threshold == 0.3
    assert chosen.assignment_threshold == 0.3
    assert chosen.candidates.tolist() == [True, True, False, False]  # 0.3 does not exceed 0.3
    assert chosen.selected.tolist() == [False, True, False, False]  # 0.2 : 0.8 is purer than 5 : 2
    assert chosen.assigned.tolist() == [[False, False, False, False], [False, True, False, False]]


def test_a_neuron_can_be_specific_to_several_classes():
    p = np.array([[0.9, 0.1, 0.1], [0.8, 0.1, 0.1], [0.0, 0.1, 0.1]])
    chosen = select(p, Rule(response_percentile=0.7, assignment_percentile=0.7, top_share=1 / 3))
    assert chosen.assigned[:, 0].tolist() == [True, True, False]
    assert chosen.assigned.sum() == 2


def test_values_at_the_threshold_do_not_pass():
    p = np.full((2, 100), 0.5)
    chosen = select(p, PRESETS["aape"])
    assert not chosen.candidates.any()
    assert not chosen.selected.any()
    assert not chosen.assigned.any()


@pytest.mark.parametrize("preset", FILTERS)
def test_equal_entropies_are_taken_in_the_order_of_the_neurons(preset):
    p = np.zeros((2, 200))
    p[0, 150:160] = 0.5
    assert np.flatnonzero(select(p, rule_of(preset, {"top_share": 0.02})).selected).tolist() == [
        150, 151, 152, 153,
    ]  # fmt: skip


@few
@given(seeds, st.integers(1, 8), st.integers(1, 300), st.floats(0.005, 1), st.sampled_from(FILTERS))
def test_chosen_neurons_are_candidates_of_lowest_entropy(seed, classes, neurons, share, preset):
    p = probabilities(seed, classes, neurons)
    chosen = select(p, rule_of(preset, {"top_share": share}))
    wanted = round(share * neurons)
    available = int((chosen.candidates & ~np.isnan(chosen.entropy)).sum())
    assert chosen.selected.sum() == (wanted if preset == "lape" else min(wanted, available))
    inside = chosen.selected & chosen.candidates
    left = chosen.candidates & ~chosen.selected & ~np.isnan(chosen.entropy)
    if inside.any() and left.any():
        assert chosen.entropy[inside].max() <= chosen.entropy[left].min()
    assert not chosen.assigned[:, ~chosen.selected].any()
    if preset != "aape-text":
        above = p > chosen.assignment_threshold
        np.testing.assert_array_equal(chosen.assigned, above & chosen.selected[None])


def test_too_few_candidates_are_filled_up_by_lape_alone():
    p = np.full((2, 100), 0.01)
    p[0, [7, 70]] = 0.9
    for preset, expected in (("aape", 2), ("lape", 10)):
        chosen = select(p, rule_of(preset, {"top_share": 0.1}))
        assert chosen.selected.sum() == expected
        assert np.argwhere(chosen.assigned).tolist() == [[0, 7], [0, 70]]


@pytest.mark.parametrize("dead", [0, 30])
def test_bottom5_drops_exactly_the_weakest_twentieth(dead):
    rng = np.random.default_rng(3)
    p = rng.random((4, 200))
    p[:, :dead] = 0
    chosen = select(p, PRESETS["aape-bottom5"])
    weakest = np.argsort(p.max(0), kind="stable")[: max(10, dead)]
    assert sorted(np.flatnonzero(~chosen.candidates)) == sorted(weakest)
    assert math.isnan(chosen.response_threshold)
    assert chosen.selected.sum() == 2


def test_the_text_drops_the_weakest_by_mean_and_takes_each_class_own_strongest_of_the_chosen():
    rng = np.random.default_rng(4)
    p = rng.random((3, 400)) ** 3
    chosen = select(p, rule_of("aape-text", {"top_share": 0.2}))
    assert set(np.flatnonzero(~chosen.candidates)) == set(np.argsort(p.mean(0))[:20])
    assert chosen.selected.sum() == 80
    for row, assigned in zip(p, chosen.assigned, strict=True):
        inside = np.flatnonzero(chosen.selected)
        assert set(np.flatnonzero(assigned)) == set(inside[np.argsort(row[inside])[-4:]])  # 5 % of 80
    assert math.isnan(chosen.assignment_threshold)
    one = select(p, rule_of("aape-text", {"top_share": 0.2, "assignment_within": "all"}))
    assert one.assignment_threshold == np.sort(p.ravel())[1139]


def test_who_could_have_been_specific_by_hand():
    p = np.array([[0.9, 0.5, 0.4, 0.01], [0.1, 0.4, 0.4, 0.01]])
    given = {"weakest_share": 0.25, "top_share": 0.5, "assignment_within": "class"}
    chosen = select(p, Rule(response_filter="weakest", **given))
    assert chosen.candidates.tolist() == [True, True, True, False] == chosen.eligible.tolist()
    assert chosen.selected.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(chosen.response, p)
    assert np.isnan([chosen.response_threshold, chosen.assignment_threshold]).all()


def test_the_text_without_a_chosen_neuron_is_specific_to_nothing():
    assert not select(np.zeros((2, 100)), PRESETS["aape-text"]).assigned.any()


def test_one_class():
    p = np.linspace(0, 1, 100)[None]
    chosen = select(p, PRESETS["aape"])
    assert np.flatnonzero(chosen.candidates).tolist() == [95, 96, 97, 98, 99]
    assert chosen.assigned.tolist() == [[n == 95 for n in range(100)]]


# Invariances


@few
@given(seeds, st.integers(1, 8), st.sampled_from(FILTERS), st.sampled_from([None, 4, 10]))
def test_order_of_classes_does_not_matter(seed, classes, preset, levels):
    p = probabilities(seed, classes, 120, levels)
    order = np.random.default_rng(seed).permutation(classes)
    rule = rule_of(preset, {"top_share": 0.05})
    a, b = select(p, rule), select(p[order], rule)
    same(replace(a, assigned=a.assigned[order]), b)
    assert a.response_threshold == b.response_threshold or preset.startswith("aape-")


@few
@given(seeds, st.integers(2, 8), st.sampled_from(FILTERS))
def test_order_of_neurons_does_not_matter_where_entropies_differ(seed, classes, preset):
    p = np.random.default_rng(seed).random((classes, 120))
    order = np.random.default_rng(seed).permutation(120)
    rule = rule_of(preset, {"top_share": 0.04})  # fewer than the candidates
    a, b = select(p, rule), select(p[:, order], rule)
    same(
        replace(
            a,
            entropy=a.entropy[order],
            candidates=a.candidates[order],
            selected=a.selected[order],
            eligible=a.eligible[order],
            assigned=a.assigned[:, order],
        ),
        b,
    )


@few
@given(seeds, st.integers(1, 6), st.sampled_from(FILTERS))
def test_a_class_without_clips_takes_no_part(seed, classes, preset):
    p = probabilities(seed, classes, 120)
    place = seed % (classes + 1)
    with_empty = select(np.insert(p, place, np.nan, axis=0), PRESETS[preset])
    assert not with_empty.assigned[place].any()
    without = replace(with_empty, assigned=np.delete(with_empty.assigned, place, axis=0))
    same(without, select(p, PRESETS[preset]))


def test_no_class_with_clips_is_an_error():
    with pytest.raises(SelectionError, match="statistics_split"):
        select(np.full((2, 10), np.nan), PRESETS["aape"])


# Equivalence to simpler implementations


def plainly(p: np.ndarray, rule: Rule) -> Selection:
    """The three filters, implemented with sorting."""
    q = np.sort(p, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = q / q.sum(0)
        terms = np.where(share > 0, share * np.log(share), 0.0)
    h = np.where(q.sum(0) > 0, 0.0 - terms.sum(0), np.nan)
    flat = np.sort(p.ravel())

    def percentile(at):
        return float(flat[max(1, round(at * len(flat))) - 1])

    threshold = np.nan
    if rule.response_filter == "percentile":
        threshold = percentile(rule.response_percentile)
        candidates = p.max(0) > threshold
    else:
        candidates = np.ones(len(h), bool)
        candidates[np.argsort(p.max(0), kind="stable")[: round(rule.weakest_share * len(h))]] = False
    if not rule.fill:
        candidates &= ~np.isnan(h)
    selected = np.zeros(len(h), bool)
    order = np.argsort(np.where(candidates, h, np.inf), kind="stable")
    selected[order[: round(rule.top_share * len(h))]] = True
    if not rule.fill:
        selected &= candidates
    bar = percentile(rule.assignment_percentile)
    assigned = (p > bar) & selected
    eligible = candidates & (p > bar).any(0) | assigned.any(0)
    return Selection(p, h, candidates, selected, eligible, assigned, threshold, bar)


@few
@given(
    seeds,
    st.integers(1, 12),
    st.integers(2, 400),
    st.sampled_from([None, 3, 10]),
    st.builds(
        Rule,
        response_filter=st.sampled_from(["percentile", "weakest"]),
        response_percentile=st.sampled_from([0.5, 0.95]),
        weakest_share=st.sampled_from([0.0, 0.05, 0.5]),
        top_share=st.floats(0.001, 1),
        assignment_percentile=st.sampled_from([0.5, 0.95]),
        fill=st.booleans(),
    ),
)
def test_partitions_choose_what_sorting_does(seed, classes, neurons, levels, rule):
    p = probabilities(seed, classes, neurons, levels)
    fast, plain = select(p, rule), plainly(p, rule)
    same(fast, plain)
    np.testing.assert_equal(fast.response_threshold, plain.response_threshold)
    assert fast.assignment_threshold == plain.assignment_threshold


def test_blocks_of_neurons_do_not_matter(monkeypatch):
    p = probabilities(0, 9, 1000)
    whole = selection.entropy(p)
    monkeypatch.setattr(measures, "TOGETHER", 7)
    np.testing.assert_array_equal(selection.entropy(p), whole)


@few
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, math.inf, math.nan]), min_size=1), st.integers(0, 60))
def test_lowest_are_those_of_a_stable_sort(values, k):
    k = min(k, len(values))
    chosen = lowest(np.array(values), k)
    expected = np.argsort(np.array(values), kind="stable")[:k]
    assert np.flatnonzero(chosen).tolist() == sorted(expected)


# Tables


def test_coverage_and_neurons_per_class_leave_out_classes_without_clips():
    table = pd.DataFrame(
        {"clips": [3, 1, 0, 2], "neurons": [4, 0, 0, 2], "covered": [True, False, False, True]}
    )
    assert selection.coverage(table) == pytest.approx(2 / 3)
    assert selection.neurons_per_class(table) == 2


def write_statistics(folder):
    """Octaves 10, 9 and 8 (train, test, train), 2 layers of 2 neurons, 10 tokens a clip."""
    cells = pd.DataFrame(
        {
            "cell": [0, 1, 2, 3],
            "split": ["test", "test", "train", "train"],
            "fold": [0, 0, 0, 0],
            "clips": [1, 2, 4, 3],
            "tokens": [10, 20, 40, 30],
            "window": [12, 20, 50, 40],
            "padded": [2, 0, 10, 10],
            "octave": ["10", "9", "10", "8"],
        }
    )
    active = np.array([[10, 0, 0, 0], [0, 20, 0, 0], [40, 0, 4, 2], [0, 0, 3, 30]])
    tables.write(folder / "cells.parquet", "cells", cells)
    statistics.write_counts(folder / "counts.parquet", active, 2)


def test_select_task_end_to_end(tmp_path):
    write_statistics(tmp_path)
    settings = rule_of("aape", {"top_share": 0.5, "response_percentile": 0.5, "assignment_percentile": 0.5})
    out = [tmp_path / "a" / name for name in ("neurons.parquet", "classes.parquet")]
    selection.select_task(tmp_path, "octave", ["train"], settings, *out)
    classes = tables.read(out[1], "classes")
    assert classes.to_dict("list") == {
        "class": ["8", "9", "10"],
        "clips": [3, 0, 4],
        "tokens": [30, 0, 40],
        "padding": [0.25, pytest.approx(float("nan"), nan_ok=True), 0.2],
        "neurons": [1, 0, 1],
        "covered": [True, False, True],
    }
    neurons = tables.read(out[0], "neurons")
    assert len(neurons) == 3 * 4
    octave10 = neurons[neurons["class"] == "10"]
    assert octave10["response"].tolist() == [1.0, 0.0, 0.1, 0.05]
    assert neurons[neurons["class"] == "9"]["response"].isna().all()
    assert octave10["entropy"].isna().tolist() == [False, True, False, False]
    assert octave10["entropy"].iloc[2] == pytest.approx(math.log(2))
    # The threshold is the 4th of 0, 0, 0, 0.05, 0.1, 0.1, 1, 1.
    assert selection.specific_neurons(neurons) == {"8": {(1, 1)}, "9": set(), "10": {(0, 0)}}


def test_select_task_ranks_units_of_the_splits_by_auroc(tmp_path):
    """Neuron 2 separates the octaves of the six train clips; over all clips, neuron 0 does."""
    rates = np.array([[5, 9, 9, 5], [4, 8, 8, 5], [6, 1, 7, 5], [5, 2, 2, 5], [4, 3, 1, 5], [6, 9, 0, 5]])
    active = np.concatenate([rates, [[10, 0, 0, 0]] * 2 + [[0, 9, 10, 0]] * 8]).astype(np.uint32)
    rows = pd.DataFrame({"split": ["train"] * 6 + ["test"] * 10, "fold": 0, "clips": 1, "tokens": 10})
    rows["octave"] = ["8"] * 3 + ["9"] * 3 + ["8"] * 2 + ["9"] * 8
    units = rows.assign(group=[f"g{n}" for n in range(16)], active=list(active))
    tables.write(tmp_path / "units.parquet", "units", units)
    tables.write(tmp_path / "cells.parquet", "cells", rows.assign(cell=range(16), window=10, padded=0))
    statistics.write_counts(tmp_path / "counts.parquet", active.astype(np.int64), 2)
    out = [tmp_path / name for name in ("neurons.parquet", "classes.parquet")]
    for splits, best in ((["train"], (1, 0)), (None, (0, 0))):
        selection.select_task(tmp_path, "octave", splits, rule_of("auroc", {"top_share": 0.25}), *out)
        assert selection.specific_neurons(tables.read(out[0], "neurons"))["8"] == {best}


def test_select_task_counts_the_splits_it_is_told(tmp_path):
    write_statistics(tmp_path)
    settings = rule_of("aape", {"top_share": 0.75, "response_percentile": 0.5, "assignment_percentile": 0.5})
    out = [tmp_path / name for name in ("neurons.parquet", "classes.parquet")]
    selection.select_task(tmp_path, "octave", None, settings, *out)
    assert tables.read(out[1], "classes")["clips"].tolist() == [3, 2, 5]
    assert selection.specific_neurons(tables.read(out[0], "neurons"))["9"] == {(0, 1)}
    with pytest.raises(SelectionError):
        selection.select_task(tmp_path, "octave", ["valid"], settings, *out)


@few
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(1, 30))
def test_specific_neurons_come_back_from_the_neurons_table(tmp_path_factory, seed, classes, depth, width):
    path = tmp_path_factory.mktemp("neurons") / "t.parquet"
    p = probabilities(seed, classes, depth * width)
    neurons = np.stack(np.divmod(np.arange(depth * width), width), 1)
    chosen = select(p, rule_of("aape", {"top_share": 0.5, "assignment_percentile": 0.5}))
    names = [str(n) for n in range(8, 8 + classes)]
    frame = pd.DataFrame({"class": names, "clips": 1, "tokens": 1})
    tables.write(path, "neurons", selection.neurons_table(frame, neurons, p, chosen))
    found = selection.specific_neurons(tables.read(path, "neurons"))
    assert list(found) == names  # 8, 9, 10: by value
    assert list(found.values()) == [set(map(tuple, neurons[row])) for row in chosen.assigned]
    assert selection.classes_table(frame, chosen)["neurons"].tolist() == [len(s) for s in found.values()]
