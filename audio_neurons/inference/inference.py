"""Uncertainty of the selection: nulls from permuted labels, intervals from resampled groups, and ceilings.

Every draw repeats the whole selection (:mod:`audio_neurons.inference.resampling`), so the null includes the
effect of the filters. With permuted labels, classes differ only by noise: a neuron that passes the response
filter for one class passes it for others, so neurons per class and ratios within a task are *higher* under
the null. ``p_value`` tests whether a statistic is as extreme as its ``alternative`` says, and ``p_other``
tests the opposite direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.activations.units import Units, read
from audio_neurons.inference.resampling import Bootstrap, Draws, Halves, Permutation, draw, observed, pooled
from audio_neurons.inference.significance import q_values, table
from audio_neurons.neurons.selection import Selection
from audio_neurons.neurons.sharing import compared
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import Rule


@dataclass(frozen=True)
class Task:
    """Pooled units, the selection rule, and the neurons that the rule selects."""

    units: Units
    rule: Rule
    chosen: Selection

    @classmethod
    def of(cls, units: Units, rule: Rule) -> Task:
        units = pooled(units)
        return cls(units, rule, observed(units, rule))

    @property
    def groups(self) -> np.ndarray:
        """Number of groups that contain each class, (C,)."""
        return np.bincount(self.units.labels)


def task_statistics(chosen: Selection) -> np.ndarray:
    """Return coverage, neurons per class, mean entropy of selected neurons, and neurons of every class."""
    count = chosen.assigned.sum(1)
    entropy = chosen.entropy[chosen.selected]
    return np.array([(count > 0).mean(), count.mean(), mean(entropy), *count])


def mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else np.nan


def ratios(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return common-neuron ratios (A, B) of sets bool (A, N) and (B, N); NaN where both are empty."""
    shared = a.any(0) & b.any(0)
    common = a[:, shared].astype(np.float32) @ b[:, shared].T.astype(np.float32)
    union = a.sum(1)[:, None] + b.sum(1) - common.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return common / union


TASK = ("coverage", "neurons_per_class", "entropy")
COMPARISON = ("mean_matched", "mean_other", "contrast")


def draws_table(names: Sequence[str], resampled: np.ndarray) -> pd.DataFrame:
    """Build the ``draws`` table of S statistics in B resamples (B, S).

    A resample depends only on its number, the seed, and the groups and classes of the task. All models of a
    task are therefore resampled alike, and their differences can be computed draw by draw.
    """
    draws, count = resampled.shape
    return pd.DataFrame(
        {
            "statistic": np.repeat(np.asarray(names, object), draws),
            "draw": np.tile(np.arange(draws), count),
            "value": resampled.T.ravel(),
        }
    )


