"""Uncertainty of the selection: nulls from permuted labels, intervals from resampled groups, repeatability.

Every draw repeats the whole selection (:mod:`audio_neurons.inference.resampling`), so the null includes the
effect of the filters. With permuted labels, classes differ only by noise: a neuron that passes the response
filter for one class passes it for others, so neurons per class and ratios within a task are *higher* under
the null. More is therefore not better: ``p_value`` is two-sided, and ``p_greater`` and ``p_less`` say on
which side. Only for ``contrast``, whose sign has a meaning, is the ``alternative`` "greater".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.activations.rows import read, read_clips
from audio_neurons.activations.units import Units
from audio_neurons.inference import significance
from audio_neurons.inference.permutation import Jointly, Permutation, Scheme, design, of_several
from audio_neurons.inference.replication import REPLICATION, replicate
from audio_neurons.inference.resampling import (
    Bootstrap,
    Draws,
    Halves,
    draw,
    observed,
    one_by_one,
    pooled,
)
from audio_neurons.inference.significance import pooled_p, q_values, table
from audio_neurons.neurons.selection import Selection, weighted
from audio_neurons.neurons.specificity import MEASURES, specificity
from audio_neurons.settings.inference import Inference
from audio_neurons.settings.selection import Rule


@dataclass(frozen=True)
class Task:
    """Pooled units, the selection rule, and the neurons that the rule selects.

    If the labels of another task go together with those of this one, ``together`` has the same rows with the
    combinations as classes, and ``place`` the class of this task in each combination. ``clips`` has the
    counts of every clip, if clips change places within groups of several classes, and there are such groups.
    """

    units: Units
    rule: Rule
    chosen: Selection
    together: Units | None = None
    place: np.ndarray | None = None
    clips: Units | None = None

    @classmethod
    def of(cls, units: Units, rule: Rule, clips: Units | None = None) -> Task:
        units = weighted(pooled(units), rule)
        if clips is not None:
            clips = one_by_one(clips, units) if of_several(units).any() else None
        return cls(units, rule, observed(units, rule), clips=clips)

    @property
    def exchanged(self) -> Units:
        """What permutations of the labels move."""
        return self.units if self.clips is None else self.clips

    @property
    def groups(self) -> np.ndarray:
        """Number of groups that contain each class, (C,)."""
        pairs = np.unique(np.stack([self.units.labels, self.units.groups]), axis=1)
        return np.bincount(pairs[0])

    def scheme(self, kind: Callable[[Units], Scheme], rows: Units) -> Scheme:
        """Return a way of drawing from the task's rows, together with those of the other task if any."""
        if self.together is None:
            return kind(rows)
        assert self.place is not None
        return Jointly(kind(self.together), self.place)


def task_statistics(chosen: Selection) -> np.ndarray:
    """Return the statistics of `TASK`, and the number of neurons of every class."""
    count = chosen.assigned.sum(1)
    entropy = chosen.entropy[chosen.selected]
    return np.array([(count > 0).mean(), count.mean(), mean(entropy), *specificity(chosen), *count])


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


POOLED = 1 << 24  # entropies under permuted labels that are pooled over neurons, at least a draw of each
TASK = ("coverage", "neurons_per_class", "entropy", *MEASURES)


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
    task: Task, settings: Inference, threads: int = 1, scheme: Callable[[Units], Scheme] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, np.ndarray]]:
    """Return the ``inference`` and ``draws`` tables of a task, and the values for :func:`stability_table`.

    Rows are ``coverage``, ``neurons_per_class``, ``entropy`` (mean AAPE of the selected neurons), those of
    :func:`~audio_neurons.neurons.specificity.specificity`, and ``neurons`` of every class, whose
    ``repeatability`` is the mean ratio of its sets in two halves of the groups; then those of
    :func:`replication`. Facts without a test follow:
    :func:`~audio_neurons.inference.permutation.design`. ``scheme`` is another way of permuting labels, to see
    what it does.
    """
    neurons, classes = len(task.chosen.entropy), len(task.units.classes)
    below, expected = np.zeros((2, neurons))
    null, resampled = [], []
    pool: list[np.ndarray] = []
    most, top = 1 + POOLED // neurons, np.log(len(np.unique(task.units.labels)))
    plan, permuted = draws_of("draws", settings, threads), (scheme or Permutation)(task.exchanged)
    for (chosen,) in draw(task.exchanged, task.rule, permuted, plan):
        below += chosen.entropy <= task.chosen.entropy
        expected += chosen.entropy
        null.append(task_statistics(chosen))
        if len(pool) < most:
            pool.append((top - chosen.entropy).clip(0).astype(np.float32))
    selected, assigned = np.zeros(neurons), np.zeros((classes, neurons))
    plan = draws_of("bootstrap", settings, threads)
    for (chosen,) in draw(task.units, task.rule, Bootstrap(task.units), plan):
        selected += chosen.selected
        assigned += chosen.assigned
        resampled.append(task_statistics(chosen))

    names = [*TASK, *["neurons"] * classes]
    repeatability = repeatabilities(task, settings, threads)
    statistics = table(
        {
            "statistic": names,
            "class_a": [*[""] * len(TASK), *task.units.classes],
            "class_b": "",
            "groups": [len(np.unique(task.units.groups))] * len(TASK) + task.groups.tolist(),
            "alternative": "two-sided",
            "family": ["alone"] * len(TASK) + [f"neurons of {classes} classes"] * classes,
            "repeatability": [*[np.nan] * len(TASK), *repeatability],
        },
        task_statistics(task.chosen),
        np.stack(null),
        np.stack(resampled),
        settings.level,
    )
    facts = design(task.exchanged).itertuples(index=False, name=None)
    again, drawn_again = replication(task, settings, threads)
    statistics = pd.concat([statistics, again], ignore_index=True)
    statistics = with_facts(statistics, [(name, of_class, "", fact) for name, of_class, fact in facts])
    p = np.where(np.isnan(task.chosen.entropy), np.nan, (1 + below) / (settings.draws + 1))
    found = {
        "null_entropy": expected / settings.draws,
        "p_value": p,
        "pooled_p": (together := pooled_p((top - task.chosen.entropy).clip(0), np.stack(pool))),
        "q_value": q_values(together),
        "selected": selected / settings.bootstrap,
        "assigned": assigned / settings.bootstrap,
    }
    drawn = [draws_table(TASK, np.stack(resampled)[:, : len(TASK)]), drawn_again]
    return statistics, pd.concat(drawn, ignore_index=True), found


