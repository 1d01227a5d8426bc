"""Choosing class-specific neurons from class-conditional activation probabilities.

``p`` is the array of probabilities, float64 (classes, neurons): p_c = active tokens / tokens over the
clips of class c. AAPE (Kawamura et al., arXiv 2602.15307) is the entropy of p normalised over the
classes, and its filters are those of LAPE (Tang et al. 2024, arXiv 2402.16438).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.statistics import class_counts, natural


class SelectionError(ValueError):
    """Nothing can be selected from these probabilities."""


@dataclass(frozen=True)
class Rule:
    """The three filters, and every number in them.

    Attributes
    ----------
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
        return active / np.asarray(tokens, np.float64)[:, None]


def entropy(p: np.ndarray) -> np.ndarray:
    """AAPE in nats, (N,): -Σ_c p̂_c ln p̂_c with p̂ = p / Σ_c p and 0 ln 0 = 0; NaN where Σ_c p = 0.

    At most ln C. Classes must all have clips.
    """
    p = np.sort(p, axis=0)  # so that the order of the classes does not decide the last bit, nor ties
    total = p.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = p / total
        terms = np.where(share > 0, share * np.log(share), 0.0)
    return np.where(total > 0, 0.0 - terms.sum(0), np.nan)


def order_statistic(values: np.ndarray, share: float) -> float:
    """The ``round(share * n)``-th smallest of n values, as LAPE's ``kthvalue``."""
    k = max(1, round(values.size * share))
    return float(np.partition(values.ravel(), k - 1)[k - 1])


def select(p: np.ndarray, rule: Rule) -> Selection:
    """Apply a rule to probabilities (C, N).

    Equal entropies are taken in the order of the neurons. Classes without clips (NaN) take no part.

    Raises
    ------
    SelectionError
        If no class has clips.
    """
    present = ~np.isnan(p).any(1)
    if not present.any():
        raise SelectionError(
            "no class has a clip in the splits that are counted; set selection.statistics_split"
        )
    q = p[present]
    h = entropy(q)
    strongest = q.max(0)
    threshold = np.nan
    if rule.response_filter == "percentile":
        threshold = order_statistic(q, rule.response_percentile)
        candidates = strongest > threshold
    else:
        candidates = np.ones(len(h), bool)
        weakest = np.argsort(strongest, kind="stable")[: round(rule.weakest_share * len(h))]
        candidates[weakest] = False
    if not rule.fill:
        candidates &= ~np.isnan(h)

    wanted = round(rule.top_share * len(h))
    order = np.argsort(np.where(candidates, h, np.inf), kind="stable")[:wanted]
    selected = np.zeros(len(h), bool)
    selected[order] = True
    if not rule.fill:
        selected &= candidates

    bar = order_statistic(q, rule.assignment_percentile)
    assigned = np.zeros(p.shape, bool)
    assigned[present] = (q > bar) & selected
    return Selection(h, candidates, selected, assigned, threshold, bar)


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
    p = probabilities(active, classes["tokens"].to_numpy())
    chosen = select(p, rule_of(settings["preset"], settings))
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
