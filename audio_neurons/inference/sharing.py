"""Uncertainty of common-neuron ratios: nulls from permuted labels, and intervals from resampled groups.

With permuted labels, chosen neurons belong to many classes, and every ratio rises. A ratio below its null is
therefore what classes that are told apart give, and a ratio above it needs much. What is tested is what is
free of that: the contrast, and of a pair its ratio less those of its classes with all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.activations.rows import NamedUnits, read, read_jointly
from audio_neurons.activations.units import Units
from audio_neurons.inference.inference import (
    Task,
    clips_of,
    draws_of,
    draws_table,
    mean,
    of_neurons,
    ratios,
    repeatabilities,
    with_facts,
)
from audio_neurons.inference.permutation import Permutation
from audio_neurons.inference.replication import Ranks, transfer
from audio_neurons.inference.resampling import Bootstrap, Draws, Outcome, observed, outcomes, pooled
from audio_neurons.inference.significance import largest, table
from audio_neurons.neurons.selection import Selection, weighted
from audio_neurons.neurons.sharing import compared
from audio_neurons.running.runtime import tell
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import Rule

COMPARISON = ("mean_matched", "mean_other", "contrast", "normalised", "transfer")
# Pairs of classes that are resampled one by one: with 1,000 draws, their ratios take 0.8 GB. Of more, only
# the means are: after correction for so many tests, hardly a pair of them could stand out.
MOST_PAIRS = 50_000
OF_TWO = ("mean_matched", "contrast", "normalised", "transfer")  # have no meaning within one task


def infer_ratios(
    tasks: Sequence[Task],
    pairs: Sequence[tuple[str, str]] | None,
    settings: Inference,
    threads: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the first two tables of :func:`infer_comparison`."""
    return infer_comparison(tasks, pairs, settings, threads)[:2]


