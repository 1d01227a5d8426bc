"""Intervals of class-conditional activation probabilities, for clips that come in groups.

The variance of a probability, a ratio of sums over groups, is that of Taylor linearisation (Cochran,
Sampling Techniques, 1977, section 6.3). The interval is Wilson's (1927) at the effective number of tokens
that has this variance, adjusted for few groups as by Korn and Graubard (Survey Methodology, 1998).
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from audio_neurons.activations.units import Units


def intervals(units: Units, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper ends of the intervals of p_c, float64 (C, N); NaN for a class of one group.

    Where all groups agree (p is 0 or 1, say), each counts as one token.
    """
    shape = (len(units.classes), units.active.shape[1])
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    for label in range(len(units.classes)):
        own = units.labels == label
        names, group = np.unique(units.groups[own], return_inverse=True)
        if len(names) < 2:
            continue
        active = np.zeros((len(names), shape[1]))
        np.add.at(active, group, units.active[own])
        tokens = np.bincount(group, units.tokens[own])[:, None]
        low[label], high[label] = wilson(active, tokens, level)
    return low, high


def wilson(active: np.ndarray, tokens: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the interval (N,) of a ratio of sums over two groups or more: counts (G, N), tokens (G, 1)."""
    groups = len(active)
    p = active.sum(0) / tokens.sum()
    variance = groups / (groups - 1) * ((active - p * tokens) ** 2).sum(0) / tokens.sum() ** 2
    normal, student = stats.norm.ppf((1 + level) / 2), stats.t.ppf((1 + level) / 2, groups - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = np.where(variance > 0, p * (1 - p) / variance, groups)
    n = np.minimum(effective, tokens.sum()) * (normal / student) ** 2
    centre = (p + normal**2 / (2 * n)) / (1 + normal**2 / n)
    half = normal / (1 + normal**2 / n) * np.sqrt(p * (1 - p) / n + normal**2 / (4 * n**2))
    return np.clip(centre - half, 0, None), np.clip(centre + half, None, 1)
