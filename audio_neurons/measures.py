"""How selective a neuron is, and how strongly it goes with a class.

AAPE is one number per neuron. The others rank all neurons for one class: their arguments are counts
``active`` (C, N) over ``tokens`` (C,): on how many of the T_c tokens of class c a neuron is active, a_c.
A = Σ_c a_c and T = Σ_c T_c. They return scores (C, N), the higher the better, and NaN where a score has
no meaning. Counts are integers, so the order of the classes changes no score.

Which of them hold what they promise: Neuron_Eval (Oikarinen et al., ICML 2025, arXiv 2506.05774) adds
and takes away labels and asks whether a measure notices. F1, IoU and Pearson pass both of its checks;
the mean difference and the AUROC of a class do not, nor do rankings by precision or recall alone, which
the response is. Neuron_Eval binarises its neurons at their strongest inputs and we at the activity rule,
so that its verdicts are a guide here and no proof.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

TOGETHER = 4096  # neurons whose entropies are computed at once: what fits a processor's cache
BLOCK = 1024  # neurons that are ranked at once


def entropy(p: np.ndarray) -> np.ndarray:
    """AAPE in nats, (N,): -Σ_c p̂_c ln p̂_c with p̂ = p / Σ_c p and 0 ln 0 = 0; NaN where Σ_c p = 0.

    At most ln C. Classes must all have clips.
    """
    h = np.empty(p.shape[1])
    for start in range(0, len(h), TOGETHER):
        here = slice(start, start + TOGETHER)
        h[here] = _entropy(p[:, here])
    return h


def _entropy(p: np.ndarray) -> np.ndarray:
    p = np.sort(p, axis=0)  # so that the order of the classes does not decide the last bit, nor ties
    total = _sum(p)
    with np.errstate(invalid="ignore", divide="ignore"):
        p /= total
        terms = np.log(p)
        terms *= p
    terms[~(p > 0)] = 0.0
    return np.where(total > 0, 0.0 - _sum(terms), np.nan)


def _sum(rows: np.ndarray) -> np.ndarray:
    """Sum over rows one by one: numpy's own order depends on the number of columns."""
    total = rows[0].copy()
    for row in rows[1:]:
        total += row
    return total


def response(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """P_c = a_c / T_c, the activation probability alone ("LAP" where LAPE is its entropy)."""
    return _over(active, tokens[:, None])


def mean_difference(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """P_c - (A - a_c) / (T - T_c): against all other tokens (``mad`` of Neuron_Eval)."""
    rest = tokens.sum() - tokens
    return response(active, tokens) - _over(active.sum(0) - active, rest[:, None])


def probeless(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """``Σ_c' |P_c - P_c'|``: Probeless for one class (Antverg and Belinkov, ICLR 2022; as in NeuroX).

    It asks how far a class is from the others, not in which direction: a neuron that is silent on one
    class ranks as high as one that is active on it alone.
    """
    p = response(active, tokens)
    p = p[~np.isnan(p).any(1)]
    ordered = np.sort(p, axis=0)  # so that the order of the classes does not decide the last bit
    scores = np.full(active.shape, np.nan)
    scores[tokens > 0] = [sum(np.abs(row - other) for other in ordered) for row in p]
    return scores


def iou(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """a_c / (A + T_c - a_c): tokens of the class on which it is active, over tokens that are either."""
    return _over(active, active.sum(0) + tokens[:, None] - active)


def f1(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """2 a_c / (A + T_c), activity as a detector of the class; ranks neurons as :func:`iou` does."""
    return _over(2 * active, active.sum(0) + tokens[:, None])


def pearson(active: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """(T a_c - A T_c) / √(A (T - A) T_c (T - T_c)): correlation over tokens of activity and class.

    Both are 0 or 1, so it is the phi coefficient.
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
    """(C, N): probability that a neuron is active more often in a unit of the class than in another.

    (R_c - n_c (n_c + 1) / 2) / (n_c (n - n_c)) with R_c the sum of the ranks of the n_c units of the
    class among all n, by active / tokens; equal rates have their mean rank. NaN for a class that has
    no units, or all.

    Parameters
    ----------
    active, tokens, labels
        Counts (R, N) of units or clips, their tokens (R,), and which class each belongs to (R,).
    """
    one_hot = labels == np.arange(classes)[:, None]
    of_class = one_hot.sum(1)[:, None]
    pairs = of_class * (len(labels) - of_class)
    scores = np.empty((classes, active.shape[1]))
    for start in range(0, active.shape[1], BLOCK):
        here = slice(start, start + BLOCK)
        ranks = rankdata(active[:, here] / tokens[:, None], axis=0)
        scores[:, here] = _over(one_hot.astype(float) @ ranks - of_class * (of_class + 1) / 2, pairs)
    return scores


def _over(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Their ratio; NaN for 0 / 0: without tokens in the denominator there are none in the numerator."""
    with np.errstate(invalid="ignore"):
        return numerator / denominator
