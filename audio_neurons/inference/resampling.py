"""Draws of the whole selection, with permuted labels or resampled groups (such as speakers).

The units of independence are the groups of :class:`~audio_neurons.activations.units.Units`. A draw gives
every row a class and a weight, and sums the rows to counts per class. One matrix product sums a block of
draws, and each draw then goes through the whole selection. Draw *i* depends only on the seed and on *i*:
neither blocks nor threads change a bit, since sums of counts are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from audio_neurons import tables
from audio_neurons.activations.rows import NamedUnits
from audio_neurons.activations.units import Units
from audio_neurons.inference.permutation import Scheme, of_several
from audio_neurons.neurons.selection import Selection, choose
from audio_neurons.settings.selection import Rule

EXACT = 2**24  # float32 holds every integer up to here
CELLS = 2**24  # counts that are converted to floating point at once: 64 or 128 MB
# Numbers of the draws of a block, and of the selections that run at once: 1 and 2 GB.
BLOCK = 2**28


class ResamplingError(ValueError):
    """No class has clips, or the rule cannot be resampled."""


@dataclass(frozen=True)
class Draws:
    """Number of draws of one kind, and how to compute them.

    Attributes
    ----------
    count, seed
        Number of draws, and seed of their random numbers.
    side
        0 or 1: which of two compared tasks is drawn; their draws are independent.
    block, threads
        Draws per matrix product, and threads that select. They change time and memory only.
    """

    count: int
    seed: int = 0
    side: int = 0
    block: int = 32
    threads: int = 1


def pooled(units: Units) -> Units:
    """Return the units with one row per group and class, and without classes that have no row."""
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
    classes = tuple(units.classes[c] for c in present)
    if isinstance(units, NamedUnits):
        names = tuple(units.names[g] for g in np.unique(units.groups))
        return NamedUnits(active, tokens, labels, groups, classes, names)
    return Units(active, tokens, labels, groups, classes)


def one_by_one(clips: Units, units: Units) -> Units:
    """Return the rows of single clips with the classes and groups of the same clips, :func:`pooled`.

    Raises
    ------
    TableError
        If they are not the same clips.
    """
    apart = Units(clips.active, clips.tokens, clips.labels, np.arange(len(clips.labels)), clips.classes)
    rows = pooled(apart)
    groups = np.unique(clips.groups, return_inverse=True)[1]
    sums: list[Counter] = [Counter(), Counter()]
    for found, of, row in zip(sums, (groups, units.groups), (rows, units), strict=True):
        for group, label, tokens in zip(of.tolist(), row.labels.tolist(), row.tokens.tolist(), strict=True):
            found[group, label] += tokens
    if rows.classes != units.classes or sums[0] != sums[1]:
        raise tables.TableError(
            f"the counts of single clips are not of the same clips as the units; {tables.REMEDY}"
        )
    return Units(rows.active, rows.tokens, rows.labels, groups, rows.classes)


class Bootstrap:
    """Draws groups with replacement, with all their rows (cluster bootstrap).

    Groups of one class are drawn within their class, whose number of groups is kept. Groups of several
    classes are drawn together. A class that would lose all its groups keeps one of them, picked at random,
    in addition. A class of a single group therefore never varies, and its interval says nothing about
    other groups.
    """

    number = 1

    def __init__(self, units: Units):
        self._units, self._strata = units, strata(units)

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        labels, groups = self._units.labels, self._units.groups
        weights = np.zeros(groups.max() + 1, np.int64)
        for members in self._strata:
            weights[members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)))
        kept = np.bincount(labels, weights[groups], len(self._units.classes))
        for missing in np.flatnonzero(kept == 0):
            weights[rng.choice(groups[labels == missing])] = 1  # once, even if it restores several classes
        return labels[None], weights[groups][None]


class Halves:
    """Splits groups into two halves at random, as evenly as the strata of the bootstrap allow.

    One draw consists of two selections. A class of a single group is empty in one of them.
    """

    number = 2

    def __init__(self, units: Units):
        self._units, self._strata = units, strata(units)

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        first = np.zeros(self._units.groups.max() + 1, np.int64)
        for members in self._strata:
            half = (len(members) + rng.integers(2)) // 2  # a group left over goes to either half
            first[rng.permutation(members)[:half]] = 1
        if first.min() == first.max():  # strata of one group each, all on one side
            first[rng.integers(len(first))] ^= 1
        weights = first[self._units.groups]
        return np.stack([self._units.labels] * 2), np.stack([weights, 1 - weights])


def strata(units: Units) -> list[np.ndarray]:
    """Return sets of interchangeable groups: those of one class by class, and those of several classes."""
    several = of_several(units)
    label = np.zeros(len(several), np.int64)
    label[units.groups] = units.labels
    members = [np.flatnonzero(~several & (label == c)) for c in range(len(units.classes))]
    return [m for m in (*members, np.flatnonzero(several)) if len(m)]


@dataclass(frozen=True)
class Outcome:
    """A selection of a draw, and the classes and weights (R,) of the rows that it is of."""

    chosen: Selection
    labels: np.ndarray
    weights: np.ndarray


def draw(units: Units, rule: Rule, scheme: Scheme, draws: Draws) -> Iterator[tuple[Selection, ...]]:
    """Yield the selections by ``rule`` in every draw of pooled ``units``, in the order of the draws.

    Raises
    ------
    ResamplingError
        If the rule ranks by AUROC, which needs more than sums of counts.
    """
    for drawn in outcomes(units, rule, scheme, draws):
        yield tuple(one.chosen for one in drawn)


def outcomes(units: Units, rule: Rule, scheme: Scheme, draws: Draws) -> Iterator[tuple[Outcome, ...]]:
    """Yield what :func:`draw` yields, each selection with the rows that it is of."""
    if rule.measure == "auroc":
        raise ResamplingError("auroc cannot be computed from counts per class; choose another selector")
    block, threads = _affordable(units, draws)
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, draws.count, block):
            numbers = range(start, min(start + block, draws.count))
            drawn = [scheme(_generator(draws, scheme.number, i)) for i in numbers]
            for first in range(0, len(drawn), max(1, draws.block // len(drawn[0][0]))):
                part = drawn[first : first + max(1, draws.block // len(drawn[0][0]))]
                labels, weights = (np.concatenate(parts) for parts in zip(*part, strict=True))
                active, tokens = totals(units, labels, weights)
                chosen = pool.map(lambda a, t: choose(a.astype(np.float64), t, rule), active, tokens)
                found = map(Outcome, chosen, labels, weights)
                yield from zip(*[found] * (len(labels) // len(part)), strict=True)


def _affordable(units: Units, draws: Draws) -> tuple[int, int]:
    """Return draws per block, and threads: with thousands of classes, fewer than asked for.

    A draw has the counts of all classes, and the classes of all rows; a selection some six arrays like it.
    """
    rows, neurons = units.active.shape
    classes = len(units.classes)
    block = BLOCK // (classes * (neurons + 3 * rows))
    threads = BLOCK // (classes * neurons * 6)
    return max(1, min(draws.block, block)), max(1, min(draws.threads, threads))


def _generator(draws: Draws, kind: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(draws.seed, spawn_key=(kind, draws.side, number)))


def totals(
    units: Units, labels: np.ndarray, weights: np.ndarray, kind: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (D, C, N) and tokens (D, C) of the classes in D draws, all exact integers.

    Parameters
    ----------
    labels, weights
        (D, R): class of every row in each draw, and how many times the row counts.
    kind
        Floating-point type of the counts; by default the smallest in which they are exact.
    """
    d, r = labels.shape
    c, n = len(units.classes), units.active.shape[1]
    rows: np.ndarray = np.zeros((d, c, r), np.float64)
    np.put_along_axis(rows, labels[:, None], weights[:, None], axis=1)
    rows = rows.reshape(d * c, r)
    tokens = rows @ units.tokens  # float64 is exact below 2 ** 53
    # No partial sum exceeds the tokens of its class, in whatever order they are added.
    kind = kind or ("float32" if tokens.max() < EXACT else "float64")
    rows = rows.astype(kind)
    active = np.empty((d * c, n), kind)
    width = max(1, CELLS // r)
    for start in range(0, n, width):
        here = slice(start, start + width)
        np.matmul(rows, units.active[:, here].astype(kind), out=active[:, here])
    return active.reshape(d, c, n), tokens.reshape(d, c)


def observed(units: Units, rule: Rule) -> Selection:
    """Return the selection from the units as they are, without resampling."""
    active, tokens = totals(units, units.labels[None], np.ones((1, len(units.labels)), np.int64))
    return choose(active[0].astype(np.float64), tokens[0], rule, units)
