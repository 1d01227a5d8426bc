"""Replication: neurons are chosen on one half of the groups, and judged on the other.

What a chosen neuron shows on the groups that chose it is the best of many, so it is large even if no class
does anything. On other groups it is not. The measures do not depend on how often a neuron is active, so that
models with different rates can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from audio_neurons.activations.units import Units
from audio_neurons.inference.permutation import Permutation, Scheme
from audio_neurons.inference.resampling import Bootstrap, Draws, Halves, Outcome, outcomes
from audio_neurons.neurons.specificity import preferred
from audio_neurons.settings.selection import Rule

REPLICATION = ("auroc", "log_odds", "again")
BLOCK = 512  # neurons that are ranked at once


class Splits:
    """Several splits into halves of data whose labels or groups are drawn first, if at all.

    Groups are split as evenly as the drawn labels allow, by
    :class:`~audio_neurons.inference.resampling.Halves`, so permuted labels are split as those of the data
    are. A group that was drawn more than once is in one half with all its copies. There must be two groups.
    """

    number = 3

    def __init__(self, units: Units, splits: int, first: Scheme | None = None):
        self._units, self._splits, self._first = units, splits, first
        self.number = 3 if first is None else 4 + first.number

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels, times = self._units.labels, np.ones(len(self._units.labels), np.int64)
        groups = np.zeros(1, np.int64)
        while not groups.any():  # one group drawn again and again has no halves: draw anew
            if self._first is not None:
                (labels,), (times,) = self._first(rng)
            there = np.flatnonzero(times)
            groups = np.unique(self._units.groups[there], return_inverse=True)[1]
        halves = Halves(replace(self._units, labels=labels[there], groups=groups))
        weights = np.zeros((2 * self._splits, len(labels)), np.int64)
        for split in range(self._splits):
            weights[2 * split : 2 * split + 2, there] = halves(rng)[1]
        return np.tile(labels, (len(weights), 1)), weights * times


def replicate(
    units: Units, rule: Rule, splits: int, plan: Draws, counts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the means of `REPLICATION` over splits: of the data (3,), and of two kinds of draws (B, 3).

    The first draws have permuted labels, the second are resamples of the groups; ``counts`` are the numbers
    of both.
    """
    schemes = None, Permutation(units), Bootstrap(units)
    found = []
    for scheme, count in zip(schemes, (1, *counts), strict=True):
        drawn = outcomes(units, rule, Splits(units, splits, scheme), replace(plan, count=count))
        found.append(np.stack([_over_splits(units, halves) for halves in drawn]))
    return found[0][0], found[1], found[2]


def _over_splits(units: Units, halves: Sequence[Outcome]) -> np.ndarray:
    """Return the means over both directions of every split; NaN only where no direction is defined."""
    judged = []
    for i, choosing in enumerate(halves):
        other = halves[i ^ 1]
        judged.append(judge(units, other.labels, other.weights, preferred(choosing.chosen)))
    values = np.array(judged)
    count = (~np.isnan(values)).sum(0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def judge(units: Units, labels: np.ndarray, weights: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return the `REPLICATION` of chosen neurons, as means over those whose class has rows, (3,).

    ``auroc`` is the probability that a neuron is active more often in a row (a group, or a group's clips of
    one class) of its class than in a row of another, ``log_odds`` the difference of the log odds of activity
    between its class and the mean of the others, and ``again`` whether it responds most to its class.

    Parameters
    ----------
    labels, weights
        (R,): class of every row, and how many times it counts.
    of
        int (N,): class of each neuron, or -1.
    """
    rows = np.repeat(np.arange(len(labels)), weights)
    member = labels[rows] == np.arange(len(units.classes))[:, None]
    present = member.any(1)
    neurons = np.flatnonzero((of >= 0) & present[of])
    if not len(neurons) or present.sum() < 2:
        return np.full(len(REPLICATION), np.nan)
    sums, tokens = member.astype(float), units.tokens[rows]
    found = np.empty((len(REPLICATION), len(neurons)))
    for start in range(0, len(neurons), BLOCK):
        here = slice(start, start + BLOCK)
        mine = of[neurons[here]]
        active = units.active[np.ix_(rows, neurons[here])].astype(float)
        p = (sums @ active + 0.5) / (sums @ tokens + 1)[:, None]
        p[~present] = -1
        own = p[mine, np.arange(len(mine))]
        rest = (p[present].sum(0) - own) / (present.sum() - 1)
        odds = np.log(own / (1 - own)) - np.log(rest / (1 - rest))
        found[:, here] = _area(active, tokens, member[mine].T), odds, p.argmax(0) == mine
    return found.mean(1)


def area(
    units: Units, rows: np.ndarray, member: np.ndarray, neurons: np.ndarray, of: np.ndarray
) -> np.ndarray:
    """Return the area under the ROC curve of each neuron's rate as a detector of its class, (J,).

    Parameters
    ----------
    rows
        int (K,): rows of the units, each as often as it counts.
    member
        bool (C, K): which of these belong to each class; every class in ``of`` has some, and lacks some.
    neurons, of
        int (J,): neurons, and the class of each.
    """
    found = np.empty(len(neurons))
    for start in range(0, len(neurons), BLOCK):
        here = slice(start, start + BLOCK)
        active = units.active[np.ix_(rows, neurons[here])]
        found[here] = _area(active, units.tokens[rows], member[of[here]].T)
    return found


def _area(active: np.ndarray, tokens: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Return the areas of counts (K, J) and tokens (K,); ``member``, bool (K, J), tells rows of the class."""
    rates = active / np.maximum(tokens, 1)[:, None]
    order = rates.argsort(axis=0)
    rates, member = np.take_along_axis(rates, order, 0), np.take_along_axis(member, order, 0)
    # The first and the last place of each run of equal rates; their mean is the rank of all in it.
    new = np.ones(rates.shape, bool)
    np.not_equal(rates[1:], rates[:-1], out=new[1:])
    place = np.arange(len(rates))[:, None]
    first = np.maximum.accumulate(np.where(new, place, 0), axis=0)
    last = np.where(np.concatenate([new[1:], new[:1]]), place, len(rates))
    last = np.minimum.accumulate(last[::-1], axis=0)[::-1]
    ranks = (first + last) / 2 + 1
    n = member.sum(0)
    return ((ranks * member).sum(0) - n * (n + 1) / 2) / (n * (len(rates) - n))


def transfer(
    tasks: Sequence[Units], drawn: Sequence[Outcome], same: Sequence[Mapping[int, Sequence[int]]]
) -> float:
    """Return the mean area of neurons of one task's classes for the classes of the other that mean the same.

    Parameters
    ----------
    tasks, drawn
        Units of both tasks, and a draw of each.
    same
        For each task: number of a class → numbers of the other task's classes that mean the same.
    """
    areas = []
    for side, there in ((0, 1), (1, 0)):
        units, outcome = tasks[there], drawn[there]
        rows = np.repeat(np.arange(len(outcome.labels)), outcome.weights)
        labels = outcome.labels[rows]
        names = range(len(tasks[side].classes))
        member = np.array([np.isin(labels, same[side].get(c, ())) for c in names], bool)
        some = np.array([line.any() and not line.all() for line in member])
        of = preferred(drawn[side].chosen)
        neurons = np.flatnonzero((of >= 0) & some[of])
        if len(neurons):
            areas.append(area(units, rows, member, neurons, of[neurons]))
    return float(np.concatenate(areas).mean()) if areas else np.nan