def infer_comparison(
    tasks: Sequence[Task],
    pairs: Sequence[tuple[str, str]] | None,
    settings: Inference,
    threads: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the ``inference``, ``draws`` and ``pair_draws`` tables of a comparison of one task with itself,
    or of two tasks.

    Rows are, for every pair of classes, the ``ratio`` and its double-centred value ``centred``
    (:func:`centred`); the ``mean_matched`` ratio of the pairs that mean the same, the ``mean_other`` ratio of
    all other pairs, their difference ``contrast``, this divided by their sum, ``normalised``, which does not
    depend on how much is shared at all, and, in the first ``replications`` draws, ``transfer``
    (:func:`~audio_neurons.inference.replication.transfer`). Within a task each pair is listed once, and only
    ``mean_other`` has a meaning. Two tasks are permuted and resampled independently, unless they are two
    labels of the same clips (:func:`read_together`). The ``repeatability`` of a pair is the geometric mean of
    those of its classes (:func:`~audio_neurons.inference.inference.repeatabilities`).

    Facts without a test follow: ``first`` and ``top3``, the shares of the resamples in which a pair has the
    greatest ratio, or one of the three greatest, and ``common_groups``, the number of groups whose names are
    in both of two datasets: perhaps the same recordings. Two labels of the same clips have
    ``labels_association`` instead, and no p: their neurons are shared as far as the labels go together, and
    no permutation of both tells that from more.

    Of more than `MOST_PAIRS` pairs there are only the means, and no ``pair_draws``.
    """
    names, places, matched = _pairs(tasks, pairs)
    several = len(names) <= MOST_PAIRS
    if not several:
        tell(
            f"{len(names):,} pairs of classes are too many to resample each, which would take "
            f"{16e-9 * len(names) * (settings.draws + settings.bootstrap):.2g} GB for {settings.draws:,} "
            f"permutations and {settings.bootstrap:,} resamples; only their means are resampled"
        )
    units = [task.units for task in tasks]
    kinds, moved = (Permutation, Bootstrap), ([task.exchanged for task in tasks], units)
    plans = [draws_of(amount, settings, threads) for amount in ("draws", "bootstrap")]
    null, resampled = (
        np.stack(
            [
                np.append(
                    _comparison([one.chosen for one in drawn], places, matched, several),
                    across(drawn) if number < settings.replications else np.nan,
                )
                for number, drawn in enumerate(_together(tasks, rows, kind, plan))
            ]
        )
        for kind, rows, plan in zip(kinds, moved, plans, strict=True)
        for across in [_transfer(tasks, rows, places, matched)]
    )
    own = [repeatabilities(task, settings, threads) for task in tasks]
    again = np.sqrt(own[0][places[0]] * own[-1][places[1]])
    groups = np.minimum(tasks[0].groups[places[0]], tasks[-1].groups[places[1]])
    fewest = min(len(np.unique(task.units.groups)) for task in tasks)
    means = [mean(again[matched]), mean(again[~matched])]
    family = f"{len(names)} pairs of classes"
    value = _comparison([task.chosen for task in tasks], places, matched, several)
    if not several:
        names, groups, again = [], groups[:0], again[:0]
    n, more = len(names), len(COMPARISON)
    alone = [Outcome(task.chosen, task.units.labels, np.ones_like(task.units.labels)) for task in tasks]
    value = np.append(value, _transfer(tasks, units, places, matched)(alone))
    found = table(
        {
            "statistic": ["ratio"] * n + ["centred"] * n + [*COMPARISON],
            "class_a": [a for a, _ in names] * 2 + [""] * more,
            "class_b": [b for _, b in names] * 2 + [""] * more,
            "groups": [*groups, *groups, *[fewest] * more],
            "alternative": ["two-sided"] * n + ["greater"] * n + ["two-sided"] * 2 + ["greater"] * 3,
            "family": [family] * n + [f"greatest of {family}"] * n + ["alone"] * more,
            "repeatability": [
                *again,
                *[np.nan] * n,
                *means,
                *[np.nan] * 3,
            ],
        },
        value,
        null,
        resampled,
        settings.level,
    )
    of_pairs = slice(n, 2 * n)
    if n:
        found.loc[of_pairs.start : of_pairs.stop - 1, "q_value"] = largest(value[of_pairs], null[:, of_pairs])
    draws = draws_table(COMPARISON, resampled[:, -more:])
    permuted = null[:0] if tasks[0].together is not None else null
    of_each = pair_draws(names, matched, value[:n], permuted[:, :n], resampled[:, :n])
    found = with_facts(found, _ranks(names, resampled[:, :n]))
    if len(tasks) > 1:
        if tasks[0].together is None:
            both = group_names(tasks[0].units) & group_names(tasks[1].units)
            found = with_facts(found, [("common_groups", "", "", len(both))])
        else:
            found.loc[found["family"] != "", ["p_value", "p_greater", "p_less", "q_value"]] = np.nan
            found = with_facts(found, [("labels_association", "", "", association(tasks))])
        return found, draws, of_each
    found, draws = (rows[~rows["statistic"].isin(OF_TWO)] for rows in (found, draws))
    return found, draws, of_each


def pair_draws(
    names: Sequence[tuple[str, str]],
    matched: np.ndarray,
    value: np.ndarray,
    permuted: np.ndarray,
    resampled: np.ndarray,
) -> pd.DataFrame:
    """Build the ``pair_draws`` table of P pairs from draws (B, P) and (R, P)."""
    return pd.DataFrame(
        {
            "class_a": [a for a, _ in names],
            "class_b": [b for _, b in names],
            "matched": matched[: len(names)],
            "value": value,
            "permuted": list(permuted.T),
            "resampled": list(resampled.T),
        }
    )


def _ranks(names: Sequence[tuple[str, str]], drawn: np.ndarray) -> Iterator[tuple[str, str, str, float]]:
    """Yield how often each pair is among the first of all pairs, over resampled ratios (B, pairs).

    Pairs of equal ratio are all among the first. What no resample defines is never among them.
    """
    drawn = np.where(np.isnan(drawn), -1, drawn)
    ahead = np.array([len(row) - np.sort(row).searchsorted(row, "right") for row in drawn])
    for statistic, top in (("first", 1), ("top3", 3)):
        for (a, b), share in zip(names, ((ahead < top) & (drawn > 0)).mean(0), strict=True):
            yield statistic, a, b, float(share)


def _pairs(
    tasks: Sequence[Task], pairs: Sequence[tuple[str, str]] | None
) -> tuple[list[tuple[str, str]], tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return names and indices of the pairs of classes to compare, and which of them are matched."""
    first, second = tasks[0].units.classes, tasks[-1].units.classes
    if len(tasks) == 1:
        names = [(a, b) for i, a in enumerate(first) for b in first[i + 1 :]]
        same: set[tuple[str, str]] = set()
    else:
        # A class without clips has no neurons to share, and no row to permute.
        if pairs is not None:
            pairs = [(a, b) for a, b in pairs if a in first and b in second]
        rows, columns, same = compared(first, second, pairs)
        names = [(a, b) for a in rows for b in columns]
    numbers = [{name: i for i, name in enumerate(side)} for side in (first, second)]
    places = (
        np.array([numbers[0][a] for a, _ in names], np.int64),
        np.array([numbers[1][b] for _, b in names], np.int64),
    )
    return names, places, np.array([name in same for name in names], bool)


def _transfer(
    tasks: Sequence[Task], moved: Sequence[Units], places: tuple[np.ndarray, np.ndarray], matched: np.ndarray
) -> Callable[[Sequence[Outcome]], float]:
    """Return the function of a draw of both tasks that computes ``transfer``; NaN of the same clips.

    ``moved`` are the rows that are drawn from: the tasks' units, or single clips, which are then summed to a
    row per group and drawn class, as in the units.
    """
    if len(tasks) == 1 or tasks[0].together is not None or not matched.any():
        return lambda drawn: np.nan
    same: list[dict[int, list[int]]] = [{}, {}]
    for a, b in zip(places[0][matched].tolist(), places[1][matched].tolist(), strict=True):
        same[0].setdefault(a, []).append(b)
        same[1].setdefault(b, []).append(a)

    def rows_of(task: Task, rows: Units, outcome: Outcome) -> tuple[Units, Outcome]:
        if rows is not task.clips:
            return rows, outcome
        rows = pooled(replace(rows, labels=outcome.labels))
        return rows, replace(outcome, labels=rows.labels, weights=np.ones_like(rows.labels))

    ranks = [Ranks(task.units) for task in tasks]

    def across(drawn: Sequence[Outcome]) -> float:
        units, found = zip(*map(rows_of, tasks, moved, drawn), strict=True)
        own = [ranks[i] if rows is tasks[i].units else Ranks(rows) for i, rows in enumerate(units)]
        return transfer(units, found, same, own)

    return across


def _together(
    tasks: Sequence[Task], moved: Sequence[Units], kind: type, plan: Draws
) -> Iterator[list[Outcome]]:
    """Yield the outcomes of all tasks in each draw from their rows ``moved``."""
    streams = [
        outcomes(rows, task.rule, task.scheme(kind, rows), replace(plan, side=0 if task.together else side))
        for side, (task, rows) in enumerate(zip(tasks, moved, strict=True))
    ]
    for drawn in zip(*streams, strict=True):
        yield [outcome for (outcome,) in drawn]


def _comparison(
    chosen: Sequence[Selection], places: tuple[np.ndarray, np.ndarray], matched: np.ndarray, several: bool
) -> np.ndarray:
    """Return ratios and centred ratios of the pairs, if wanted, and all of `COMPARISON` but the last."""
    grid = ratios(chosen[0].assigned, chosen[-1].assigned)
    pairs = grid[places]
    same, other = mean(pairs[matched]), mean(pairs[~matched])
    total = same + other
    normalised = (same - other) / total if total > 0 else np.nan
    means = [same, other, same - other, normalised]
    if not several:
        return np.array(means)
    return np.array([*pairs, *centred(pairs, places, len(chosen) == 1), *means])


def centred(pairs: np.ndarray, places: tuple[np.ndarray, np.ndarray], within: bool) -> np.ndarray:
    """Return ratios less what their classes share with all others, (P,).

    Between two tasks it is ``r_ab - r_a. - r_.b + r_..``, where dots are means. Within a task, whose pairs
    (i, j) are listed once, it is what is left of ``r_ij`` after the least-squares fit of a mean and an effect
    of each class. NaN counts in no mean. Within a task of fewer than four classes nothing is left: all NaN.
    """
    if not len(pairs):
        return pairs
    a, b = places
    if not within:
        grid = np.full((a.max() + 1, b.max() + 1), np.nan)
        grid[places] = pairs
        of_a, of_b = (np.array([mean(line) for line in lines]) for lines in (grid, grid.T))
        return pairs - of_a[a] - of_b[b] + mean(pairs)
    n = max(a.max(), b.max()) + 1
    if n < 4:
        return np.full(len(pairs), np.nan)
    everything = mean(pairs)
    effect = np.array([mean(pairs[(a == i) | (b == i)]) for i in range(n)]) - everything
    return pairs - everything - (n - 1) / (n - 2) * (effect[a] + effect[b])


def read_together(
    units: Path, labels: Sequence[str], splits: Sequence[str] | None, rules: Sequence[Rule]
) -> list[Task]:
    """Read two tasks whose labels are of the same clips, so that every draw is of both labels together."""
    rows, of, classes = read_jointly(units, labels, splits)
    tasks = []
    for own, names, rule in zip(of, classes, rules, strict=True):
        mine = weighted(replace(rows, labels=own[rows.labels], classes=names), rule)
        tasks.append(Task(mine, rule, observed(mine, rule), together=rows, place=own))
    return tasks


def group_names(units: Units) -> set[str]:
    return set(units.names) if isinstance(units, NamedUnits) else set()


def association(tasks: Sequence[Task]) -> float:
    """Return Cramér's V of two labels of the same rows, weighted by tokens: 0 if independent, 1 at most."""
    counts = np.zeros([len(task.units.classes) for task in tasks])
    np.add.at(counts, tuple(task.units.labels for task in tasks), tasks[0].units.tokens)
    share = counts / counts.sum()
    expected = share.sum(1, keepdims=True) * share.sum(0)
    free = min(counts.shape) - 1
    return float(np.sqrt(((share - expected) ** 2 / expected).sum() / free)) if free else np.nan


def infer_sharing(
    units: Sequence[Path],
    neurons: Sequence[Path],
    labels: Sequence[str],
    splits: Sequence[str] | None,
    rules: Sequence[Rule],
    pairs: Sequence[Sequence[str]] | None,
    settings: Inference,
    threads: int,
    inference_out: Path,
    draws_out: Path,
    pairs_out: Path | None = None,
    single: Sequence[Mapping[str, Sequence[Path]] | None] = (None, None),
) -> None:
    """Write the ``inference``, ``draws`` and ``pair_draws`` tables of a comparison of one or two tasks.

    ``single`` are each task's ``responses`` and ``clips`` tables, if clips change places by themselves.
    """
    if len(units) > 1 and units[0] == units[1]:
        tasks = read_together(units[0], labels, splits, rules)
    else:
        cases = zip(units, labels, rules, single, strict=False)
        tasks = [
            Task.of(read(counts, label, splits), rule, clips_of(clips, label, splits))
            for counts, label, rule, clips in cases
        ]
    for task, counts, chosen in zip(tasks, units, neurons, strict=True):
        of_neurons(task, chosen, counts)
    together = None if pairs is None else [(a, b) for a, b in pairs]
    statistics, draws, of_each = infer_comparison(tasks, together, settings, threads)
    tables.write(draws_out, "draws", draws)
    if pairs_out is not None:
        tables.write(pairs_out, "pair_draws", of_each)
    tables.write(inference_out, "inference", statistics)
