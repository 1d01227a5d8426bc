"""Choosing class-specific neurons from class-conditional activation probabilities.

``p`` is the array of probabilities, float64 (classes, neurons): p_c = active tokens / tokens over the
clips of class c. AAPE (Kawamura et al., arXiv 2602.15307) is the entropy of p normalised over the
classes, and its filters are those of LAPE (Tang et al. 2024, arXiv 2402.16438). Other selectors rank the
neurons for every class on its own, by a measure of :mod:`audio_neurons.measures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.measures import MEASURES, auroc, entropy
from audio_neurons.ordering import lowest, order_statistic
from audio_neurons.statistics import class_counts, natural
from audio_neurons.units import Units, read


class SelectionError(ValueError):
    """Nothing can be selected from these probabilities."""


@dataclass(frozen=True)
class Rule:
    """How neurons are chosen, and every number in it.

    Attributes
    ----------
    measure
        ``"aape"``: the three filters of LAPE, which the other numbers describe. Otherwise a measure by
        which neurons are ranked for every class on its own; the ``top_share`` of all neurons that
        rank highest are specific to it, and no other number matters.
    response_filter
        Which neurons are candidates. ``"percentile"``: those with a class whose p_c exceeds the
        ``response_percentile`` order statistic of all p (LAPE's). ``"weakest"``: all but the
        ``weakest_share`` of neurons whose strongest p_c is lowest (another reading of the paper).
    top_share
        Of the candidates, the lowest entropies are chosen, as many as this share of all neurons.
    assignment_percentile
        A chosen neuron is specific to every class whose p_c exceeds this order statistic of all p.
    fill
        LAPE's code chooses the full number even where fewer neurons are candidates.
    """

    measure: str = "aape"
    response_filter: str = "percentile"
    response_percentile: float = 0.95
    weakest_share: float = 0.05
    top_share: float = 0.01
    assignment_percentile: float = 0.95
    fill: bool = False


PRESETS = {
    "aape": Rule(),
    "aape-bottom5": Rule(response_filter="weakest"),
    "lape": Rule(fill=True),
    **{measure: Rule(measure=measure) for measure in (*MEASURES, "auroc")},
}


def rule_of(preset: str, overrides: Mapping) -> Rule:
    """A preset with some of its numbers changed."""
    return replace(
        PRESETS[preset], **{f.name: overrides[f.name] for f in fields(Rule) if f.name in overrides}
    )


@dataclass(frozen=True)
class Selection:
    """What a rule chose among N neurons for C classes.

    Attributes
    ----------
    entropy
        float64 (N,): AAPE in nats; NaN for a neuron that is never active.
    candidates, selected
        bool (N,): passed the response filter; chosen.
    assigned
        bool (C, N): class-specific. All False in a class without clips.
    response_threshold, assignment_threshold
        The order statistics that the filters used (NaN where the filter uses none).
    """

    entropy: np.ndarray
    candidates: np.ndarray
    selected: np.ndarray
    assigned: np.ndarray
    response_threshold: float
    assignment_threshold: float


def probabilities(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """p_c of every neuron: (C, N) counts over (C,) tokens; NaN in classes without tokens."""
    with np.errstate(invalid="ignore"):
        return active / tokens[:, None]


def select(p: np.ndarray, rule: Rule) -> Selection:
    """Apply the three filters of a rule to probabilities (C, N).

    Equal entropies are taken in the order of the neurons. Classes without clips (NaN) take no part.

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
        candidates = ~lowest(strongest, round(rule.weakest_share * len(h)))
    if not rule.fill:
        candidates &= ~np.isnan(h)

    selected = lowest(np.where(candidates, h, np.inf), round(rule.top_share * len(h)))
    if not rule.fill:
        selected &= candidates

    bar = threshold
    if np.isnan(threshold) or rule.assignment_percentile != rule.response_percentile:
        bar = order_statistic(q, rule.assignment_percentile)
    assigned = np.zeros(p.shape, bool)
    assigned[:, selected] = p[:, selected] > bar
    return Selection(h, candidates, selected, assigned, threshold, bar)


def rank(p: np.ndarray, scores: np.ndarray, top_share: float) -> Selection:
    """Choose for every class the ``top_share`` of all neurons whose scores (C, N) are highest.

    Equal scores are taken in the order of the neurons; neurons that are never active are not chosen,
    nor those without a score (NaN). Classes without clips take no part.

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
    return Selection(h, candidates, np.any(assigned, axis=0), assigned, np.nan, np.nan)


def choose(active: np.ndarray, tokens: np.ndarray, rule: Rule, units: Units | None = None) -> Selection:
    """Apply any rule to counts (C, N) over (C,) tokens; AUROC needs the counts of ``units`` too.

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


def _present(p: np.ndarray) -> np.ndarray:
    """Which classes have clips, bool (C,)."""
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
    settings: Mapping,
    neurons_out: Path,
    classes_out: Path,
) -> None:
    """Choose neurons from a folder of statistics, and write the ``neurons`` and ``classes`` tables.

    ``settings`` names the preset and the numbers it changes; ``splits`` are the clips that choose.
    """
    classes, active, neurons = class_counts(statistics, label, splits)
    tokens = classes["tokens"].to_numpy()
    p = probabilities(active, tokens)
    rule = rule_of(settings["preset"], settings)
    units = read(statistics / "units.parquet", label, splits) if rule.measure == "auroc" else None
    chosen = choose(active, tokens, rule, units)
    tables.write(neurons_out, "neurons", neurons_table(classes, neurons, p, chosen))
    tables.write(classes_out, "classes", classes_table(classes, chosen))


def neurons_table(
    classes: pd.DataFrame, neurons: np.ndarray, p: np.ndarray, chosen: Selection
) -> pd.DataFrame:
    """The ``neurons`` table: one row per neuron and class.

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
            "assigned": chosen.assigned.ravel(),
        }
    )


def classes_table(classes: pd.DataFrame, chosen: Selection) -> pd.DataFrame:
    """The ``classes`` table: how many neurons are specific to each class."""
    count = chosen.assigned.sum(1)
    return classes.assign(neurons=count, covered=count > 0)


def coverage(classes: pd.DataFrame) -> float:
    """Share of the classes with clips that have at least one specific neuron."""
    return float(classes.loc[classes["clips"] > 0, "covered"].mean())


def neurons_per_class(classes: pd.DataFrame) -> float:
    """Mean number of specific neurons over the classes with clips."""
    return float(classes.loc[classes["clips"] > 0, "neurons"].mean())


def specific_neurons(table: pd.DataFrame) -> dict[str, frozenset[tuple[int, int]]]:
    """Class → its specific neurons (layer, unit), from a ``neurons`` table; classes in natural order."""
    found = table[table["assigned"]]
    sets = {name: frozenset(zip(g["layer"], g["neuron"], strict=True)) for name, g in found.groupby("class")}
    return {name: sets.get(name, frozenset()) for name in sorted(table["class"].unique(), key=natural)}
