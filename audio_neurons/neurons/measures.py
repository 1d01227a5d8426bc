"""Measures of how selective a neuron is, and how strongly it is associated with a class.

AAPE is one number per neuron. The other measures rank all neurons for each class. Their arguments are
counts: ``active`` (C, N) holds a_c, the number of tokens of class c on which a neuron is active, and
``tokens`` (C,) holds T_c, all tokens of class c. A = Σ_c a_c and T = Σ_c T_c. They return scores (C, N);
higher is better, and NaN means undefined. Counts are integers, so the order of the classes changes no score.

Neuron_Eval (Oikarinen et al., ICML 2025, arXiv 2506.05774) checks whether a measure notices labels that are
added or removed. F1, IoU and Pearson pass both of its checks. The mean difference and the AUROC of a class
do not, nor do rankings by precision or recall alone; the response is such a ranking. Neuron_Eval binarises
neurons at their strongest inputs and this module uses the activity rule, so its verdicts are only a guide.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

TOGETHER = 4096  # neurons whose entropies are computed at once, so that they fit a processor's cache
BLOCK = 1024  # neurons that are ranked at once


def entropy(p: np.ndarray) -> np.ndarray:
    """Return AAPE in nats, (N,): -Σ_c p̂_c ln p̂_c with p̂ = p / Σ_c p and 0 ln 0 = 0; NaN where Σ_c p = 0.

    The maximum is ln C. All classes must have clips.
    """
    h = np.empty(p.shape[1])
    for start in range(0, len(h), TOGETHER):
        here = slice(start, start + TOGETHER)
        h[here] = _entropy(p[:, here])
    return h


def _entropy(p: np.ndarray) -> np.ndarray:
    p = np.sort(p, axis=0)  # so that the order of the classes affects neither the last bit nor ties
    total = _sum(p)
    with np.errstate(invalid="ignore", divide="ignore"):
        p /= total
        terms = np.log(p)
        terms *= p
    terms[~(p > 0)] = 0.0
    return np.where(total > 0, 0.0 - _sum(terms), np.nan)


def _sum(rows: np.ndarray) -> np.ndarray:
    """Sum row by row, because the order of numpy's own sum depends on the number of columns."""
    total = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


def response(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return P_c = a_c / T_c, the activation probability ("LAP", whose entropy is LAPE)."""
    return _over(active, tokens[:, None])


def mean_difference(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return P_c - (A - a_c) / (T - T_c), the difference from all other tokens (``mad`` of Neuron_Eval)."""
    rest = tokens.sum() - tokens
    return response(active, tokens) - _over(active.sum(0) - active, rest[:, None])


def probeless(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return ``Σ_c' |P_c - P_c'|``, Probeless for one class (Antverg and Belinkov, ICLR 2022; as in NeuroX).

    The score ignores the sign of the differences: a neuron that is silent on one class ranks as high as one
    that is active on it alone.
    """
    p = response(active, tokens)
    p = p[~np.isnan(p).any(1)]
    ordered = np.sort(p, axis=0)  # so that the order of the classes does not affect the last bit
    scores = np.full(active.shape, np.nan)
    scores[tokens > 0] = [sum(np.abs(row - other) for other in ordered) for row in p]
    return scores


def iou(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return a_c / (A + T_c - a_c): active tokens of the class, over tokens active or of the class."""
    return _over(active, active.sum(0) + tokens[:, None] - active)


def f1(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return 2 a_c / (A + T_c), the F1 of activity as a detector of the class; ranks like :func:`iou`."""
    return _over(2 * active, active.sum(0) + tokens[:, None])


def pearson(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Return (T a_c - A T_c) / √(A (T - A) T_c (T - T_c)): correlation over tokens of activity and class.

    Both variables are 0 or 1, so it is the phi coefficient.
    """
    a, t = active.sum(0).astype(float), float(tokens.sum())
    of_class = tokens[:, None].astype(float)
    spread = np.sqrt(a * (t - a)) * np.sqrt(of_class * (t - of_class))
    return _over(t * active - a * of_class, spread)


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "lap": response,
    "mad": mean_difference,
    "probeless": probeless,
    "f1": f1,
    "iou": iou,
    "pearson": pearson,
}


def auroc(active: np.ndarray, tokens: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return (C, N): probability that a neuron is active more often in a unit of the class than in another.

    The value is (R_c - n_c (n_c + 1) / 2) / (n_c (n - n_c)), where R_c is the sum of the ranks, by active /
    tokens, of the n_c units of the class among all n units. Equal rates share their mean rank. NaN for a
    class that has no units, or all.

    Parameters
    ----------
    active, tokens, labels
        Counts (R, N) of units or clips, their tokens (R,), and the class index of each (R,).
    """
    one_hot = labels == np.arange(classes)[:, None]
    of_class = one_hot.sum(1)[:, None]
    pairs = of_class * (len(labels) - of_class)
    scores = np.empty((classes, active.shape[1]))
    for start in range(0, active.shape[1], BLOCK):
        here = slice(start, start + BLOCK)
        ranks = pd.DataFrame(active[:, here] / tokens[:, None]).rank().to_numpy()
        scores[:, here] = _over(one_hot.astype(float) @ ranks - of_class * (of_class + 1) / 2, pairs)
    return scores


def _over(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Return the ratio, NaN for 0 / 0; a denominator without tokens implies a numerator of 0."""
    with np.errstate(invalid="ignore"):
        return numerator / denominator
