"""Sequential Monte Carlo tests: controls are drawn only until the answer is clear.

Besag and Clifford, "Sequential Monte Carlo p-values", Biometrika 78 (1991): draw until ``enough`` controls
were at least as extreme as what is tested, or ``limit`` are drawn. With g of them as extreme among the n
that were drawn, p is ``enough / n`` in the first case and ``(1 + g) / (1 + n)`` in the second. Both are
exact: under the null hypothesis, P(p <= a) = a at every a that p can be. Where ``enough`` is at least a
times ``limit``, no p below a comes from drawing that ended early, so that whatever is called at level a is
what all ``limit`` controls would have called.

Statistics for which drawing does not wait have a p of the same definition, of the controls that were drawn.
It is not exact: under the null hypothesis it was at most 0.05 in 0.05 of simulated data, and would be in
0.07 if drawing ended whenever it is lowest (``python -m benchmarks.drawing``).
"""

from __future__ import annotations

import numpy as np


def p_values(lower: np.ndarray, enough: int) -> np.ndarray:
    """Return the p-values (...) of statistics.

    Parameters
    ----------
    lower
        Whether each control, in the order of the draws, is at least as extreme: bool (n, ...), n > 0.
    enough
        Extreme controls after which a statistic needs no more; 0: it needs all.
    """
    number = lower.cumsum(0)
    p = (1 + number[-1]) / (1 + len(lower))
    if not enough:
        return p
    reached = number >= enough
    return np.where(reached[-1], enough / (1 + reached.argmax(0)), p)


def ended(lower: np.ndarray, enough: int) -> int | None:
    """Return the number of controls that are needed for all statistics; ``None`` if more than were drawn.

    Parameters
    ----------
    lower
        bool (n, M), as in :func:`p_values`.
    """
    reached = lower.cumsum(0) >= enough
    if not enough or not len(lower) or not reached[-1].all():
        return None
    return int(1 + reached.argmax(0).max(initial=0))
