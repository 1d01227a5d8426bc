"""Rounds of random sets: more are drawn only for conditions whose answer is not clear yet.

A round takes the clips through the encoder under random sets of all conditions that wait, so that these share
what lies below their first layers. How many sets a round has changes no result: those that were drawn beyond
the end of a condition's drawing (:mod:`~audio_neurons.ablation.sequential`) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from audio_neurons.ablation.conditions import Condition, Controls, NeuronSet, compared, conditions
from audio_neurons.ablation.confusion import Confusions
from audio_neurons.ablation.effects import Measured, deciding
from audio_neurons.ablation.sequential import ended
from audio_neurons.running.runtime import tell
from audio_neurons.settings.ablation import Conditions

# Of a round: random sets at least, so that a pass without change and the decoding are a small part of it, and
# random sets of one condition at least.
TOGETHER, LEAST = 48, 4
SUMS = ("correct", "lost", "gained", "change")


@dataclass
class Comparison:
    """A condition, and the random sets that it is compared with, in the order of their draws.

    Attributes
    ----------
    places
        Numbers of the conditions that are compared with these sets: this one, and its shifted control.
    sums
        (4, S, C) of this condition, and of each random set (`SUMS` of `Measured`).
    odds
        Of each random set: number of a class → log odds.
    """

    condition: Condition
    places: tuple[int, ...]
    sums: list[np.ndarray]
    sets: list[Condition] = field(default_factory=list)
    odds: list[dict[int, np.ndarray]] = field(default_factory=list)
    waits: bool = True

    def take(self, new: Sequence[Condition], part: Measured, first: int, settings: Conditions) -> int:
        """Add measured random sets, the first of them at ``first`` of ``part``; return how many count."""
        before = len(self.sets)
        for at, one in enumerate(new, first):
            self.sets.append(one)
            self.sums.append(sums_of(part, at))
            self.odds.append({of: odds for (k, of), odds in part.odds.items() if k == at})
        values = deciding(part, np.stack([sums[SUMS.index("change")] for sums in self.sums]), self.condition)
        end = ended(values[1:] <= values[0], settings.stop_after)
        self.waits = end is None and len(self.sets) < settings.random
        if end is not None:
            del self.sets[end:], self.odds[end:], self.sums[end + 1 :]
        return len(self.sets) - before


def sums_of(measured: Measured, k: int) -> np.ndarray:
    return np.stack([getattr(measured, name)[k] for name in SUMS])


def run(
    measure: Callable[..., Measured],
    sets: Sequence[NeuronSet],
    controls: Controls,
    settings: Conditions,
    name: str = "ablate",
) -> tuple[Measured, list[Condition], Confusions]:
    """Measure neuron sets and as many random sets as needed.

    Parameters
    ----------
    measure
        :meth:`audio_neurons.ablation.ablation.Passes.measure`.

    Returns
    -------
    Outcomes, their conditions (random sets last, by condition and draw), and confusion matrices.
    """
    fixed = conditions(sets, controls, settings)
    comparing = compared(fixed, settings)
    size = min(max(settings.stop_after, LEAST), settings.random)  # none ends before `stop_after`
    new = {i: [controls.random(one, draw) for draw in range(size)] for i, one in enumerate(comparing)}
    first = part = _measured(measure, fixed, new, "")
    kept = {k: first.kept[k] for k in range(len(fixed))}
    confusions, codes, before = Confusions(), first.codes, first.before[0]
    outcomes = [(one, kept[k][0]) for k, one in enumerate(fixed)]
    confusions.add(codes, len(first.classes), before, outcomes)
    found = [Comparison(one, _places(one, fixed), [sums_of(first, fixed.index(one))]) for one in comparing]
    at, turn = len(fixed), 1
    while new:
        for i, more in new.items():
            counting = found[i].take(more, part, at, settings)
            for k, one in enumerate(more[:counting], at):
                first.pool(found[i].places, part.kept[k][1])
                confusions.add(codes, len(first.classes), before, [(one, part.kept[k][0])])
            at += len(more)
        waiting = [i for i, one in enumerate(found) if one.waits]
        if not waiting:
            break
        size, at, turn = max(LEAST, math.ceil(TOGETHER / len(waiting))), 0, turn + 1
        new = {}
        for i in waiting:
            drawn = len(found[i].sets)
            draws = range(drawn, min(drawn + size, settings.random))
            new[i] = [controls.random(comparing[i], draw) for draw in draws]
        part = _measured(measure, [], new, f", round {turn} of random sets")
    if found:
        numbers = [len(one.sets) for one in found]
        least = f"{min(numbers)} to " if min(numbers) < max(numbers) else ""
        tell(
            f"{name}: {least}{max(numbers)} random sets (mean {np.mean(numbers):.0f}) for each of "
            f"{len(found)} conditions, of at most {settings.random}"
        )
    return _joined(first, kept, found), [*fixed, *(c for one in found for c in one.sets)], confusions


def _measured(
    measure: Callable[..., Measured],
    fixed: Sequence[Condition],
    new: dict[int, list[Condition]],
    suffix: str,
) -> Measured:
    every = [*fixed, *(c for more in new.values() for c in more)]
    targets = [c.set.targets for c in every]
    return measure([c.change for c in every], range(len(every)), targets, suffix)


def _places(one: Condition, fixed: Sequence[Condition]) -> tuple[int, ...]:
    where = (one.set.label, one.change.gain, one.change.replacement)
    return tuple(
        k for k, c in enumerate(fixed) if (c.set.label, c.change.gain, c.change.replacement) == where
    )


def _joined(
    first: Measured, kept: dict[int, tuple[np.ndarray, np.ndarray]], found: Sequence[Comparison]
) -> Measured:
    """Return the outcomes of the conditions that are kept, and of the random sets after them."""
    if not kept:
        return first
    sums = np.stack([*(sums_of(first, k) for k in kept), *(s for one in found for s in one.sums[1:])], axis=1)
    odds = {(k, of): values for (k, of), values in first.odds.items() if k < len(kept)}
    for k, drawn in enumerate((one for comparison in found for one in comparison.odds), len(kept)):
        odds |= {(k, of): values for of, values in drawn.items()}
    return replace(first, kept=kept, odds=odds, **dict(zip(SUMS, sums, strict=True)))
