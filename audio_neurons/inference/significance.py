"""Inference from draws of a statistic: p-values, percentile intervals, and correction for multiple tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control


def p_values(value: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (1 + #{T* >= T}) / (B + 1) and (1 + #{T* <= T}) / (B + 1), (S,) each, for draws T* (B, S).

    NaN where T is NaN. A draw that is NaN, a ratio of two empty sets, counts as 0.
    """
    null = np.nan_to_num(null)
    at_least, at_most = (null >= value).sum(0), (null <= value).sum(0)
    found = (1 + np.stack([at_least, at_most])) / (len(null) + 1)
    return tuple(np.where(np.isnan(value), np.nan, found))


def q_values(p: np.ndarray) -> np.ndarray:
    """Return p-values adjusted after Benjamini and Hochberg, over those that are not NaN."""
    q = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        q[tested] = false_discovery_control(p[tested])
    return q


def interval(draws: np.ndarray, level: float) -> np.ndarray:
    """Return the two percentiles, (2, S), that enclose ``level`` of draws (B, S); NaN counts as 0."""
    return np.quantile(np.nan_to_num(draws), [(1 - level) / 2, (1 + level) / 2], axis=0)


def table(
    facts: Mapping, value: np.ndarray, null: np.ndarray, resampled: np.ndarray, level: float
) -> pd.DataFrame:
    """Build the ``inference`` table of statistics (S,) from their draws (B, S)."""
    greater, less = p_values(value, null)
    found = pd.DataFrame(facts).assign(value=value, null_mean=np.nan_to_num(null).mean(0))
    found["null_low"], found["null_high"] = interval(null, level)
    found["low"], found["high"] = interval(resampled, level)
    upward = found["alternative"] == "greater"
    found["p_value"], found["p_other"] = np.where(upward, [greater, less], [less, greater])
    adjusted = found.groupby("family")["p_value"].transform(lambda p: q_values(p.to_numpy()))
    found["q_value"] = adjusted.where(found["family"] != "alone", found["p_value"])
    drawn = ["null_mean", "null_low", "null_high", "low", "high"]
    found.loc[np.isnan(value), drawn] = np.nan
    return found
