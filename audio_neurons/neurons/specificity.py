"""Measures of how specific the chosen neurons are, beside how many there are.

The number of chosen neurons is fixed by the rule. Coverage and neurons per class are therefore highest where
every chosen neuron belongs to all classes, and lowest where each belongs to one.
"""

from __future__ import annotations

import numpy as np

from audio_neurons.neurons.selection import Selection

MEASURES = ("classes_per_neuron", "exclusive", "everywhere", "colligation")


def preferred(chosen: Selection) -> np.ndarray:
    """Return the class of each neuron's strongest response among its classes, int (N,); -1 for none."""
    strongest = np.where(chosen.assigned, chosen.response, -1.0).argmax(0)
    return np.where(chosen.assigned.any(0), strongest, -1)


def specificity(chosen: Selection) -> np.ndarray:
    """Return the `MEASURES` of a selection, over the neurons that belong to a class; NaN without any.

    ``classes_per_neuron`` is the mean number of classes of a neuron, ``exclusive`` the share of neurons of
    one class only, ``everywhere`` that of neurons of all classes with clips, and ``colligation`` the mean of
    :func:`colligation`.
    """
    any_class = chosen.assigned.any(0)
    if not any_class.any():
        return np.full(len(MEASURES), np.nan)
    present = ~np.isnan(chosen.response).any(1)
    count = chosen.assigned[:, any_class].sum(0)
    found = colligation(chosen.response[present][:, any_class])
    return np.array([count.mean(), (count == 1).mean(), (count == present.sum()).mean(), found.mean()])


def colligation(p: np.ndarray) -> np.ndarray:
    """Return Yule's coefficient of colligation of activity and the strongest class, (N,).

    With p the response to that class, r the mean response to the others, and o = p (1 - r) / (r (1 - p)) the
    odds ratio, it is (√o - 1) / (√o + 1): 0 for a neuron that responds alike to all classes, 1 for one that
    is never active in the others. It depends on the odds ratio alone and not on how often a neuron is active
    (Yule, "On the Methods of Measuring Association between Two Attributes", J. R. Stat. Soc. 75, 1912).
    0 where p = r, also if both are 1; NaN if there is one class.
    """
    if len(p) < 2:
        return np.full(p.shape[1], np.nan)
    own = p.max(0)
    rest = (p.sum(0) - own) / (len(p) - 1)
    up, down = np.sqrt(own * (1 - rest)), np.sqrt(np.maximum(rest, 0) * (1 - own))
    with np.errstate(invalid="ignore"):
        return np.where(up + down > 0, (up - down) / (up + down), 0.0)
