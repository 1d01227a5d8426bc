"""Number of neurons that two classes share, and the number expected by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from audio_neurons import tables
from audio_neurons.neurons.selection import specific_neurons

Neurons = frozenset[tuple[int, int]]


class SharingError(ValueError):
    """A comparison names a class that its task does not have."""


class Pool(NamedTuple):
    """Numbers of neurons that chance draws from: for the first set, for the second, and for either."""

    first: int
    second: int
    both: int


def ratio(a: Neurons, b: Neurons) -> float:
    """Return the common-neuron ratio ``|A ∩ B| / |A ∪ B|`` (Jaccard); NaN if both are empty."""
    union = len(a | b)
    return len(a & b) / union if union else np.nan


def common_distribution(a: int, b: int, pool: int | Pool) -> np.ndarray:
    """Return the probability that two random sets have 0, 1, ..., min(a, b) neurons in common.

    The ``a`` neurons are drawn from ``pool.first`` and the ``b`` from ``pool.second``, which have
    ``pool.both`` in common: a chain of two hypergeometric draws. A number stands for one pool of both.
    """
    first, second, both = Pool(pool, pool, pool) if isinstance(pool, int) else pool
    found = np.arange(min(a, b) + 1)
    if first == both:  # all of the first set is among those that the second may draw
        return stats.hypergeom.pmf(found, second, a, b)
    reachable = np.arange(min(a, both) + 1)[:, None]
    return stats.hypergeom.pmf(reachable[:, 0], first, both, a) @ stats.hypergeom.pmf(
        found, second, reachable, b
    )


def expected_ratio(a: int, b: int, pool: int | Pool) -> float:
    """Return the mean ratio of two sets of ``a`` and ``b`` neurons drawn at random from their pools.

    See :func:`common_distribution`; NaN if both sets are empty.
    """
    if a + b == 0:
        return np.nan
    common = np.arange(min(a, b) + 1)
    return float((common_distribution(a, b, pool) * (common / (a + b - common))).sum())


def p_value(common: int, a: int, b: int, pool: int | Pool) -> float:
    """Return the probability that two random sets of these sizes share at least ``common`` neurons."""
    return float(min(1.0, common_distribution(a, b, pool)[common:].sum()))


def matched_overlap(ours: np.ndarray, theirs: np.ndarray, cells: np.ndarray) -> tuple[float, float]:
    """Return the mean overlap of ``theirs`` with random sets like ``ours``, and the p of at least as much.

    A random set has as many neurons of each cell as ``ours``, so that the overlap is a sum of independent
    hypergeometric numbers, whose distribution is computed exactly.

    Parameters
    ----------
    ours, theirs
        bool (N,): which neurons are in the sets.
    cells
        int (N,): cell of each neuron, such as its layer and its rank by response.
    """
    distribution, expected = np.ones(1), 0.0
    for cell in np.unique(cells[ours & np.isin(cells, cells[theirs])]):
        inside = cells == cell
        drawn, listed, size = (int(np.count_nonzero(m & inside)) for m in (ours, theirs, inside))
        here = stats.hypergeom.pmf(np.arange(min(drawn, listed) + 1), size, listed, drawn)
        distribution, expected = np.convolve(distribution, here), expected + drawn * listed / size
    common = np.count_nonzero(ours & theirs)
    return expected, float(min(1.0, distribution[common:].sum()))


_expected_ratio, _p_value = cache(expected_ratio), cache(p_value)


def compare(
    first: Mapping[str, Neurons],
    second: Mapping[str, Neurons],
    pool: int | Pool,
    pairs: Sequence[tuple[str, str]] | None = None,
) -> pd.DataFrame:
    """Build the ``sharing`` table of two tasks, or of one task with itself.

    Parameters
    ----------
    first, second
        Class → its specific neurons.
    pool
        Numbers of neurons that the chance level draws from: all those that could have been shared.
    pairs
        Pairs of classes that mean the same (``matched``); only classes in them are compared. By default
        classes of equal names match and all are compared. An empty list compares nothing.

    Raises
    ------
    SharingError
        If ``pairs`` names a class that a task does not have.
    """
    rows, columns, matched = compared(list(first), list(second), pairs)
    pool = Pool(pool, pool, pool) if isinstance(pool, int) else pool
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
                    "pool_a": pool.first,
                    "pool_b": pool.second,
                    "pool": pool.both,
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
    these. Between tasks, it draws for each from the neurons that could have been specific to its classes
    (``eligible``). Pairs with a class without clips have no ratio.
    """
    columns = ["layer", "neuron", "class", "response", "selected", "eligible", "assigned"]
    read = [tables.read(path, "neurons", columns) for path in neurons]
    kind = "eligible" if len(read) > 1 else "selected"
    able = [one.drop_duplicates(["layer", "neuron"])[kind].to_numpy() for one in (read[0], read[-1])]
    pool = Pool(*(int(np.count_nonzero(mask)) for mask in (*able, able[0] & able[1])))
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
