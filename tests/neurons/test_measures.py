import math

import numpy as np
import pytest
import simulated
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from audio_neurons.inference.resampling import observed, pooled
from audio_neurons.neurons import measures
from audio_neurons.neurons.measures import MEASURES, auroc
from audio_neurons.neurons.selection import choose
from audio_neurons.settings.selection import PRESETS, rule_of

seeds = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=30)

ACTIVE = np.array([[6, 0, 2], [1, 0, 2], [1, 0, 4]])
TOKENS = np.array([10, 10, 20])


def counts(seed, classes, neurons=40):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, 60, classes)
    return rng.binomial(tokens[:, None], rng.random((classes, neurons)) ** 3), tokens


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("lap", [0.6, 0.1, 0.05]),
        ("mad", [0.6 - 2 / 30, 0.1 - 7 / 30, 0.05 - 7 / 20]),
        ("probeless", [0.5 + 0.55, 0.5 + 0.05, 0.55 + 0.05]),
        ("pearson", [(40 * 6 - 80) / np.sqrt(8 * 32 * 10 * 30), -40 / np.sqrt(8 * 32 * 10 * 30), -120 / 320]),
        ("f1", [12 / 18, 2 / 18, 2 / 28]),
        ("iou", [6 / 12, 1 / 17, 1 / 27]),
    ],
)
def test_measures_by_hand(name, first):
    np.testing.assert_allclose(MEASURES[name](ACTIVE, TOKENS)[:, 0], first)


@pytest.mark.parametrize("name", ["f1", "iou", "pearson"])
def test_measures_are_those_of_scikit_learn_over_tokens(name):
    active, tokens = counts(3, 4, 10)
    truth = np.repeat(np.arange(4), tokens)
    theirs = {"f1": metrics.f1_score, "iou": metrics.jaccard_score, "pearson": metrics.matthews_corrcoef}
    scores = MEASURES[name](active, tokens)
    for neuron in range(10):
        on = np.concatenate([np.arange(t) < a for a, t in zip(active[:, neuron], tokens, strict=True)])
        for c in range(4):
            if on.any() and not on.all():
                assert scores[c, neuron] == pytest.approx(theirs[name](truth == c, on))


def test_auroc_is_that_of_scikit_learn_over_units(monkeypatch):
    units, _ = simulated.units(1, groups=30, classes=3, neurons=20, tokens=5)  # few tokens: equal rates
    monkeypatch.setattr(measures, "BLOCK", 7)
    scores = auroc(units.active, units.tokens, units.labels, 3)
    rates = units.active / units.tokens[:, None]
    for c in range(3):
        for neuron in range(20):
            expected = metrics.roc_auc_score(units.labels == c, rates[:, neuron])
            assert scores[c, neuron] == pytest.approx(expected)


def test_auroc_of_a_class_with_all_units_or_none_is_nan():
    units, _ = simulated.units(1, groups=6, classes=2, neurons=5)
    scores = auroc(units.active, units.tokens, np.zeros(6, int), 2)
    assert np.isnan(scores).all()


@pytest.mark.parametrize("measure", MEASURES)
def test_a_silent_neuron_and_a_class_without_clips(measure):
    active = np.vstack([ACTIVE, np.zeros((1, 3), int)])
    scores = MEASURES[measure](active, np.append(TOKENS, 0))
    np.testing.assert_array_equal(scores[:3], MEASURES[measure](ACTIVE, TOKENS))
    rule = rule_of(measure, {"top_share": 1 / 3})
    chosen, without = choose(active, np.append(TOKENS, 0), rule), choose(ACTIVE, TOKENS, rule)
    assert chosen.assigned.tolist()[3] == [False] * 3
    np.testing.assert_array_equal(chosen.assigned[:3], without.assigned)
    assert without.assigned.sum(1).tolist() == [1, 1, 1]
    np.testing.assert_array_equal(chosen.entropy, without.entropy)
    assert np.isnan(chosen.entropy).tolist() == [False, True, False]
    assert not chosen.selected[1]


def test_probeless_of_classes_of_one_token():
    scores = measures.probeless(np.array([[1, 0], [0, 0], [0, 0]]), np.array([1, 1, 0]))
    np.testing.assert_array_equal(scores, [[1, 0], [1, 0], [np.nan, np.nan]])


@few
@given(seeds, st.integers(2, 6), st.sampled_from(sorted(MEASURES)))
def test_order_of_classes_does_not_matter(seed, classes, measure):
    active, tokens = counts(seed, classes)
    order = np.random.default_rng(seed).permutation(classes)
    scores = MEASURES[measure](active, tokens)
    np.testing.assert_array_equal(MEASURES[measure](active[order], tokens[order]), scores[order])


@few
@given(seeds, st.integers(2, 6), st.sampled_from(sorted(MEASURES)), st.floats(0.01, 1))
def test_a_ranking_takes_the_highest_scores_of_each_class(seed, classes, measure, share):
    active, tokens = counts(seed, classes)
    chosen = choose(active, tokens, rule_of(measure, {"top_share": share}))
    scores = MEASURES[measure](active, tokens)
    alive = np.flatnonzero(active.sum(0))
    for c in range(classes):
        ranked = sorted(alive, key=lambda n, c=c: (-scores[c, n], n))
        ranked = [n for n in ranked if not math.isnan(scores[c, n])]
        assert np.flatnonzero(chosen.assigned[c]).tolist() == sorted(ranked[: round(share * 40)])
    np.testing.assert_array_equal(chosen.selected, chosen.assigned.any(0))
    np.testing.assert_array_equal(chosen.candidates, active.sum(0) > 0)
    np.testing.assert_array_equal(chosen.entropy, measures.entropy(active / tokens[:, None]))
    assert math.isnan(chosen.response_threshold)
    assert math.isnan(chosen.assignment_threshold)


@few
@given(seeds, st.integers(1, 6))
def test_f1_and_iou_rank_alike(seed, classes):
    active, tokens = counts(seed, classes)
    j, f = measures.iou(active, tokens), measures.f1(active, tokens)
    np.testing.assert_allclose(f, 2 * j / (1 + j))


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("preset", [p for p in PRESETS if not p.startswith("aape-")])
def test_planted_neurons_are_found(preset, within):
    units, truth = simulated.units(5, groups=48, neurons=2000, planted=12, within=within)
    units = pooled(units)
    ranks = PRESETS[preset].measure != "aape"
    share = (12 if ranks else 48) / 2000
    chosen = observed(units, rule_of(preset, {"top_share": share})).assigned
    found = (chosen & truth).sum()
    assert found / truth.sum() > 0.95
    assert found / chosen.sum() > 0.9
