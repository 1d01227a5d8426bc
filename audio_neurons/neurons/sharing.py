"""Number of neurons that two classes share, and the number expected by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats

from audio_neurons import tables
from audio_neurons.neurons.selection import specific_neurons

Neurons = frozenset[tuple[int, int]]


class SharingError(ValueError):
    """A comparison names a class that its task does not have."""


def ratio(a: Neurons, b: Neurons) -> float:
    """Return the common-neuron ratio ``|A ∩ B| / |A ∪ B|`` (Jaccard); NaN if both are empty."""
    union = len(a | b)
    return len(a & b) / union if union else np.nan


def expected_ratio(a: int, b: int, pool: int) -> float:
    """Return the mean ratio of two sets of ``a`` and ``b`` neurons drawn at random from ``pool``.

    The size of the intersection is hypergeometric; NaN if both sets are empty.
    """
    if a + b == 0:
        return np.nan
    common = np.arange(min(a, b) + 1)
    return float((stats.hypergeom.pmf(common, pool, a, b) * (common / (a + b - common))).sum())


def p_value(common: int, a: int, b: int, pool: int) -> float:
    """Return the probability that two random sets of these sizes share at least ``common`` neurons."""
    return float(stats.hypergeom.sf(common - 1, pool, a, b))


_expected_ratio, _p_value = cache(expected_ratio), cache(p_value)


def compare(
    first: Mapping[str, Neurons],
    second: Mapping[str, Neurons],
    pool: int,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    """Build the ``sharing`` table of two tasks, or of one task with itself.

    Parameters
    ----------
    first, second
        Class → its specific neurons.
    pool
        Number of neurons that the chance level draws from: all those that could have been shared.
    pairs
        Pairs of classes that mean the same (``matched``); only classes in them are compared. By default
        classes of equal names match and all are compared. An empty list compares nothing.

    Raises
    ------
    SharingError
        If ``pairs`` names a class that a task does not have.
    """
    rows, columns, matched = compared(list(first), list(second), pairs)
    table = []
    for a in rows:
        for b in columns:
            x, y = first[a], second[b]
            table.append(
                {
                    "class_a": a,
                    "class_b": b,
                    "matched": (a, b) in matched,
                    "neurons_a": len(x),
                    "neurons_b": len(y),
                    "common": len(x & y),
                    "ratio": ratio(x, y),
                    "pool": pool,
                    "expected": _expected_ratio(len(x), len(y), pool),
                    "p_value": _p_value(len(x & y), len(x), len(y), pool),
                }
            )
    return pd.DataFrame(table, columns=tables.SCHEMAS["sharing"].names)


def compared(
    first: Sequence[str], second: Sequence[str], pairs: Sequence[tuple[str, str]] | None
) -> tuple[list[str], list[str], set[tuple[str, str]]]:
    """Return the classes of both sides to compare, in order, and the pairs that mean the same."""
    if pairs is None:
        return list(first), list(second), {(name, name) for name in first if name in second}
    rows, columns = (list(dict.fromkeys(pair[side] for pair in pairs)) for side in (0, 1))
    for side, known in ((rows, first), (columns, second)):
        if unknown := [name for name in side if name not in known]:
            raise SharingError(f"no class {', '.join(unknown)}; there are {', '.join(known)}")
    return rows, columns, set(pairs)


def compare_tasks(neurons: Sequence[str], pairs: Sequence[Sequence[str]] | None, out: str) -> None:
    """Compare one task with itself, or two tasks of a model, and write the ``sharing`` table.

    Within a task, all specific neurons are among the neurons selected for it, so the chance level draws from
    these. Between tasks, it draws from all neurons of the model. Pairs with a class without clips have no
    ratio.
    """
    columns = ["layer", "neuron", "class", "response", "selected", "assigned"]
    read = [tables.read(path, "neurons", columns) for path in neurons]
    every = read[0].drop_duplicates(["layer", "neuron"])
    pool = len(every) if len(read) > 1 else int(every["selected"].sum())
    first, second = specific_neurons(read[0]), specific_neurons(read[-1])
    table = compare(first, second, pool, None if pairs is None else [(a, b) for a, b in pairs])
    # A class without clips has no neurons to share, so a ratio of 0 would be meaningless.
    silent = [one.loc[one["response"].isna(), "class"].unique() for one in read]
    lacking = table["class_a"].isin(silent[0]) | table["class_b"].isin(silent[-1])
    table.loc[lacking, ["ratio", "expected"]] = np.nan
    tables.write(out, "sharing", table)


def mean_ratios(table: pd.DataFrame, within: bool) -> dict[str, float]:
    """Return the mean ratio and chance level of matched and other pairs in a ``sharing`` table.

    Within one task, a class is not compared with itself, and each pair counts once. Pairs without a ratio
    have no chance level either, and are left out.
    """
    if within:
        other = table[table["class_a"] < table["class_b"]]
        same = table.iloc[:0]
    else:
        same, other = table[table["matched"]], table[~table["matched"]]
    return {
        "same": same["ratio"].mean(),
        "same_expected": same["expected"].mean(),
        "other": other["ratio"].mean(),
        "other_expected": other["expected"].mean(),
    }
