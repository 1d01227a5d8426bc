"""Neuron sets, their controls, and the ablation conditions made of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons.ablation.changes import Change, Neurons, units_by_layer
from audio_neurons.neurons.selection import specific_neurons
from audio_neurons.running.runtime import tell
from audio_neurons.settings.ablation import Conditions as Settings


class ConditionError(ValueError):
    """A neuron set or its controls cannot be made; the message says what to check or change."""


@dataclass(frozen=True)
class NeuronSet:
    """Neurons that are ablated together.

    Attributes
    ----------
    kind
        ``"class"``: all neurons specific to one class. ``"shared"``: specific to each of the targets.
        ``"exact"``: specific to exactly the targets. ``"list"``: read from a file.
    targets
        Classes on which ablating the set should have an effect.
    """

    kind: str
    name: str
    targets: tuple[str, ...]
    neurons: Neurons

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True)
class Condition:
    """A neuron set or one of its controls, and the change of its activations.

    ``control`` is ``"none"``, ``"shifted"`` or ``"random"``; ``draw`` numbers the random controls.
    """

    set: NeuronSet
    change: Change
    control: str = "none"
    draw: int = 0

    @property
    def name(self) -> str:
        control = {"none": "", "shifted": " shifted", "random": f" random {self.draw}"}[self.control]
        return f"{self.set.label}{control} gain={self.change.gain:g} {self.change.replacement}"


def sets_of(
    table: pd.DataFrame,
    classes: Sequence[str] | None,
    shared: Iterable[Sequence[str]],
    lists: Iterable[NeuronSet],
) -> list[NeuronSet]:
    """Return the neuron sets of a task; empty sets are left out and reported.

    Parameters
    ----------
    table
        ``neurons`` table of the task.
    classes
        Classes whose specific neurons are ablated; ``None`` for every class.
    shared
        Lists of two or more classes whose common neurons are ablated.

    Raises
    ------
    ConditionError
        If a named class is not a class of the task.
    """
    specific = specific_neurons(table)
    together, lists = [tuple(names) for names in shared], list(lists)
    targets = [*together, *(s.targets for s in lists)]
    named = {*(classes or ()), *(name for names in targets for name in names)}
    if unknown := sorted(named - set(specific)):
        raise ConditionError(f"no class {', '.join(unknown)}; there are {', '.join(specific)}")
    found = [NeuronSet("class", c, (c,), specific[c]) for c in (specific if classes is None else classes)]
    for names in together:
        for kind, neurons in common(specific, names).items():
            found.append(NeuronSet(kind, "+".join(names), names, neurons))
    found += lists
    for one in found:
        if not one.neurons:
            tell(f"{one.label}: no neurons, not ablated")
    return [one for one in found if one.neurons]


def common(specific: Mapping[str, Neurons], names: Sequence[str]) -> dict[str, Neurons]:
    """Return neurons specific to all these classes (``shared``), and also to no other (``exact``)."""
    shared = frozenset.intersection(*(specific[name] for name in names))
    elsewhere: Neurons = frozenset().union(*(specific[name] for name in specific if name not in names))
    return {"shared": shared, "exact": shared - elsewhere}


def read_list(path: str | Path, name: str, targets: Sequence[str]) -> NeuronSet:
    """Read a set from a CSV with columns ``layer`` and ``neuron``, counted from 0; ``#`` starts a comment.

    Raises
    ------
    ConditionError
        If the file lacks a column, has no rows, or contains anything but whole numbers.
    """
    try:
        table = pd.read_csv(path, comment="#", skipinitialspace=True)[["layer", "neuron"]].apply(
            pd.to_numeric
        )
        if (table % 1 != 0).any(axis=None):
            raise ValueError("not whole numbers")
        neurons = frozenset(zip(table["layer"].astype(int), table["neuron"].astype(int), strict=True))
    except (KeyError, ValueError) as error:
        raise ConditionError(f"{path}: not a list of neurons with columns layer, neuron ({error})") from error
    if not neurons:
        raise ConditionError(f"{path}: no neurons")
    return NeuronSet("list", name, tuple(targets), neurons)


FINER = 4  # parts of the part of strongest response


def shifted(neurons: Neurons, width: int | Sequence[int]) -> Neurons:
    """Return the paper's control: in each layer the neuron of the next index, wrapping around.

    ``width`` is that of all layers, or of each.
    """
    widths = {layer: width if isinstance(width, int) else int(width[layer]) for layer, _ in neurons}
    return frozenset((layer, (unit + 1) % widths[layer]) for layer, unit in neurons)


def response_bins(
    table: pd.DataFrame, bins: int, classes: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return every neuron's rank within its layer by mean response, and its bin: int (L, W) each.

    The mean is over ``classes``, by default all. Bins divide the neurons of a layer into ``bins`` parts of
    equal size, weakest first; the strongest is divided into ``FINER`` again, since specific neurons are
    among the strongest. Where a layer is narrower than W, both are -1.
    """
    if classes is not None:
        table = table[table["class"].isin(classes)]
    rate = table.groupby(["layer", "neuron"])["response"].mean()  # classes without clips are NaN: skipped
    layers = [values.to_numpy() for _, values in rate.groupby(level="layer")]
    rank = np.full((len(layers), max(map(len, layers))), -1)
    bin_of = rank.copy()
    for layer, values in enumerate(layers):
        here = values.argsort(kind="stable").argsort()
        rank[layer, : len(here)] = here
        bin_of[layer, : len(here)] = _parts(here, min(bins, len(here)))
    return rank, bin_of


