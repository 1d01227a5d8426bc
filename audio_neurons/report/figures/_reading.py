"""Readers of the workflow's tables, shared by several figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import pandas as pd

from audio_neurons import tables
from audio_neurons.ablation.conditions import called_at
from audio_neurons.ablation.effects import ALL, MEAN
from audio_neurons.report.summary import named

KINDS = ("class", "shared", "exact", "list")  # of neuron sets, in drawing order from the top
MANY = 20  # classes; with more, neuron sets show only their targets and the mean of the others


def cases(inputs: Mapping[str, Sequence[str]], about: Mapping, *roles: str) -> Iterator[tuple]:
    """Yield the columns that identify each task and model, and their tables; ``None`` for empty roles.

    The paths of a role are, for each task, the tables of all models.
    """
    pairs = list(product(about["tasks"], about["models"]))
    paths: list[Sequence[str | None]] = [inputs.get(role) or [None] * len(pairs) for role in roles]
    for (task, model), *found in zip(pairs, *paths, strict=True):
        yield {"task": task["name"], "task_title": task["title"], **named(model)}, *found


def per_neuron(path: str, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Read columns of a ``neurons`` or ``stability`` table that are the same for all classes, by neuron."""
    _, first = next(tables.runs(path, name, "class", ["layer", "neuron", *columns]))
    return first.drop(columns="class").set_index(["layer", "neuron"])


def outcomes(paths: Sequence[str], about: Mapping) -> pd.DataFrame:
    """Read the means over probes of all models' ``ablation`` tables, with columns identifying the model.

    ``kind`` is the kind of the model, ``set_kind`` that of the neuron set.
    """
    found = []
    for path, model in zip(paths, about["models"], strict=True):
        table = tables.read(path, "ablation").rename(columns={"kind": "set_kind"})
        found.append(table[table["probe"] == MEAN].assign(**named(model)))
    return pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True)


def ablated(table: pd.DataFrame) -> pd.DataFrame:
    """Select the rows of the gain and replacement by which effects are called (the first, if several)."""
    if table.empty:
        return table
    gain, replacements = called_at(table["gain"].unique(), table["replacement"].unique())
    return table[(table["gain"] == gain) & (table["replacement"] == replacements[0])]


def classes_of(table: pd.DataFrame) -> list[str]:
    """Return the measured classes, in the order of the task."""
    return [c for c in table["class"].unique() if c != ALL]
