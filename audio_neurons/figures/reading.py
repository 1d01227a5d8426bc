"""What several figures take from the workflow's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import pandas as pd

from audio_neurons import tables
from audio_neurons.effects import ALL, MEAN
from audio_neurons.summary import named

KINDS = ("class", "shared", "exact", "list")  # of sets of neurons, as they are drawn from above
MANY = 20  # classes; of more, sets of neurons show their targets and the mean of the others


def cases(inputs: Mapping[str, Sequence[str]], about: Mapping, *roles: str) -> Iterator[tuple]:
    """What names a task and a model, and their tables; of a role that has none, ``None``.

    The paths of a role list for every task in turn the tables of all models.
    """
    pairs = list(product(about["tasks"], about["models"]))
    paths: list[Sequence[str | None]] = [inputs.get(role) or [None] * len(pairs) for role in roles]
    for (task, model), *found in zip(pairs, *paths, strict=True):
        yield {"task": task["name"], "task_title": task["title"], **named(model)}, *found


def per_neuron(path: str, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Columns that are the same for all classes, of a ``neurons`` or ``stability`` table."""
    table = tables.read(path, name, ["layer", "neuron", *columns])
    return table.drop_duplicates(["layer", "neuron"]).set_index(["layer", "neuron"])


def outcomes(paths: Sequence[str], about: Mapping) -> pd.DataFrame:
    """Means over probes of all models' ``ablation`` tables, and what names the model.

    ``kind`` is the model's; that of the set of neurons is ``set_kind``.
    """
    found = []
    for path, model in zip(paths, about["models"], strict=True):
        table = tables.read(path, "ablation").rename(columns={"kind": "set_kind"})
        found.append(table[table["probe"] == MEAN].assign(**named(model)))
    return pd.concat([table for table in found if len(table)] or found[:1], ignore_index=True)


def ablated(table: pd.DataFrame) -> pd.DataFrame:
    """Where activations are zeroed, or nearest to it: the lowest gain, around the first replacement."""
    if table.empty:
        return table
    gains = table["gain"].unique()
    gain = 0.0 if 0.0 in gains else min(gains, key=abs)
    return table[(table["gain"] == gain) & (table["replacement"] == table["replacement"].iloc[0])]


def classes_of(table: pd.DataFrame) -> list[str]:
    """Classes that are measured, in the order of the task."""
    return [c for c in table["class"].unique() if c != ALL]
