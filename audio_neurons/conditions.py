"""What is ablated: sets of neurons, their controls, and the conditions made of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons.changes import Change, Neurons, units_by_layer
from audio_neurons.runtime import tell
from audio_neurons.selection import specific_neurons


class ConditionError(ValueError):
    """A set or its controls cannot be made; the message says what to look at or change."""


@dataclass(frozen=True)
class NeuronSet:
    """Neurons that are ablated together.

    Attributes
    ----------
    kind
        ``"class"``: all specific to one class. ``"shared"``: specific to each of the targets.
        ``"exact"``: specific to exactly the targets. ``"list"``: read from a file.
    targets
        The classes on which it should have an effect.
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
    """A set, or a control of it, and how its activations change.

    ``control`` is ``"none"``, ``"shifted"`` or ``"random"``; ``draw`` numbers the random ones.
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
    """Sets of a task; those without neurons are left out, and said so.

    Parameters
    ----------
    table
        ``neurons`` table of the task.
    classes
        Whose specific neurons are ablated; ``None`` for every class.
    shared
        Lists of two or more classes whose common neurons are ablated.

    Raises
    ------
    ConditionError
        If a class is named that the task does not have.
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
    """Neurons specific to each of these classes (``shared``), and those of them to no other (``exact``)."""
    shared = frozenset.intersection(*(specific[name] for name in names))
    elsewhere: Neurons = frozenset().union(*(specific[name] for name in specific if name not in names))
    return {"shared": shared, "exact": shared - elsewhere}


def read_list(path: str | Path, name: str, targets: Sequence[str]) -> NeuronSet:
    """A set from a CSV with columns ``layer`` and ``neuron``, counted from 0; lines after ``#`` are skipped.

    Raises
    ------
    ConditionError
        If the file has other columns, no rows, or something that is not a number.
    """
    try:
        table = pd.read_csv(path, comment="#", skipinitialspace=True)[["layer", "neuron"]].apply(
            pd.to_numeric
        )
        if (table % 1 != 0).any(axis=None):
            raise ValueError("there are fractions")
        neurons = frozenset(zip(table["layer"].astype(int), table["neuron"].astype(int), strict=True))
    except (KeyError, ValueError) as error:
        raise ConditionError(f"{path}: not a list of neurons with columns layer, neuron ({error})") from error
    if not neurons:
        raise ConditionError(f"{path}: no neurons")
    return NeuronSet("list", name, tuple(targets), neurons)


def shifted(neurons: Neurons, width: int) -> Neurons:
    """The paper's control: in each layer the neuron of the next index (of the last one, the first)."""
    return frozenset((layer, (unit + 1) % width) for layer, unit in neurons)


def response_bins(table: pd.DataFrame, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Rank of every neuron within its layer by mean response over classes, and its bin: int (L, W) each.

    Bins divide the neurons of a layer into ``bins`` parts of equal size, weakest first.
    """
    rate = table.groupby(["layer", "neuron"])["response"].mean()  # over those with clips: the others are NaN
    values = rate.to_numpy().reshape(rate.index.get_level_values("layer").nunique(), -1)
    rank = values.argsort(1, kind="stable").argsort(1)
    return rank, rank * min(bins, values.shape[1]) // values.shape[1]


def matched(neurons: Neurons, rank: np.ndarray, bins: np.ndarray, rng: np.random.Generator) -> Neurons:
    """Random neurons outside a set: as many in each layer, and in each layer as many in each bin.

    Where a bin has too few others, those nearest to it in rank take part.

    Raises
    ------
    ConditionError
        If a layer has fewer other neurons than the set has.
    """
    drawn = []
    for layer, units in units_by_layer(neurons).items():
        free = np.ones(rank.shape[1], bool)
        free[units] = False
        if free.sum() < len(units):
            raise ConditionError(
                f"{len(units)} of the {len(free)} neurons of layer {layer} are in one set: too few are left "
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


def conditions(
    sets: Sequence[NeuronSet],
    table: pd.DataFrame,
    gains: Sequence[float],
    replacements: Sequence[str],
    with_shifted: bool = True,
    random: int = 100,
    bins: int = 10,
    seed: int = 0,
) -> list[Condition]:
    """Every set with its controls, at every gain around every replacement.

    A random set of the same number is the same neurons at all gains and replacements; it depends on
    ``seed`` and the set alone.
    """
    rank, bin_of = response_bins(table, bins)
    found = []
    for one in sets:
        variants: list[tuple[str, int, Neurons]] = [("none", 0, one.neurons)]
        if with_shifted:
            variants.append(("shifted", 0, shifted(one.neurons, rank.shape[1])))
        for draw in range(random):
            rng = np.random.default_rng([seed, zlib.crc32(one.label.encode()), draw])
            variants.append(("random", draw, matched(one.neurons, rank, bin_of, rng)))
        for (control, draw, neurons), gain, replacement in product(variants, gains, replacements):
            found.append(Condition(one, Change(neurons, float(gain), replacement), control, draw))
    return found


def membership(found: Iterable[Condition]) -> pd.DataFrame:
    """The ``ablation_sets`` table: which neurons every set and control has."""
    sets: Mapping[tuple, Neurons] = {(c.set.label, c.control, c.draw): c.change.neurons for c in found}
    rows = [(*key, *neuron) for key, neurons in sets.items() for neuron in sorted(neurons)]
    return pd.DataFrame(rows, columns=["set", "control", "draw", "layer", "neuron"])
