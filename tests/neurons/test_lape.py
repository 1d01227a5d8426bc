"""LAPE's published procedure, reimplemented, against ours."""

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_selection import few, probabilities, seeds

from audio_neurons.neurons import selection
from audio_neurons.neurons.selection import select
from audio_neurons.settings.selection import PRESETS, Rule, rule_of

# LAPE's published procedure, reimplemented


def lape(active: np.ndarray, tokens: np.ndarray, top: float) -> tuple[list[set[int]], int]:
    """Neurons of every class, as RUCAIBox/Language-Specific-Neurons computes them; and candidates."""
    p = torch.from_numpy(active).T.double() / torch.from_numpy(tokens)  # neurons x classes
    normed = p / p.sum(-1, keepdim=True)
    normed[torch.isnan(normed)] = 0
    logs = torch.where(normed > 0, normed.log(), 0.0)
    entropy = -(normed * logs).sum(-1)
    flat = p.flatten()
    threshold = flat.kthvalue(round(len(flat) * 0.95))[0]
    dropped = (p > threshold).sum(-1) == 0
    entropy[dropped] = torch.inf
    chosen = entropy.topk(round(len(entropy) * top), largest=False).indices
    bar = flat.kthvalue(round(len(flat) * 0.95))[0]
    above = (p[chosen] > bar).T
    return [set(chosen[row].tolist()) for row in above], int((~dropped).sum())


@few
@given(seeds, st.integers(2, 12), st.integers(20, 400), st.sampled_from([0.01, 0.02, 0.1, 0.5]))
def test_lape_is_the_published_procedure(seed, classes, neurons, top):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(10**6, 10**7, classes)
    active = rng.binomial(tokens[:, None], probabilities(seed, classes, neurons))
    expected, candidates = lape(active, tokens, top)
    chosen = select(selection.probabilities(active, tokens), rule_of("lape", {"top_share": top}))
    assert [set(np.flatnonzero(row)) for row in chosen.assigned] == expected
    assert chosen.candidates.sum() == candidates
    assert chosen.selected.sum() == round(top * neurons)
    # The default differs only in that it does not fill up the selection.
    ours = select(selection.probabilities(active, tokens), rule_of("aape", {"top_share": top}))
    np.testing.assert_array_equal(ours.assigned, chosen.assigned)


def lape_by_hand(active, tokens, top: float) -> list[set[int]]:
    """The procedure of the paper in plain Python; equal entropies in the order of the neurons."""
    classes, neurons = len(active), len(active[0])
    p = [[int(a) / int(t) for a in row] for row, t in zip(active, tokens, strict=True)]
    threshold = sorted(x for row in p for x in row)[round(0.95 * (classes * neurons)) - 1]
    ranked = []
    for n in range(neurons):
        mine = sorted(p[c][n] for c in range(classes))
        if mine[-1] > threshold:
            shares = [x / sum(mine) for x in mine]
            ranked.append((math.fsum(-s * math.log(s) for s in shares if s), n))
    chosen = [n for _, n in sorted(ranked)[: round(top * neurons)]]
    return [{n for n in chosen if p[c][n] > threshold} for c in range(classes)]


@few
@given(seeds, st.integers(2, 12), st.integers(20, 400), st.sampled_from([0.01, 0.02, 0.1, 0.5]))
def test_lape_is_the_procedure_of_the_paper(seed, classes, neurons, top):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(10**6, 10**7, classes)
    active = rng.binomial(tokens[:, None], probabilities(seed, classes, neurons))
    chosen = selection.choose(active, tokens, rule_of("lape", {"top_share": top}))
    assert [set(np.flatnonzero(row)) for row in chosen.assigned] == lape_by_hand(active, tokens, top)


def test_rule_of_changes_only_what_is_named():
    assert rule_of("aape", {}) == PRESETS["aape"]
    assert rule_of("lape", {"preset": "lape", "top_share": 0.02}) == Rule(fill=True, top_share=0.02)
    assert rule_of("aape-bottom5", {"weakest_share": 0.1, "assignment_percentile": 0.9}) == Rule(
        response_filter="weakest", weakest_share=0.1, assignment_percentile=0.9
    )