def _parts(rank: np.ndarray, bins: int) -> np.ndarray:
    """Return the part of each rank: one of ``bins``, the last of which is ``FINER`` parts if they fit."""
    part = rank * bins // len(rank)
    last = np.flatnonzero(part == bins - 1)
    within = rank[last] - rank[last].min()
    part[last] += within * min(FINER, len(last)) // len(last)
    return part


def matched(neurons: Neurons, rank: np.ndarray, bins: np.ndarray, rng: np.random.Generator) -> Neurons:
    """Draw random neurons outside a set, with the same number per layer and bin.

    If a bin has too few free neurons, they are drawn from the free neurons nearest to it in rank.

    Raises
    ------
    ConditionError
        If a layer has fewer neurons outside the set than in it.
    """
    drawn = []
    for layer, units in units_by_layer(neurons).items():
        free = rank[layer] >= 0
        width = free.sum()
        free[units] = False
        if free.sum() < len(units):
            raise ConditionError(
                f"{len(units)} of the {width} neurons of layer {layer} are in one set: too few are left "
                "for a random set of this size; choose fewer neurons, or set ablation.random to 0"
            )
        numbers, wanted = np.unique(bins[layer, units], return_counts=True)
        for number, count in zip(numbers, wanted, strict=True):
            mine = np.flatnonzero(free & (bins[layer] == number))
            if len(mine) < count:
                inside = rank[layer, bins[layer] == number]
                away = np.abs(rank[layer] - inside.mean())
                others = np.flatnonzero(free)
                mine = others[np.argsort(away[others], kind="stable")[: 2 * count]]
            chosen = rng.choice(mine, count, replace=False)
            free[chosen] = False
            drawn += [(layer, int(unit)) for unit in chosen]
    return frozenset(drawn)


class Controls:
    """The controls of neuron sets, drawn one by one.

    A random set depends only on ``seed``, the set and the number of the draw: it has the same neurons at all
    gains and replacements. Random sets match the set in response to its targets, or with ``match`` "all", and
    for a set without targets, to all classes. A set of a class's neurons is by selection more active on that
    class than neurons of the same mean response are: what is compared with these is partly how much was
    removed.

    Parameters
    ----------
    table
        ``neurons`` table of the task.
    """

    def __init__(self, table: pd.DataFrame, settings: Settings):
        self._table, self._settings = table, settings
        self._ranks: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}

    def _binned(self, one: NeuronSet) -> tuple[np.ndarray, np.ndarray]:
        scored = one.targets if self._settings.match == "targets" else ()
        if scored not in self._ranks:
            self._ranks[scored] = response_bins(self._table, self._settings.bins, scored or None)
        return self._ranks[scored]

    def shifted(self, one: NeuronSet) -> Neurons:
        """Return the paper's control of a set."""
        return shifted(one.neurons, (self._binned(one)[0] >= 0).sum(1))

    def random(self, condition: Condition, draw: int) -> Condition:
        """Return a condition with a random set in place of its set."""
        one = condition.set
        rng = np.random.default_rng([self._settings.seed, zlib.crc32(one.label.encode()), draw])
        neurons = matched(one.neurons, *self._binned(one), rng)
        return replace(
            condition, change=replace(condition.change, neurons=neurons), control="random", draw=draw
        )


def called_at(gains: Sequence[float], replacements: Sequence[str]) -> tuple[float, tuple[str, ...]]:
    """Return the gain and the replacements by which effects are called.

    The gain is the one nearest to 0, the replacement the mean where it is one of them, else every one.
    """
    return min(gains, key=lambda gain: (abs(gain), gain)), by_mean(replacements)


def by_mean(replacements: Iterable[str]) -> tuple[str, ...]:
    """Return the mean if it is one of the replacements, else all of them."""
    found = tuple(replacements)
    return ("mean",) if "mean" in found else found


def conditions(sets: Sequence[NeuronSet], controls: Controls, settings: Settings) -> list[Condition]:
    """Return every set at every gain and replacement, and the paper's control at the gain nearest to 0."""
    nearest, _ = called_at(settings.gains, settings.replacements)
    found = []
    for one in sets:
        variants = [("none", one.neurons)] + [("shifted", controls.shifted(one))] * settings.shifted
        for (control, neurons), gain, replacement in product(variants, settings.gains, settings.replacements):
            if control == "none" or gain == nearest:
                found.append(Condition(one, Change(neurons, float(gain), replacement), control))
    return found


def compared(found: Sequence[Condition], settings: Settings) -> list[Condition]:
    """Return the conditions that random sets are drawn for."""
    gain, replacements = called_at(settings.gains, settings.replacements)
    return [
        c
        for c in found
        if c.control == "none"
        and settings.random
        and (settings.random_at == "all" or (c.change.gain == gain and c.change.replacement in replacements))
    ]


def membership(found: Iterable[Condition]) -> pd.DataFrame:
    """Return the ``ablation_sets`` table: the neurons of every set and control."""
    sets: Mapping[tuple, Neurons] = {(c.set.label, c.control, c.draw): c.change.neurons for c in found}
    rows = [(*key, *neuron) for key, neurons in sets.items() for neuron in sorted(neurons)]
    return pd.DataFrame(rows, columns=["set", "control", "draw", "layer", "neuron"])
