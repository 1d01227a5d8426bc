"""What is changed in a forward pass: which neurons, and how.

A change sets the activations a of a set of neurons to ``r + gain * (a - r)``: gain 0 replaces them by r,
gains between weaken and gains above 1 strengthen what departs from r. r is zero (EVAR's ablation, which
multiplies by the gain), the neuron's mean, or its activation in another clip.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Neurons = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Change:
    """A set of neurons (layer, unit), what their activations are multiplied by, and around what.

    ``replacement`` is ``"zero"``, ``"mean"`` or ``"resample"``.
    """

    neurons: Neurons
    gain: float = 0.0
    replacement: str = "zero"

    @property
    def first_layer(self) -> int | None:
        """The lowest layer that the change touches; ``None`` if it changes nothing."""
        return None if self.gain == 1 else min((layer for layer, _ in self.neurons), default=None)


def units_by_layer(neurons: Iterable[tuple[int, int]]) -> dict[int, list[int]]:
    """Layer → its units, both in ascending order."""
    found: dict[int, list[int]] = {}
    for layer, unit in sorted(neurons):
        found.setdefault(int(layer), []).append(int(unit))
    return found