def replication(task: Task, settings: Inference, threads: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the ``inference`` and ``draws`` tables that say what replicates on other groups.

    See :mod:`audio_neurons.inference.replication`; all NaN if no class has two groups.
    """
    plan = draws_of("draws", settings, threads)
    counts = [min(settings.replications, of) for of in (settings.draws, settings.bootstrap)]
    value = null = resampled = np.full((1, len(REPLICATION)), np.nan)
    if task.groups.max() > 1:
        value, null, resampled = replicate(task.units, task.rule, settings.splits, plan, counts)
    rows = table(
        {
            "statistic": REPLICATION,
            "class_a": "",
            "class_b": "",
            "groups": len(np.unique(task.units.groups)),
            "alternative": "greater",
            "family": "alone",
            "repeatability": np.nan,
        },
        value.reshape(-1),
        null,
        resampled,
        settings.level,
    )
    return rows, draws_table(REPLICATION, resampled)


def repeatabilities(task: Task, settings: Inference, threads: int = 1) -> np.ndarray:
    """Return the mean ratio of each class's sets in two random halves of the groups, (C,).

    This is what a class shares with itself at half the data. It is no bound: two classes, chosen from twice
    as many groups, may share more, and within a task one draw of noise selects the neurons of all classes.
    NaN for a class of fewer than two groups.
    """
    if task.groups.max() < 2:
        return np.full(len(task.groups), np.nan)
    plan = draws_of("halves", settings, threads)
    found = [
        np.diagonal(ratios(first.assigned, second.assigned))
        for first, second in draw(task.units, task.rule, Halves(task.units), plan)
    ]
    return np.where(task.groups > 1, significance.mean(np.stack(found)), np.nan)


def draws_of(amount: str, settings: Inference, threads: int) -> Draws:
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


def with_facts(found: pd.DataFrame, facts: Iterable[tuple[str, str, str, float]]) -> pd.DataFrame:
    """Append rows of an ``inference`` table that have a statistic, classes and a value, and no test."""
    rows = pd.DataFrame(facts, columns=["statistic", "class_a", "class_b", "value"])
    rows = rows.assign(groups=0, alternative="", family="")
    return pd.concat([found, rows.reindex(columns=found.columns).astype({"value": float})], ignore_index=True)


def clips_of(
    counts: Mapping[str, Sequence[Path]] | None, label: str, splits: Sequence[str] | None
) -> Units | None:
    return read_clips(counts["responses"], counts["clips"], label, splits) if counts else None


def single_clips(inputs: Any, suffix: str = "") -> dict[str, list[Path]] | None:
    """Return the tables of single clips among a job's inputs, if there are any."""
    names = ("responses", "clips")
    if not inputs.get(names[0] + suffix):
        return None
    given = {name: inputs[name + suffix] for name in names}
    return {name: [Path(f) for f in ([of] if isinstance(of, str) else of)] for name, of in given.items()}


def of_neurons(task: Task, neurons: Path, units: Path) -> np.ndarray:
    """Return layer and unit (N, 2) of a task's neurons, from its ``neurons`` table.

    Raises
    ------
    TableError
        If selecting from the units does not give the ``neurons`` table, as when one of them is outdated.
    """
    expected, index = dict(zip(task.units.classes, task.chosen.assigned, strict=True)), None
    for name, rows in tables.runs(neurons, "neurons", "class", ["layer", "neuron", "assigned"]):
        assigned = expected.pop(name, None)
        if assigned is not None and not np.array_equal(rows["assigned"].to_numpy(), assigned):
            expected[name] = assigned
            break
        index = rows[["layer", "neuron"]].to_numpy()
    if expected or index is None:
        raise tables.TableError(f"{neurons}: not the selection from {units}; delete both and run again")
    return index


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
    counts: Mapping[str, Sequence[Path]] | None = None,
) -> None:
    """Write the ``inference``, ``stability`` and ``draws`` tables of a task.

    ``counts`` are the dataset's ``responses`` and ``clips`` tables, if clips change places by themselves.
    """
    task = Task.of(read(units, label, splits), rule, clips_of(counts, label, splits))
    index = of_neurons(task, neurons, units)
    statistics, draws, found = infer(task, settings, threads)
    tables.write(draws_out, "draws", draws)
    tables.write(inference_out, "inference", statistics)
    with tables.writer(stability_out, "stability") as writer:
        for name, assigned in zip(task.units.classes, found["assigned"], strict=True):
            block = stability_table([name], index, {**found, "assigned": assigned})
            writer.append({column: block[column].to_numpy() for column in block})
