"""Named patterns: do some pairs of classes share more neurons than others, as somebody expects?

Adjacent octaves, the Germanic languages, anger and happiness: a pattern is a set of pairs that should share
more than a set of others (:func:`contrast`). Two permutations answer two questions. Permuted **labels** ask
whether any class does anything. Permuted **identities** keep all ratios and give the classes each other's
names (Hubert and Schultz 1976): they ask whether the pattern is that of these classes, and say at once what
few classes can show.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial
from pathlib import Path

import numpy as np

from audio_neurons import tables
from audio_neurons.inference.significance import interval, mean, p_values

EXHAUSTIVE = 10_000  # renamings up to which all are done
SAMPLED = 9999  # renamings drawn beyond
BLOCK = 1 << 22  # ratios looked up at once
FOUND, OPPOSITE, UNTOLD = "found", "opposite", "cannot be told"

Pair = tuple[str, str]


class PatternError(ValueError):
    """A pattern names pairs that a comparison does not have, or that say nothing."""


@dataclass(frozen=True)
class PairDraws:
    """Ratios of the P pairs of classes of a comparison, with their draws.

    Attributes
    ----------
    names
        Classes of each pair. Within a task every pair is listed once.
    matched
        bool (P,): which pairs mean the same in both tasks.
    within
        Whether both classes are of one task.
    value, permuted, resampled
        float64 (P,), (B, P) and (R, P): ratios of the data, with permuted labels, and of resampled groups;
        NaN where both sets are empty. B is 0 where permuted labels mean nothing: of two labels of the same
        recordings.
    """

    names: Sequence[Pair]
    matched: np.ndarray
    within: bool
    value: np.ndarray
    permuted: np.ndarray
    resampled: np.ndarray

    @classmethod
    def read(cls, path: str | Path, within: bool) -> PairDraws:
        """Read a ``pair_draws`` table."""
        table = tables.read(path, "pair_draws")
        drawn = (
            np.array(table[name].tolist(), float).reshape(len(table), -1).T
            for name in ("permuted", "resampled")
        )
        names = list(zip(table["class_a"], table["class_b"], strict=True))
        return cls(names, table["matched"].to_numpy(), within, table["value"].to_numpy(), *drawn)


@dataclass(frozen=True)
class Contrast:
    """How much more the pairs of a pattern share than others.

    Attributes
    ----------
    effect, low, high
        Mean ratio of the pattern's pairs less that of the others, and its interval over resampled groups.
    inside, against
        The two means.
    relative
        ``effect / (inside + against)``: does not depend on how much is shared at all.
    identity_p, identity_p_less
        Share of all ways to name the classes in which the effect is at least, or at most, as great.
    identities
        Number of ways that were tried.
    identity_floor
        Share of the ways that leave the pattern as it is, below which no p can be.
    label_p, label_p_less
        (1 + #{T* >= T}) / (B + 1), or T* <= T, over permuted labels.
    """

    effect: float
    low: float
    high: float
    inside: float
    against: float
    relative: float
    identity_p: float
    identity_p_less: float
    identities: int
    identity_floor: float
    label_p: float
    label_p_less: float

    def verdict(self, alpha: float) -> str:
        """Return ``"found"``, ``"opposite"`` or ``"cannot be told"``.

        A pattern is found if its interval is above 0, and if neither permuted identities nor permuted labels
        do as well, each with p <= ``alpha``; opposite if the same is true of less. Either is wrongly said in
        at most ``alpha`` of the cases.
        """
        if self.low > 0 and self.identity_p <= alpha and self.label_p <= alpha:
            return FOUND
        if self.high < 0 and self.identity_p_less <= alpha and self.label_p_less <= alpha:
            return OPPOSITE
        return UNTOLD

    def reasons(self, alpha: float) -> list[str]:
        """Return why nothing can be told, in words; empty if something can."""
        if self.verdict(alpha) != UNTOLD:
            return []
        if np.isnan(self.effect):
            return ["no class of the pattern, or of the others, has neurons"]
        identity_p, label_p = (
            (self.identity_p, self.label_p) if self.effect > 0 else (self.identity_p_less, self.label_p_less)
        )
        found = []
        if not (self.low > 0 or self.high < 0):
            found.append("the interval contains 0")
        if self.identity_floor > alpha:
            found.append(f"too few classes: p of their names is at least {self.identity_floor:.2g}")
        elif identity_p > alpha:
            found.append(f"other names of the classes do as well (p = {identity_p:.2g})")
        if np.isnan(label_p):
            found.append("permuted labels mean nothing for two labels of the same recordings")
        elif label_p > alpha:
            found.append(f"permuted labels do as well (p = {label_p:.2g})")
        return found


def blocks(groups: Sequence[Sequence[str]]) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs of different classes of one group, and those of different groups."""
    of = {name: number for number, names in enumerate(groups) for name in names}
    every = [(a, b) for a in of for b in of if a != b]
    return [(a, b) for a, b in every if of[a] == of[b]], [(a, b) for a, b in every if of[a] != of[b]]


def neighbours(classes: Sequence[str], distance: int = 1) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs of different classes at most ``distance`` places apart in an order, and the others."""
    place = {name: number for number, name in enumerate(classes)}
    every = [(a, b) for a in place for b in place if a != b]
    near = [(a, b) for a, b in every if abs(place[a] - place[b]) <= distance]
    return near, [pair for pair in every if pair not in set(near)]


def contrast(
    draws: PairDraws,
    inside: Iterable[Pair],
    against: Iterable[Pair] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Contrast:
    """Return how much more some pairs of classes share than others.

    Names are permuted among the classes that the pattern names, or among all if ``against`` is left out.
    Within a task both classes of a pair are renamed alike. So they are between two tasks if the pattern has
    no pair that means the same: such pairs then stay such pairs, and do not decide about others. If it has,
    the names of the second task alone are permuted; and those of each task by themselves where classes do
    not match one to one. Up to `EXHAUSTIVE` ways are all tried, of more `SAMPLED` random ones.

    Parameters
    ----------
    inside, against
        Pairs (of a class of the first task and one of the second, or of one task in any order) that should
        share more, and less; by default all others.
    level
        Probability that the interval is meant to cover.
    seed
        Seed of random renamings.

    Raises
    ------
    PatternError
        If a pair is not one of the comparison's, is on both sides, or a side has none.
    """
    chosen = _places(draws, inside)
    others = ~chosen if against is None else _places(draws, against)
    if (both := chosen & others).any():
        raise PatternError(f"{' and '.join(draws.names[both.argmax()])} are on both sides of the pattern")
    for side, words in ((chosen, "in"), (others, "against")):
        if not side.any():
            raise PatternError(f"no pair of classes is {words} the pattern")
    value = _effect(draws.value[None], chosen, others)
    permuted, resampled = (_effect(drawn, chosen, others) for drawn in (draws.permuted, draws.resampled))
    label_p = np.concatenate(p_values(value, permuted[:, None])) if len(permuted) else (np.nan, np.nan)
    low, high = interval(resampled[:, None], level)[:, 0] if len(resampled) else (np.nan, np.nan)
    greater, less, count, floor = _identities(draws, chosen, others, seed)
    up, down = (float(mean(draws.value[side, None])[0]) for side in (chosen, others))
    relative = (up - down) / (up + down) if up + down > 0 else np.nan
    return Contrast(
        float(value[0]), float(low), float(high), up, down, relative,
        greater, less, count, floor, float(label_p[0]), float(label_p[1]),
    )  # fmt: skip


def _places(draws: PairDraws, pairs: Iterable[Pair]) -> np.ndarray:
    """Return which pairs of the comparison these are, bool (P,)."""
    number = {pair: i for i, pair in enumerate(draws.names)}
    if draws.within:
        number |= {(b, a): i for (a, b), i in number.items()}
    found = np.zeros(len(draws.names), bool)
    for a, b in pairs:
        if (a, b) not in number:
            sides = (dict.fromkeys(names) for names in zip(*draws.names, strict=True))
            known = " with ".join(", ".join(side) for side in sides)
            raise PatternError(f"no pair {a} and {b}; there are {known}")
        found[number[a, b]] = True
    return found


def _effect(drawn: np.ndarray, chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the difference of both means in every draw (B,); NaN where one has no ratio."""
    return mean(drawn[:, chosen].T) - mean(drawn[:, others].T)


def _identities(
    draws: PairDraws, chosen: np.ndarray, others: np.ndarray, seed: int
) -> tuple[float, float, int, float]:
    """Return both p of permuted names, the number of ways, and the share of those that change nothing."""
    known = ~np.isnan(draws.value)
    chosen, others = chosen & known, others & known
    if not (chosen.any() and others.any()):
        return np.nan, np.nan, 0, np.nan
    named = chosen | others
    sides = [list(dict.fromkeys(pair[side] for pair, one in zip(draws.names, named, strict=True) if one))
             for side in (0, 1)]  # fmt: skip
    if draws.within:
        sides = [list(dict.fromkeys(sides[0] + sides[1]))] * 2
    same = {pair for pair, one in zip(draws.names, draws.matched, strict=True) if one}
    order = _matching(sides, same)
    if order is not None:
        sides[1] = order
    place = [{name: i for i, name in enumerate(side)} for side in sides]
    shape = len(sides[0]), len(sides[1])
    grid, pattern = np.full(shape, np.nan), np.zeros(shape, int)
    signs = chosen.astype(int) - others
    for i, (a, b) in enumerate(draws.names):
        if a in place[0] and b in place[1]:
            cells = [(place[0][a], place[1][b])]
            if draws.within:
                cells.append((place[0][b], place[1][a]))
            for cell in cells:
                grid[cell] = draws.value[i]
                pattern[cell] = signs[i]
    together = draws.within or (order is not None and not (draws.matched & (chosen | others)).any())
    how = "together" if together else "second" if order is not None else "both"
    ways = _ways(len(sides[0]), len(sides[1]), how, seed)
    return _renamed(grid, pattern, *ways)


def _matching(sides: Sequence[Sequence[str]], same: set[Pair]) -> list[str] | None:
    """Return the second task's classes in the order of those of the first that mean the same, if all do."""
    partners = {a: [b for b in sides[1] if (a, b) in same] for a in sides[0]}
    found = [names[0] for names in partners.values() if len(names) == 1]
    return found if len(found) == len(sides[0]) and sorted(found) == sorted(sides[1]) else None


def _ways(rows: int, columns: int, how: str, seed: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return renamings of rows (K, rows) and columns (K, columns), the first of which changes nothing, and
    whether these are all.
    """
    count = factorial(columns) * (factorial(rows) if how == "both" else 1)
    if count <= EXHAUSTIVE:
        second = np.array(list(permutations(range(columns))))
        if how == "both":
            first = np.array(list(permutations(range(rows))))
            pairs = np.array(list(product(range(len(first)), range(len(second)))))
            return first[pairs[:, 0]], second[pairs[:, 1]], True
        return (second if how == "together" else np.tile(np.arange(rows), (len(second), 1))), second, True
    rng = np.random.default_rng(seed)
    kept = [np.arange(n) for n in (rows, columns)]
    first, second = (np.vstack([own, rng.permuted(np.tile(own, (SAMPLED, 1)), axis=1)]) for own in kept)
    if how == "second":
        first = np.tile(kept[0], (SAMPLED + 1, 1))
    return (second if how == "together" else first), second, False


def _renamed(
    grid: np.ndarray, pattern: np.ndarray, first: np.ndarray, second: np.ndarray, exhaustive: bool
) -> tuple[float, float, int, float]:
    values, unchanged = np.empty(len(first)), 0
    above, below = np.nonzero(pattern > 0), np.nonzero(pattern < 0)
    width = max(1, BLOCK // grid.size)
    for start in range(0, len(first), width):
        rows, columns = (order[start : start + width] for order in (first, second))
        means = [mean(grid[rows[:, i], columns[:, j]].T) for i, j in (above, below)]
        values[start : start + width] = means[0] - means[1]
        turned = pattern[rows[:, :, None], columns[:, None]]
        unchanged += int((turned == pattern).all((1, 2)).sum())
    values = values[~np.isnan(values)]
    greater, less = (values >= values[0] - 1e-12).mean(), (values <= values[0] + 1e-12).mean()
    return float(greater), float(less), len(first) - (not exhaustive), unchanged / len(first)
