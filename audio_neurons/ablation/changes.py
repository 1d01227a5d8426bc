"""Changes of neurons during a forward pass.

A change sets the activations a of a set of neurons to ``r + gain * (a - r)``. Gain 0 replaces them by r,
gains between 0 and 1 weaken the deviation from r, and gains above 1 strengthen it. r is zero (EVAR's
ablation, which multiplies by the gain), the neuron's mean, or its activation in another clip.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Neurons = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Change:
    """A set of neurons (layer, unit), and the gain and replacement of their activations.

    ``replacement`` is ``"zero"``, ``"mean"`` or ``"resample"``.
    """

    neurons: Neurons
    gain: float = 0.0
    replacement: str = "zero"

    @property
    def first_layer(self) -> int | None:
        """The lowest layer that the change affects; ``None`` if it changes nothing."""
        return None if self.gain == 1 else min((layer for layer, _ in self.neurons), default=None)


def units_by_layer(neurons: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Return layer → units, both in ascending order."""
    found: dict[int, list[int]] = {}
    for layer, unit in sorted(neurons):
        found.setdefault(int(layer), []).append(int(unit))
    return found