def infer(
    task: Task, settings: Inference, threads: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Return the ``inference`` and ``draws`` tables of a task, and the values for :func:`stability_table`.

    Rows are ``coverage``, ``neurons_per_class``, ``entropy`` (mean AAPE of the selected neurons), and
    ``neurons`` of every class, whose ``ceiling`` is the mean ratio of its sets in two halves of the
    groups.
    """
    neurons, classes = len(task.chosen.entropy), len(task.units.classes)
    below, expected = np.zeros((2, neurons))
    null, resampled = [], []
    for (chosen,) in draw(task.units, task.rule, Permutation(task.units), _draws("draws", settings, threads)):
        below += chosen.entropy <= task.chosen.entropy
        expected += chosen.entropy
        null.append(task_statistics(chosen))
    selected, assigned = np.zeros(neurons), np.zeros((classes, neurons))
    plan = _draws("bootstrap", settings, threads)
    for (chosen,) in draw(task.units, task.rule, Bootstrap(task.units), plan):
        selected += chosen.selected
        assigned += chosen.assigned
        resampled.append(task_statistics(chosen))

    names = [*TASK, *["neurons"] * classes]
    ceiling = ceilings(task, settings, threads)
    statistics = table(
        {
            "statistic": names,
            "class_a": ["", "", "", *task.units.classes],
            "class_b": "",
            "groups": [len(np.unique(task.units.groups))] * 3 + task.groups.tolist(),
            "alternative": ["less" if name == "entropy" else "greater" for name in names],
            "family": ["alone"] * 3 + [f"neurons of {classes} classes"] * classes,
            "ceiling": [np.nan, np.nan, np.nan, *ceiling],
        },
        task_statistics(task.chosen),
        np.stack(null),
        np.stack(resampled),
        settings.level,
    )
    p = np.where(np.isnan(task.chosen.entropy), np.nan, (1 + below) / (settings.draws + 1))
    found = {
        "null_entropy": expected / settings.draws,
        "p_value": p,
        "q_value": q_values(p),
        "selected": selected / settings.bootstrap,
        "assigned": assigned / settings.bootstrap,
    }
    return statistics, draws_table(TASK, np.stack(resampled)[:, : len(TASK)]), found


def ceilings(task: Task, settings: Inference, threads: int = 1) -> np.ndarray:
    """Return the mean ratio of each class's sets in two random halves of the groups, (C,).

    A class is not expected to share more with a class of other data than with itself. Each half has only
    half of the data, however, so the whole may exceed the ceiling. Within a task, one draw of noise selects
    the neurons of all classes, so two classes may share more. NaN for a class of fewer than two groups.
    """
    if task.groups.max() < 2:
        return np.full(len(task.groups), np.nan)
    plan = _draws("halves", settings, threads)
    found = [
        np.diagonal(ratios(first.assigned, second.assigned))
        for first, second in draw(task.units, task.rule, Halves(task.units), plan)
    ]
    mean = np.nan_to_num(np.stack(found)).mean(0)
    return np.where(task.groups > 1, mean, np.nan)


def infer_ratios(
    tasks: Sequence[Task],
    pairs: Sequence[tuple[str, str]] | None,
    settings: Inference,
    threads: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the ``inference`` and ``draws`` tables of a comparison of one task with itself, or of two tasks.

    Rows are the ``ratio`` of every pair of classes, the ``mean_matched`` ratio of the pairs that mean the
    same, the ``mean_other`` ratio of all other pairs, and their difference, ``contrast``. Within a task each
    pair is listed once, and only ``mean_other`` is meaningful. Two tasks are permuted and resampled
    independently. The ``ceiling`` of a pair is the geometric mean of those of its classes (:func:`ceilings`).
    """
    names, places, matched = _pairs(tasks, pairs)
    kinds = (Permutation, Bootstrap)
    plans = [_draws(amount, settings, threads) for amount in ("draws", "bootstrap")]
    null, resampled = (
        np.stack([_comparison(chosen, places, matched) for chosen in _together(tasks, kind, plan)])
        for kind, plan in zip(kinds, plans, strict=True)
    )
    own = [ceilings(task, settings, threads) for task in tasks]
    ceiling = np.sqrt(own[0][places[0]] * own[-1][places[1]])
    groups = np.minimum(tasks[0].groups[places[0]], tasks[-1].groups[places[1]])
    fewest = min(len(np.unique(task.units.groups)) for task in tasks)
    found = table(
        {
            "statistic": ["ratio"] * len(names) + [*COMPARISON],
            "class_a": [a for a, _ in names] + [""] * 3,
            "class_b": [b for _, b in names] + [""] * 3,
            "groups": [*groups, fewest, fewest, fewest],
            "alternative": "greater",
            "family": [f"{len(names)} pairs of classes"] * len(names) + ["alone"] * 3,
            "ceiling": [*ceiling, mean(ceiling[matched]), mean(ceiling[~matched]), np.nan],
        },
        _comparison([task.chosen for task in tasks], places, matched),
        null,
        resampled,
        settings.level,
    )
    draws = draws_table(COMPARISON, resampled[:, -len(COMPARISON) :])
    if len(tasks) > 1:
        return found, draws
    return tuple(rows[~rows["statistic"].isin(["mean_matched", "contrast"])] for rows in (found, draws))


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
    places = (
        np.array([first.index(a) for a, _ in names], np.int64),
        np.array([second.index(b) for _, b in names], np.int64),
    )
    return names, places, np.array([name in same for name in names], bool)


def _together(tasks: Sequence[Task], kind: type, plan: Draws) -> Iterator[list[Selection]]:
    """Yield the selections of all tasks in each draw."""
    streams = [
        draw(task.units, task.rule, kind(task.units), replace(plan, side=side))
        for side, task in enumerate(tasks)
    ]
    for drawn in zip(*streams, strict=True):
        yield [chosen for (chosen,) in drawn]


def _comparison(
    chosen: Sequence[Selection], places: tuple[np.ndarray, np.ndarray], matched: np.ndarray
) -> np.ndarray:
    """Return the ratios of the pairs, the means of matched and of other pairs, and their difference."""
    pairs = ratios(chosen[0].assigned, chosen[-1].assigned)[places]
    same, other = mean(pairs[matched]), mean(pairs[~matched])
    return np.array([*pairs, same, other, same - other])


def _draws(amount: str, settings: Inference, threads: int) -> Draws:
    return Draws(getattr(settings, amount), settings.seed, block=settings.block, threads=threads)


def stability_table(classes: Sequence[str], neurons: np.ndarray, found: Mapping) -> pd.DataFrame:
    """Build the ``stability`` table: one row per neuron and class, as in the ``neurons`` table.

    Parameters
    ----------
    neurons
        (N, 2): layer and unit.
    found
        Arrays per neuron (N,), and ``assigned`` per class and neuron (C, N): see :func:`infer`.
    """
    c = len(classes)
    per_neuron = {name: np.tile(values, c) for name, values in found.items() if name != "assigned"}
    return pd.DataFrame(
        {
            "layer": np.tile(neurons[:, 0], c),
            "neuron": np.tile(neurons[:, 1], c),
            "class": np.repeat(np.asarray(classes, object), len(neurons)),
            **per_neuron,
            "assigned": found["assigned"].ravel(),
        }
    )


def read_task(
    units: Path, label: str, splits: Sequence[str] | None, rule: Rule, neurons: Path
) -> tuple[Task, np.ndarray]:
    """Read a task from its ``units`` table, and return it with its neurons' (layer, unit), (N, 2).

    Raises
    ------
    TableError
        If selecting from the units does not give the ``neurons`` table, as when one of them is outdated.
    """
    task = Task.of(read(units, label, splits), rule)
    chosen = tables.read(neurons, "neurons", ["layer", "neuron", "class", "assigned"])
    rows = dict(iter(chosen.groupby("class")))
    for name, assigned in zip(task.units.classes, task.chosen.assigned, strict=True):
        if name not in rows or not np.array_equal(rows[name]["assigned"].to_numpy(), assigned):
            raise tables.TableError(f"{neurons}: not the selection from {units}; delete both and run again")
    return task, rows[task.units.classes[0]][["layer", "neuron"]].to_numpy()


def infer_task(
    units: Path,
    neurons: Path,
    label: str,
    splits: Sequence[str] | None,
    rule: Rule,
    settings: Inference,
    threads: int,
    inference_out: Path,
    stability_out: Path,
    draws_out: Path,
) -> None:
    """Write the ``inference``, ``stability`` and ``draws`` tables of a task."""
    task, index = read_task(units, label, splits, rule, neurons)
    statistics, draws, found = infer(task, settings, threads)
    tables.write(draws_out, "draws", draws)
    tables.write(inference_out, "inference", statistics)
    tables.write(stability_out, "stability", stability_table(task.units.classes, index, found))


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
) -> None:
    """Write the ``inference`` and ``draws`` tables of a comparison of one or two tasks."""
    tasks = [
        read_task(counts, label, splits, rule, chosen)[0]
        for counts, label, rule, chosen in zip(units, labels, rules, neurons, strict=True)
    ]
    together = None if pairs is None else [(a, b) for a, b in pairs]
    statistics, draws = infer_ratios(tasks, together, settings, threads)
    tables.write(inference_out, "inference", statistics)
    tables.write(draws_out, "draws", draws)
