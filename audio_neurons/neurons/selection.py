"""Select class-specific neurons from class-conditional activation probabilities.

``p`` is the array of probabilities, float64 (classes, neurons): p_c = active tokens / tokens over the
clips of class c. AAPE (Kawamura et al., arXiv 2602.15307) is the entropy of p normalised over the
classes, and its filters are those of LAPE (Tang et al. 2024, arXiv 2402.16438). Other selectors rank the
neurons for each class separately, by a measure of :mod:`audio_neurons.neurons.measures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.activations.rows import equal_groups, read, sums
from audio_neurons.activations.statistics import class_counts, natural
from audio_neurons.activations.units import Units
from audio_neurons.neurons.measures import MEASURES, auroc, entropy
from audio_neurons.neurons.ordering import lowest, order_statistic
from audio_neurons.settings.selection import Rule

Neurons = frozenset[tuple[int, int]]  # layer and unit of each


class SelectionError(ValueError):
    """No class has clips, so no neurons can be selected."""


@dataclass(frozen=True)
class Selection:
    """Neurons that a rule selects among N neurons for C classes.

    Attributes
    ----------
    response
        float64 (C, N): p_c; NaN in a class without clips.
    entropy
        float64 (N,): AAPE in nats; NaN for a neuron that is never active.
    candidates, selected
        bool (N,): passed the response filter; selected by the rule.
    eligible
        bool (N,): could have been specific to some class, had the order of the neurons been another. Chance
        draws from these.
    assigned
        bool (C, N): specific to the class. All False in a class without clips.
    response_threshold, assignment_threshold
        Order statistics that the filters used (NaN where a filter uses none).
    """

    response: np.ndarray
    entropy: np.ndarray
    candidates: np.ndarray
    selected: np.ndarray
    eligible: np.ndarray
    assigned: np.ndarray
    response_threshold: float
    assignment_threshold: float


def probabilities(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return p_c of every neuron from counts (C, N) and tokens (C,); NaN in classes without tokens."""
    with np.errstate(invalid="ignore"):
        return active / tokens[:, None]


def select(p: np.ndarray, rule: Rule) -> Selection:
    """Apply the three filters of a rule to probabilities (C, N).

    Neurons of equal entropy are taken in order. Classes without clips (NaN) are ignored.

    Raises
    ------
    SelectionError
        If no class has clips.
    """
    present = _present(p)
    q = p if present.all() else p[present]
    h = entropy(q)
    strongest = q.max(0)
    threshold = np.nan
    if rule.response_filter == "percentile":
        threshold = order_statistic(q, rule.response_percentile)
        candidates = strongest > threshold
    else:
        strength = strongest if rule.weakest_by == "highest" else np.sort(q, axis=0).mean(0)
        candidates = ~lowest(strength, round(rule.weakest_share * len(h)))
    if not rule.fill:
        candidates &= ~np.isnan(h)

    selected = lowest(np.where(candidates, h, np.inf), round(rule.top_share * len(h)))
    if not rule.fill:
        selected &= candidates

    bar = threshold
    if np.isnan(threshold) or rule.assignment_percentile != rule.response_percentile:
        bar = order_statistic(q, rule.assignment_percentile)
    assigned = np.zeros(p.shape, bool)
    if rule.assignment_within == "class":
        bar = np.nan
        for row in np.flatnonzero(present) if selected.any() else ():
            own = p[row, selected]
            assigned[row, selected] = own > order_statistic(own, rule.assignment_percentile)
        eligible = candidates | assigned.any(0)
        return Selection(p, h, candidates, selected, eligible, assigned, threshold, bar)
    assigned[:, selected] = p[:, selected] > bar
    eligible = candidates & (strongest > bar) | assigned.any(0)  # `fill` selects beyond the candidates
    return Selection(p, h, candidates, selected, eligible, assigned, threshold, bar)


def rank(p: np.ndarray, scores: np.ndarray, top_share: float) -> Selection:
    """Select for every class the ``top_share`` of all neurons with the highest scores (C, N).

    Neurons of equal score are taken in order. Neurons that are never active or have no score (NaN) are not
    selected. Classes without clips are ignored.

    Raises
    ------
    SelectionError
        If no class has clips.
    """
    present = _present(p)
    h = entropy(p if present.all() else p[present])
    candidates = ~np.isnan(h)
    assigned = np.zeros(p.shape, bool)
    wanted = round(top_share * len(h))
    for row in np.flatnonzero(present):
        eligible = candidates & ~np.isnan(scores[row])
        assigned[row] = eligible & lowest(np.where(eligible, -scores[row], np.inf), wanted)
    return Selection(p, h, candidates, np.any(assigned, axis=0), candidates, assigned, np.nan, np.nan)


