"""Are classes of two datasets shared by their meaning? Permutations of which class means which.

A contrast under permuted labels says that both tasks have structure and that something of it aligns, which
one nuisance suffices for. Here the ratios stay, and the classes of one task change their names: the test of
the quadratic assignment problem (Hubert and Schultz 1976). It is exact, and says at once what few classes can
show: with two, p is at least 1/2.
"""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pandas as pd

EXHAUSTIVE = 7  # classes up to which all permutations are done
SAMPLED = 9999  # permutations drawn beyond


def identity_test(table: pd.DataFrame, seed: int = 0) -> tuple[float, int]:
    """Return p and the number of permutations; NaN and 0 where classes do not match one to one.

    p is the share of permutations of the second task's classes, including none, in which matching pairs share
    at least as much on average.

    Parameters
    ----------
    table
        ``sharing`` table; pairs without a ratio, as of classes without clips, are left out.
    """
    table = table.dropna(subset=["ratio"])
    same = table[table["matched"]]
    one_to_one = same["class_a"].is_unique and same["class_b"].is_unique
    grid = table.pivot_table(index="class_a", columns="class_b", values="ratio")
    n = len(same)
    if n < 2 or not one_to_one:
        return np.nan, 0
    ratios = grid.reindex(index=same["class_a"], columns=same["class_b"]).to_numpy()
    if np.isnan(ratios).any():
        return np.nan, 0
    if n <= EXHAUSTIVE:
        orders = np.array(list(permutations(range(n))))
        means = ratios[np.arange(n), orders].mean(1)
        return float((means >= means[0] - 1e-12).mean()), factorial(n)
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(n), (SAMPLED, 1)), axis=1)
    means = ratios[np.arange(n), orders].mean(1)
    observed = np.diagonal(ratios).mean()
    return float((1 + (means >= observed - 1e-12).sum()) / (SAMPLED + 1)), SAMPLED
