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


class Ranks:
    """Places of the rows of units in the order of each neuron's rates; equal rates have the same place.

    They depend neither on labels nor on weights, so a neuron is ranked once for all draws, when it is first
    asked for.
    """

    def __init__(self, units: Units):
        rows, neurons = units.active.shape
        self._units, self._known = units, np.zeros(neurons, bool)
        self._places = np.empty((neurons, rows), np.min_scalar_type(rows))

    def of(self, neurons: np.ndarray) -> np.ndarray:
        """Return the places, from 0, of all rows for J neurons, (J, R)."""
        unknown = neurons[~self._known[neurons]]
        tokens = np.maximum(self._units.tokens, 1)
        for start in range(0, len(unknown), BLOCK):
            here = unknown[start : start + BLOCK]
            rates = self._units.active[:, here].T / tokens
            order = rates.argsort(axis=1)
            rates = np.take_along_axis(rates, order, 1)
            places = np.zeros(rates.shape, self._places.dtype)
            np.cumsum(rates[:, 1:] != rates[:, :-1], axis=1, out=places[:, 1:])
            ranked = np.empty_like(places)
            np.put_along_axis(ranked, order, places, 1)
            self._places[here], self._known[here] = ranked, True
        return self._places[neurons]


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
    ranks, found = Ranks(units), []
    for scheme, count in zip(schemes, (1, *counts), strict=True):
        drawn = outcomes(units, rule, Splits(units, splits, scheme), replace(plan, count=count))
        found.append(np.stack([_over_splits(units, halves, ranks) for halves in drawn]))
    return found[0][0], found[1], found[2]


def _over_splits(units: Units, halves: Sequence[Outcome], ranks: Ranks) -> np.ndarray:
    """Return the means over both directions of every split; NaN only where no direction is defined."""
    judged = []
    for i, choosing in enumerate(halves):
        other = halves[i ^ 1]
        judged.append(judge(units, other.labels, other.weights, preferred(choosing.chosen), ranks))
    values = np.array(judged)
    count = (~np.isnan(values)).sum(0)
    return np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)


def judge(units: Units, labels: np.ndarray, weights: np.ndarray, of: np.ndarray, ranks: Ranks) -> np.ndarray:
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
    ranks
        Those of the units.
    """
    times = (labels == np.arange(len(units.classes))[:, None]) * weights.astype(float)
    present = times.any(1)
    neurons = np.flatnonzero((of >= 0) & present[of])
    if not len(neurons) or present.sum() < 2:
        return np.full(len(REPLICATION), np.nan)
    found = np.empty((len(REPLICATION), len(neurons)))
    for start in range(0, len(neurons), BLOCK):
        here = neurons[start : start + BLOCK]
        mine = of[here]
        # Sums of counts are exact, in whatever order.
        p = (times @ units.active[:, here] + 0.5) / (times @ units.tokens + 1)[:, None]
        p[~present] = -1
        own = p[mine, np.arange(len(mine))]
        rest = (p[present].sum(0) - own) / (present.sum() - 1)
        odds = np.log(own / (1 - own)) - np.log(rest / (1 - rest))
        areas = _areas(ranks.of(here), times[mine], weights)
        found[:, start : start + BLOCK] = areas, odds, p.argmax(0) == mine
    return found.mean(1)


def _areas(places: np.ndarray, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each neuron's rate as a detector of its class, (J,).

    Parameters
    ----------
    places
        (J, R): places of the rows (:class:`Ranks`).
    times, weights
        (J, R) and (R,): how many times each row counts as one of the neuron's class, and at all.
    """
    count, rows = places.shape
    at = (places + rows * np.arange(count)[:, None]).ravel()
    inside, outside = (
        np.bincount(at, one.ravel(), count * rows).reshape(count, rows) for one in (times, weights - times)
    )
    # A row of the class is above all others of lower places, and above half of those of its own.
    below = outside.cumsum(1) - outside / 2
    return (inside * below).sum(1) / (inside.sum(1) * outside.sum(1))


def transfer(
    tasks: Sequence[Units],
    drawn: Sequence[Outcome],
    same: Sequence[Mapping[int, Sequence[int]]],
    ranks: Sequence[Ranks],
) -> float:
    """Return the mean area of neurons of one task's classes for the classes of the other that mean the same.

    Parameters
    ----------
    tasks, drawn
        Units of both tasks, and a draw of each.
    same
        For each task: number of a class → numbers of the other task's classes that mean the same.
    ranks
        Those of both tasks' units.
    """
    areas = []
    for side, there in ((0, 1), (1, 0)):
        outcome = drawn[there]
        member = [np.isin(outcome.labels, same[side].get(c, ())) for c in range(len(tasks[side].classes))]
        times = np.array(member) * outcome.weights.astype(float)
        some = (times.sum(1) > 0) & (times.sum(1) < outcome.weights.sum())
        of = preferred(drawn[side].chosen)
        neurons = np.flatnonzero((of >= 0) & some[of])
        for start in range(0, len(neurons), BLOCK):
            here = neurons[start : start + BLOCK]
            areas.append(_areas(ranks[there].of(here), times[of[here]], outcome.weights))
    return float(np.concatenate(areas).mean()) if areas else np.nan