def choose(active: np.ndarray, tokens: np.ndarray, rule: Rule, units: Units | None = None) -> Selection:
    """Apply any rule to counts (C, N) and tokens (C,); AUROC also needs the counts of ``units``.

    Raises
    ------
    SelectionError
        If no class has clips.
    """
    p = probabilities(active, tokens)
    if rule.measure == "aape":
        return select(p, rule)
    if rule.measure == "auroc":
        assert units is not None
        return rank(p, auroc(units.active, units.tokens, units.labels, len(p)), rule.top_share)
    return rank(p, MEASURES[rule.measure](active, tokens), rule.top_share)


def weighted(units: Units, rule: Rule) -> Units:
    """Return units with the weights of groups that a rule asks for."""
    return equal_groups(units) if rule.weights == "groups" else units


def _present(p: np.ndarray) -> np.ndarray:
    """Return which classes have clips, bool (C,)."""
    present = ~np.isnan(p).any(1)
    if not present.any():
        raise SelectionError(
            "no class has a clip in the splits that are counted; set selection.statistics_split"
        )
    return present


def select_task(
    statistics: Path,
    label: str,
    splits: Sequence[str] | None,
    rule: Rule,
    neurons_out: Path,
    classes_out: Path,
) -> None:
    """Select neurons from a folder of statistics, and write the ``neurons`` and ``classes`` tables.

    ``splits`` are those whose clips are used to select neurons; None means all.
    """
    classes, active, neurons = class_counts(statistics, label, splits)
    tokens = classes["tokens"].to_numpy()
    p = probabilities(active, tokens)
    units = None
    if rule.measure == "auroc" or rule.weights == "groups":
        units = weighted(read(statistics / "units.parquet", label, splits), rule)
        active, tokens = sums(units)
        p = probabilities(active, tokens)
    chosen = choose(active, tokens, rule, units)
    with tables.writer(neurons_out, "neurons") as writer:
        for row in range(len(p)):  # all rows of many classes at once would take several GB
            own = replace(chosen, assigned=chosen.assigned[[row]])
            block = neurons_table(classes.iloc[[row]], neurons, p[[row]], own)
            writer.append({name: block[name].to_numpy() for name in block})
    tables.write(classes_out, "classes", classes_table(classes, chosen))


def neurons_table(
    classes: pd.DataFrame, neurons: np.ndarray, p: np.ndarray, chosen: Selection
) -> pd.DataFrame:
    """Build the ``neurons`` table: one row per neuron and class.

    Parameters
    ----------
    classes
        ``class``, ``clips``, ``tokens``, one row per row of ``p``.
    neurons
        (N, 2): layer and unit.
    """
    c, n = p.shape
    return pd.DataFrame(
        {
            "layer": np.tile(neurons[:, 0], c),
            "neuron": np.tile(neurons[:, 1], c),
            "class": np.repeat(classes["class"].to_numpy(), n),
            "response": p.ravel(),
            "entropy": np.tile(chosen.entropy, c),
            "selected": np.tile(chosen.selected, c),
            "eligible": np.tile(chosen.eligible, c),
            "assigned": chosen.assigned.ravel(),
        }
    )


def classes_table(classes: pd.DataFrame, chosen: Selection) -> pd.DataFrame:
    """Build the ``classes`` table, with the number of neurons specific to each class."""
    count = chosen.assigned.sum(1)
    return classes.assign(neurons=count, covered=count > 0)


def coverage(classes: pd.DataFrame) -> float:
    """Return the share of the classes with clips that have at least one specific neuron."""
    return float(classes.loc[classes["clips"] > 0, "covered"].mean())


def neurons_per_class(classes: pd.DataFrame) -> float:
    """Return the mean number of specific neurons over the classes with clips."""
    return float(classes.loc[classes["clips"] > 0, "neurons"].mean())


def specific_neurons(table: pd.DataFrame) -> dict[str, Neurons]:
    """Map each class of a ``neurons`` table, in natural order, to its specific neurons (layer, unit)."""
    sets = {name: specific(rows) for name, rows in table[table["assigned"]].groupby("class")}
    return {name: sets.get(name, frozenset()) for name in sorted(table["class"].unique(), key=natural)}


def specific(rows: pd.DataFrame) -> Neurons:
    """Return the specific neurons among rows of a ``neurons`` table."""
    own = rows[rows["assigned"]]
    return frozenset(zip(own["layer"], own["neuron"], strict=True))
