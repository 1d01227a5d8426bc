"""Sampling of clips: each batch depends only on seed and step, so that a training can resume."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Plan:
    """The batch of every step: numbers of clips, and places of their windows.

    Without weights, every clip is used once before any is used twice. With weights, every clip of a batch
    is drawn with replacement, in proportion to the weights.

    Parameters
    ----------
    clips
        Number of clips to draw from.
    size
        Clips in a whole batch.
    """

    def __init__(self, clips: int, size: int, seed: int, weights: np.ndarray | None = None):
        self._clips, self._size, self._seed = clips, size, seed
        self._cumulative = None if weights is None else np.cumsum(weights / weights.sum())
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, step: int) -> list[tuple[int, float]]:
        """Return (clip, place of its window in [0, 1)) for the whole batch of step 0, 1, ...."""
        rng = np.random.default_rng([0, self._seed, step])
        places = rng.random(self._size)
        if self._cumulative is not None:
            chosen = np.searchsorted(self._cumulative, rng.random(self._size), side="right")
            chosen = np.minimum(chosen, self._clips - 1)  # rounded sums may end below 1
        else:
            rounds, within = np.divmod(np.arange(self._size) + step * self._size, self._clips)
            chosen = np.array([self._order(r)[i] for r, i in zip(rounds, within, strict=True)])
        return list(zip(chosen.tolist(), places.tolist(), strict=True))

    def _order(self, number: int) -> np.ndarray:
        if number not in self._orders:
            rng = np.random.default_rng([1, self._seed, number])
            # A batch may reach into the next round, never back by more than one.
            self._orders = {n: o for n, o in self._orders.items() if n >= number - 1}
            self._orders[number] = rng.permutation(self._clips)
        return self._orders[number]


def balanced(classes: Sequence[np.ndarray], number: int, offset: float) -> np.ndarray:
    """Return the weight (N,) of every clip: the sum over its classes of 1 / (their clips + ``offset``).

    AST (Gong et al. 2021) and PaSST (Koutini et al. 2022) sample AudioSet this way.
    """
    flat = np.concatenate(classes)
    rare = 1 / (np.bincount(flat, minlength=number) + offset).clip(1e-9)
    owner = np.repeat(np.arange(len(classes)), [len(c) for c in classes])
    return np.bincount(owner, rare[flat], minlength=len(classes))
