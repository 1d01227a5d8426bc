"""Simulated counts of groups of clips, in which some neurons are planted on one class."""

import numpy as np

from audio_neurons.activations.units import Units


def units(
    seed: int,
    groups: int = 40,
    classes: int = 4,
    neurons: int = 500,
    planted: int = 0,
    within: bool = False,
    spread: float = 20.0,
    tokens: int = 400,
    rates: int | None = None,
) -> tuple[Units, np.ndarray]:
    """Return units of independent groups, and which neurons are planted on which class, bool (C, N).

    The rates of a group vary around those of its class, as with a speaker (Beta distribution; a smaller
    ``spread`` gives more variation). With ``within``, every group has all classes, and a deviation that its
    classes share; otherwise every group has one class. ``planted`` neurons per class are active on 80 % of
    its tokens; all other neurons are active equally often in every class. Data of the same number ``rates``
    have the same neurons, some of which are much more active than others.
    """
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.02, 0.3, neurons)
    if rates is not None:
        base = np.random.default_rng(rates).beta(0.5, 4, neurons)
    truth = np.zeros((classes, neurons), bool)
    for c in range(classes):
        truth[c, c * planted : (c + 1) * planted] = True
    rates = np.where(truth, 0.8, base)
    if within:
        group, label = (a.ravel() for a in np.mgrid[:groups, :classes])
        tilt = rng.normal(0, 0.5, (groups, neurons))[group]  # one per group, for all its classes
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
