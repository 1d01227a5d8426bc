"""Counts of groups of clips with known truth: some neurons are planted on one class."""

import numpy as np

from audio_neurons.units import Units


def units(
    seed: int,
    groups: int = 40,
    classes: int = 4,
    neurons: int = 500,
    planted: int = 0,
    within: bool = False,
    spread: float = 20.0,
    tokens: int = 400,
) -> tuple[Units, np.ndarray]:
    """Units of independent groups, and which neurons are planted on which class, bool (C, N).

    A group's rates vary around those of its class (Beta, the more the smaller ``spread``), as a
    speaker's do. ``within`` gives every group all classes, and its rates their common deviation;
    otherwise every group has one. The first ``planted`` neurons of each class are active on 80 % of
    its tokens, and all others as often in every class.
    """
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.02, 0.3, neurons)
    truth = np.zeros((classes, neurons), bool)
    for c in range(classes):
        truth[c, c * planted : (c + 1) * planted] = True
    rates = np.where(truth, 0.8, base)
    if within:
        group, label = (a.ravel() for a in np.mgrid[:groups, :classes])
        tilt = rng.normal(0, 0.5, (groups, neurons))[group]  # of the group, whatever the class
        odds = rates[label] / (1 - rates[label]) * np.exp(tilt)
        p = odds / (1 + odds)
    else:
        group = np.arange(groups)
        label = rng.permutation(np.arange(groups) % classes)
        p = rates[label]
    p = rng.beta(spread * p, spread * (1 - p))
    size = tokens * rng.integers(1, 4, len(group))
    counts = rng.binomial(size[:, None], p).astype(np.uint32)
    return Units(counts, size, label, group, tuple("abcdefghij"[:classes])), truth
