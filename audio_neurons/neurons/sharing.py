"""Number of neurons that two classes share, and the number expected by chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.activations.statistics import natural
from audio_neurons.neurons.selection import Neurons, specific


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
    from scipy.stats import hypergeom  # slow to import, and few jobs need it

    first, second, both = Pool(pool, pool, pool) if isinstance(pool, int) else pool
    found = np.arange(min(a, b) + 1)
    if first == both:  # all of the first set is among those that the second may draw
        return hypergeom.pmf(found, second, a, b)
    reachable = np.arange(min(a, both) + 1)[:, None]
    return hypergeom.pmf(reachable[:, 0], first, both, a) @ hypergeom.pmf(found, second, reachable, b)


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
    from scipy.stats import hypergeom

    for cell in np.unique(cells[ours & np.isin(cells, cells[theirs])]):
        inside = cells == cell
        drawn, listed, size = (int(np.count_nonzero(m & inside)) for m in (ours, theirs, inside))
        here = hypergeom.pmf(np.arange(min(drawn, listed) + 1), size, listed, drawn)
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
    sizes_a, sizes_b = (
        np.array([len(of[name]) for name in names], int) for of, names in ((first, rows), (second, columns))
    )
    common = _common([first[name] for name in rows], [second[name] for name in columns])
    a, b = np.repeat(sizes_a, len(columns)), np.tile(sizes_b, len(rows))
    # Many pairs have the same numbers, whose distribution takes long.
    cases, case = np.unique(np.stack([common.ravel(), a, b]), axis=1, return_inverse=True)
    with np.errstate(invalid="ignore"):
        ratios = common.ravel() / (a + b - common.ravel())
    table = {
        "class_a": np.repeat(np.array(rows, object), len(columns)),
        "class_b": np.tile(np.array(columns, object), len(rows)),
        "matched": [(x, y) in matched for x in rows for y in columns],
        "neurons_a": a,
        "neurons_b": b,
        "common": common.ravel(),
        "ratio": ratios,
        "pool_a": pool.first,
        "pool_b": pool.second,
        "pool": pool.both,
        "expected": np.array([_expected_ratio(int(x), int(y), pool) for _, x, y in cases.T])[case.ravel()],
        "p_value": np.array([_p_value(int(k), int(x), int(y), pool) for k, x, y in cases.T])[case.ravel()],
    }
    return pd.DataFrame(table, columns=tables.SCHEMAS["sharing"].names)


def _common(first: Sequence[Neurons], second: Sequence[Neurons]) -> np.ndarray:
    """Return the number of neurons that each set of ``first`` has in common with each of ``second``."""
    from scipy import sparse  # half as long to import as pandas; little else needs it

    numbers = {one: i for i, one in enumerate(frozenset().union(*first, *second))}

    def members(sets: Sequence[Neurons]) -> sparse.csr_array:
        columns = [numbers[one] for each in sets for one in each]
        ends = np.cumsum([0, *map(len, sets)])
        return sparse.csr_array((np.ones(len(columns), np.int32), columns, ends), (len(sets), len(numbers)))

    return (members(first) @ members(second).T).toarray()


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
    read = [_read(path, "eligible" if len(neurons) > 1 else "selected") for path in dict.fromkeys(neurons)]
    first, second = read[0], read[-1]
    pool = Pool(*(int(np.count_nonzero(m)) for m in (first.able, second.able, first.able & second.able)))
    table = compare(
        first.specific, second.specific, pool, None if pairs is None else [(a, b) for a, b in pairs]
    )
    # A class without clips has no neurons to share, so a ratio of 0 would be meaningless.
    lacking = table["class_a"].isin(first.silent) | table["class_b"].isin(second.silent)
    table.loc[lacking, ["ratio", "expected"]] = np.nan
    tables.write(out, "sharing", table)


@dataclass(frozen=True)
class Compared:
    """What a comparison needs of a ``neurons`` table.

    Attributes
    ----------
    specific
        Class, in natural order → its specific neurons.
    able
        bool (N,): neurons from which chance draws.
    silent
        Classes without clips.
    """

    specific: dict[str, Neurons]
    able: np.ndarray
    silent: list[str]


def _read(path: str, kind: str) -> Compared:
    found, able, silent = {}, np.zeros(0, bool), []
    for name, rows in tables.runs(
        path, "neurons", "class", ["layer", "neuron", "response", kind, "assigned"]
    ):
        found[name], able = specific(rows), rows[kind].to_numpy()
        if rows["response"].isna().any():
            silent.append(name)
    return Compared({name: found[name] for name in sorted(found, key=natural)}, able, silent)


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
