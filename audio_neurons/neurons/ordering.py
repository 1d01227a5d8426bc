"""Order statistics and masks of the lowest values, without sorting."""

from __future__ import annotations

import numpy as np


def order_statistic(values: np.ndarray, share: float) -> float:
    """Return the ``round(share * n)``-th smallest of n values, like LAPE's ``kthvalue``."""
    k = max(1, round(values.size * share))
    return float(np.partition(values.ravel(), k - 1)[k - 1])


def lowest(values: np.ndarray, k: int) -> np.ndarray:
    """Return a mask, bool (n,), of the ``k`` lowest of n values; ties in their order, NaN last."""
    chosen = np.zeros(len(values), bool)
    if k <= 0:
        return chosen
    last = np.partition(values, k - 1)[k - 1]
    below, ties = (~np.isnan(values), np.isnan(values)) if np.isnan(last) else (values < last, values == last)
    chosen[below] = True
    chosen[np.flatnonzero(ties)[: k - np.count_nonzero(below)]] = True
    return chosen
