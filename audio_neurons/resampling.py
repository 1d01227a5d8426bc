"""What the selection would be with other labels, or with other speakers: draws of the whole selection.

The units of independence are the groups of :class:`~audio_neurons.units.Units`. A draw gives every row a
class and a weight, and adds the rows up to counts per class; draws are added up as one matrix product
per block, and then go through the whole selection one by one. Draw *i* depends on the seed and on *i*
alone: neither blocks nor threads change a bit, since sums of counts are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from audio_neurons.selection import Rule, Selection, choose
from audio_neurons.units import Units

EXACT = 2**24  # float32 holds every integer up to here
CELLS = 2**24  # counts that are converted to floating point together: 64 or 128 MB


class ResamplingError(ValueError):
    """There is nothing to draw from, or no way to draw it."""


@dataclass(frozen=True)
class Draws:
    """How many draws of one kind, and how they are computed.

    Attributes
    ----------
    count, seed
        Number of draws, and what they depend on.
    side
        0 or 1: two tasks that are compared are drawn independently.
    block, threads
        Draws per matrix product, and threads that select. They change time and memory only.
    """

    count: int
    seed: int = 0
    side: int = 0
    block: int = 32
    threads: int = 1


def pooled(units: Units) -> Units:
    """The same units with one row per group and class, and without classes that have no row."""
    keys = units.groups * len(units.classes) + units.labels
    found, row = np.unique(keys, return_inverse=True)
    if not len(found):
        raise ResamplingError(
            "no class has a clip in the splits that are counted; set selection.statistics_split"
        )
    present, labels = np.unique(found % len(units.classes), return_inverse=True)
    groups = np.unique(found // len(units.classes), return_inverse=True)[1]
    active, tokens = units.active, units.tokens
    if len(found) < len(row) or (row != np.arange(len(row))).any():
        active, tokens = np.zeros((len(found), active.shape[1]), np.uint32), np.zeros(len(found), np.int64)
        np.add.at(tokens, row, units.tokens)
        for into, counts in zip(row, units.active, strict=True):
            active[into] += counts
    return Units(active, tokens, labels, groups, tuple(units.classes[c] for c in present))


class Scheme(Protocol):
    """A kind of draw from pooled units."""

    number: int  # tells its random numbers from those of other kinds

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Classes and weights, int64 (K, R) both, of the K selections that make up one draw."""


class Permutation:
    """Classes are shuffled among units that could have had each other's.

    A group of one class (a speaker's gender) changes places with any other group of one class. A group
    of several (a speaker's emotions) keeps them, and they change places within it, a random bijection:
    what the group itself does to the counts stays where it is. Where a dataset has both kinds, each is
    shuffled by its own rule, so that every group keeps the number of its classes. Clips are permuted
    where every clip is a group.
    """

    number = 0

    def __init__(self, units: Units):
        several = np.bincount(units.groups)[units.groups] > 1
        self._labels, self._strata = units.labels, np.where(several, units.groups, -1)
        self._places = np.argsort(self._strata, kind="stable")

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels = np.empty_like(self._labels)
        labels[self._places] = self._labels[np.lexsort((rng.random(len(labels)), self._strata))]
        return labels[None], np.ones((1, len(labels)), np.int64)


class Bootstrap:
    """Groups are drawn with replacement, with all their rows (cluster bootstrap).

    Groups of one class are drawn within their class, so its size stays; groups of several are drawn
    together. A class that would lose all its groups keeps one of them, picked at random, in addition.
    A class of a single group therefore never varies: its interval says nothing of other groups.
    """

    number = 1

    def __init__(self, units: Units):
        self._units, self._strata = units, strata(units)

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels, groups = self._units.labels, self._units.groups
        weights = np.zeros(groups.max() + 1, np.int64)
        for members in self._strata:
            weights[members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)))
        kept = np.bincount(labels, weights[groups])
        for missing in np.flatnonzero(kept == 0):
            weights[rng.choice(groups[labels == missing])] = 1  # once, however many of its classes are
        return labels[None], weights[groups][None]


class Halves:
    """Groups are split into two halves at random, as evenly as the strata of the bootstrap allow.

    One draw is two selections. Where a class has a single group, it is empty in one of them.
    """

    number = 2

    def __init__(self, units: Units):
        self._units, self._strata = units, strata(units)

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        first = np.zeros(self._units.groups.max() + 1, np.int64)
        for members in self._strata:
            half = (len(members) + rng.integers(2)) // 2  # an odd one goes to either side
            first[rng.permutation(members)[:half]] = 1
        if first.min() == first.max():  # strata of one group each
            first[rng.integers(len(first))] ^= 1
        weights = first[self._units.groups]
        return np.stack([self._units.labels] * 2), np.stack([weights, 1 - weights])


def strata(units: Units) -> list[np.ndarray]:
    """Groups that take each other's place: those of one class by class, and those of several."""
    several = np.bincount(units.groups) > 1
    label = np.zeros(len(several), np.int64)
    label[units.groups] = units.labels
    members = [np.flatnonzero(~several & (label == c)) for c in range(len(units.classes))]
    return [m for m in (*members, np.flatnonzero(several)) if len(m)]


def draw(units: Units, rule: Rule, scheme: Scheme, draws: Draws) -> Iterator[tuple[Selection, ...]]:
    """Selections by ``rule`` of every draw of pooled ``units``, in the order of the draws.

    Raises
    ------
    ResamplingError
        If the rule ranks by AUROC, which needs more than sums of counts.
    """
    if rule.measure == "auroc":
        raise ResamplingError("auroc is no function of counts per class; choose another selector")
    with ThreadPoolExecutor(draws.threads) as pool:
        for start in range(0, draws.count, draws.block):
            numbers = range(start, min(start + draws.block, draws.count))
            drawn = [scheme(_generator(draws, scheme.number, i)) for i in numbers]
            labels, weights = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
            active, tokens = totals(units, labels, weights)
            chosen = pool.map(lambda a, t: choose(a.astype(np.float64), t, rule), active, tokens)
            yield from zip(*[chosen] * (len(labels) // len(drawn)), strict=True)


def _generator(draws: Draws, kind: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(draws.seed, spawn_key=(kind, draws.side, number)))


def totals(units: Units, labels: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (D, C, N) and tokens (D, C) of the classes of D draws, all exact integers.

    Parameters
    ----------
    labels, weights
        (D, R): the class that every row has in a draw, and how many times it counts.
    """
    d, r = labels.shape
    c, n = len(units.classes), units.active.shape[1]
    rows: np.ndarray = np.zeros((d, c, r), np.float64)
    np.put_along_axis(rows, labels[:, None], weights[:, None], axis=1)
    rows = rows.reshape(d * c, r)
    tokens = rows @ units.tokens  # float64: exact below 2 ** 53
    # No partial sum exceeds the tokens of its class, in whatever order they are added.
    kind = np.float32 if tokens.max() < EXACT else np.float64
    rows = rows.astype(kind)
    active = np.empty((d * c, n), kind)
    width = max(1, CELLS // r)
    for start in range(0, n, width):
        here = slice(start, start + width)
        np.matmul(rows, units.active[:, here].astype(kind), out=active[:, here])
    return active.reshape(d, c, n), tokens.reshape(d, c)


def observed(units: Units, rule: Rule) -> Selection:
    """The selection by the units as they are."""
    active, tokens = totals(units, units.labels[None], np.ones((1, len(units.labels)), np.int64))
    return choose(active[0].astype(np.float64), tokens[0], rule, units)
