"""How well a probe tells the clips of a class from all others, whatever its bias is.

Zeroing neurons shifts all clips of a class and of others alike, which a threshold between classes notices and
an area under the ROC curve does not.
"""

from __future__ import annotations

import numpy as np
import pandas as pd


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
    own = pd.Series(values).rank().to_numpy()[member].sum()
    return float((own - inside * (inside + 1) / 2) / (inside * (len(values) - inside)))
