"""How well a probe tells the clips of a class from all others, whatever its bias is.

Zeroing neurons shifts all clips of a class and of others alike, which a threshold between classes notices and
an area under the ROC curve does not.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from torch import Tensor


def log_odds(log_probabilities: Tensor, of: int) -> np.ndarray:
    """Return the log odds of class ``of``, float32 (n,), as means over probes, of (S, n, C)."""
    others = [c for c in range(log_probabilities.shape[-1]) if c != of]
    rest = log_probabilities[..., others].logsumexp(-1)
    return (log_probabilities[..., of] - rest).mean(0).float().cpu().numpy()


def area(values: np.ndarray, member: np.ndarray) -> float:
    """Return the probability that a member's value exceeds another's, ties counted as half.

    NaN if all are members, or none is.

    Parameters
    ----------
    values, member
        (n,): values, and bool.
    """
    inside = int(np.count_nonzero(member))
    if not 0 < inside < len(values):
        return np.nan
    own = rankdata(values)[member].sum()
    return float((own - inside * (inside + 1) / 2) / (inside * (len(values) - inside)))
