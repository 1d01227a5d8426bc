"""Permutations of class labels among what is exchangeable if classes do nothing.

The rate of a group or row is the noisier, the fewer tokens it has. If the class decides how many, rows of
different classes are not exchangeable even if the class does nothing to any neuron, and a permutation test of
them is invalid. Where sizes go with the class, labels therefore change places only between units of like
size: their numbers of tokens differ by less than a factor of 2. A class whose units have other sizes than all
others stays where it is, and nothing can be called of it; :func:`design` says so with figures. Whether sizes
go with the class follows from the design alone, not from what any neuron does.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pandas as pd

from audio_neurons.activations.rows import counted
from audio_neurons.activations.units import Units


class Scheme(Protocol):
    """A way of drawing from pooled units."""

    number: int  # separates its random numbers from those of other schemes

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return classes and weights, int64 (K, R) both, of the K selections that make up one draw."""


def of_several(units: Units) -> np.ndarray:
    """Return which groups contain several classes, bool (G,)."""
    pairs = np.unique(units.groups * len(units.classes) + units.labels)
    return np.bincount(pairs // len(units.classes), minlength=units.groups.max() + 1) > 1


def like_sizes(sizes: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the octave of each size, counted from the smallest ``among`` the same number."""
    smallest = np.full(among.max() + 1, sizes.max())
    np.minimum.at(smallest, among, sizes)
    return np.floor(np.log2(sizes / smallest[among])).astype(np.int64)


ASSOCIATED = 0.05


class Exchange:
    """What changes places in a permutation of labels, and with what.

    A group of one class moves as a whole. In a group of several classes, each row moves by itself, within the
    group. Where sizes go with the class (`association` above `ASSOCIATED`), only units of one octave of
    tokens change places.

    Attributes
    ----------
    unit
        int (R,): what moves each row with it, U units in all.
    label, size, stratum
        int (U,): class and tokens of each unit, and the set of units with which it changes places.
    group
        int (U,): a group of several classes, or -1 for units that are groups of one.
    association
        How much sizes go with the class: ε² of the logarithm of tokens on the class, within groups of several
        classes. It is eta², less what chance gives (Kelley 1935), at least 0, and 1 where the class decides.
    """

    def __init__(self, units: Units):
        several = of_several(units)[units.groups]
        moved = np.where(several, len(units.groups) + np.arange(len(units.groups)), units.groups)
        _, first, order = np.unique(moved, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))  # units in the order of their first rows
        self.unit = rank[order]
        first = np.sort(first)
        self.label = units.labels[first]
        self.group = np.where(several[first], units.groups[first], -1)
        self.size = np.maximum(np.bincount(self.unit, counted(units)), 1).astype(np.int64)
        self.association = self._association()
        octave = np.zeros_like(self.size)
        if self.association > ASSOCIATED:
            octave = like_sizes(self.size, self.group + 1)
        self.stratum = np.unique(np.stack([self.group, octave]), axis=1, return_inverse=True)[1].ravel()

    def _association(self) -> float:
        of_group = np.unique(self.group, return_inverse=True)[1]
        size = np.log(self.size)
        size = size - (np.bincount(of_group, size) / np.bincount(of_group))[of_group]
        of_class = np.unique(self.label, return_inverse=True)[1]
        total = (size**2).sum()
        between = (np.bincount(of_class, size) ** 2 / np.bincount(of_class)).sum()
        free = len(size) - of_group.max() - 1
        rest = free - of_class.max()
        if total < 1e-9 or rest < 1:
            return 0.0 if total < 1e-9 else 1.0
        return max(0.0, float(1 - (1 - between / total) * free / rest))

    @property
    def movable(self) -> np.ndarray:
        """Which units can have another class, bool (U,): there is one in their stratum."""
        pairs = np.unique(np.stack([self.stratum, self.label]), axis=1)
        return (np.bincount(pairs[0]) > 1)[self.stratum]


class Permutation:
    """Shuffles classes among exchangeable units.

    A group of one class (a speaker's gender) swaps classes with other groups of one class. A group of several
    (a speaker's emotions) keeps them, and they are permuted within it by a random bijection, so the group's
    own effect on the counts is preserved. If sizes go with the class, either only between units of like size
    (:class:`Exchange`). If
    every clip is its own group, clips are permuted; if rows are clips, those of a group of several classes.
    """

    number = 0

    def __init__(self, units: Units):
        self._exchange = Exchange(units)
        self._places = np.argsort(self._exchange.stratum, kind="stable")

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        label, stratum = self._exchange.label, self._exchange.stratum
        drawn = np.empty_like(label)
        drawn[self._places] = label[np.lexsort((rng.random(len(label)), stratum))]
        labels = drawn[self._exchange.unit]
        return labels[None], np.ones((1, len(labels)), np.int64)


def design(units: Units) -> pd.DataFrame:
    """Return figures on what a permutation can show.

    Rows have ``statistic``, ``class`` and ``value``. ``size_association`` says how much sizes go with the
    class (:class:`Exchange`). ``movable`` is the share of a class's units (``""``: of all) whose label can
    change. ``effective_groups`` of a class is (Σ n)² / Σ n² over the tokens n of its groups, after Kish
    (1965): its number of groups if they are of like size.
    """
    exchange, classes = Exchange(units), len(units.classes)
    number = np.bincount(exchange.label, minlength=classes)
    movable = np.bincount(exchange.label, exchange.movable, classes) / number
    held = np.zeros((classes, units.groups.max() + 1))
    np.add.at(held, (units.labels, units.groups), units.tokens)
    effective = held.sum(1) ** 2 / (held**2).sum(1)
    names = ["size_association", "movable", *["movable", "effective_groups"] * classes]
    values = [exchange.association, exchange.movable.mean()]
    values += np.stack([movable, effective], axis=1).ravel().tolist()
    place = ["", "", *np.repeat(np.asarray(units.classes, object), 2)]
    return pd.DataFrame({"statistic": names, "class": place, "value": values})


class Jointly:
    """Draws of combinations of two labels, as seen by one of them.

    Two labels of the same clips go together. Their combinations are permuted, or resampled, so that they
    still do.

    Parameters
    ----------
    scheme
        Way of drawing from rows of one group and combination each.
    of
        int (K,): the label's class in each combination.
    """

    def __init__(self, scheme: Scheme, of: np.ndarray):
        self._scheme, self._of, self.number = scheme, of, scheme.number

    def __call__(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        combinations, weights = self._scheme(rng)
        return self._of[combinations], weights
