"""Reading of units for one label, or for two labels of the same clips, with the names of their groups.

Apart from :mod:`audio_neurons.activations.units`, so that a change here repeats no forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from audio_neurons import tables
from audio_neurons.activations.statistics import natural, positions
from audio_neurons.activations.units import Units, described, matrix
from audio_neurons.recordings.clips import describe

WEIGHT = 2**16  # tokens of a group in a class, if groups have equal weights


@dataclass(frozen=True)
class NamedUnits(Units):
    """Units with the names of their groups, and the tokens that were counted before groups got equal weights.

    Attributes
    ----------
    names
        Names of the groups; empty if they have none.
    counted
        int64 (R,), or None if ``tokens`` are what was counted (see :func:`equal_groups`).
    """

    names: tuple[str, ...] = ()
    counted: np.ndarray | None = None


def counted(units: Units) -> np.ndarray:
    """Return how many tokens were counted for each row, (R,): its rate is as exact as these allow."""
    own = units.counted if isinstance(units, NamedUnits) else None
    return units.tokens if own is None else own


def sums(units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (C, N) and tokens (C,) of the classes, int64."""
    active = np.zeros((len(units.classes), units.active.shape[1]), np.int64)
    for label, counts in zip(units.labels, units.active, strict=True):
        active[label] += counts
    return active, np.bincount(units.labels, units.tokens, len(units.classes)).astype(np.int64)


def equal_groups(units: Units) -> NamedUnits:
    """Return units in which all groups of a class have the same number of tokens, `WEIGHT`, and their rates.

    Counts stay integers, so that sums stay exact. The probability of a class is then the mean of the rates
    of its groups, each rounded to a multiple of 1 / `WEIGHT`. If a group has several rows in a class, these
    share its weight as they share its tokens.
    """
    of = np.unique(np.stack([units.groups, units.labels]), axis=1, return_inverse=True)[1].ravel()
    share = units.tokens / np.bincount(of, units.tokens)[of]
    tokens = np.maximum(np.rint(WEIGHT * share), 1).astype(np.int64)
    active = np.empty(units.active.shape, np.uint32)
    for row, own in enumerate(units.active):  # row by row, since all at once may take gigabytes in float64
        active[row] = np.rint(own * (tokens[row] / units.tokens[row]))
    names = units.names if isinstance(units, NamedUnits) else ()
    return NamedUnits(active, tokens, units.labels, units.groups, units.classes, names, counted(units))


def read(path: Path, label: str, splits: Sequence[str] | None) -> NamedUnits:
    """Sum a ``units`` table into the groups and classes of one label; ``None`` counts all splits.

    Raises
    ------
    TableError
        If the table has no such label, or its rows differ in their number of neurons.
    """
    return _summed(path, [label], splits)[0]


def read_jointly(
    path: Path, labels: Sequence[str], splits: Sequence[str] | None
) -> tuple[NamedUnits, list[np.ndarray], list[tuple[str, ...]]]:
    """Sum a ``units`` table into the groups and the combinations of several labels.

    Returns
    -------
    The units, whose classes are the combinations; of each label its class in every combination, and its
    classes, those without rows left out.
    """
    units, combinations = _summed(path, labels, splits)
    classes = [tuple(sorted(combinations[label].unique(), key=natural)) for label in labels]
    of = [pd.Index(own).get_indexer(combinations[label]) for label, own in zip(labels, classes, strict=True)]
    return units, of, classes


def read_clips(
    responses: Sequence[Path],
    clips: Sequence[Path],
    label: str,
    splits: Sequence[str] | None,
    neurons: np.ndarray | None = None,
) -> NamedUnits:
    """Return the counts of every clip by itself, in order of their names, with the classes and groups of
    :func:`read`.

    Parameters
    ----------
    responses, clips
        Parts of a dataset's ``responses`` and ``clips`` tables.
    neurons
        Numbers of the neurons to read, layer-major; by default all.
    """
    frame = describe(clips, label)
    names = tuple(sorted(frame["class"].unique(), key=natural))
    frame = frame[frame["split"].isin(splits)] if splits is not None else frame
    active, tokens, found = [], [], []
    place = pd.Series(np.arange(len(frame)), index=frame["clip_id"])
    for part in responses:
        for batch in tables.row_groups(part, "responses", ["clip_id", "tokens", "active"]):
            number = batch["tokens"].to_numpy()
            here = place.reindex(batch["clip_id"].to_pylist(), fill_value=-1).to_numpy()
            kept = (here >= 0) & (number > 0)
            active.append(matrix(batch, part)[kept][:, slice(None) if neurons is None else neurons])
            tokens.append(number[kept].astype(np.int64))
            found.append(here[kept])
    order = np.argsort(np.concatenate(found))
    frame = frame.iloc[np.concatenate(found)[order]]
    groups, group_names = pd.factorize(frame["group"], sort=True)
    labels = pd.Index(names).get_indexer(frame["class"])
    counts = np.concatenate(active)[order]
    return NamedUnits(counts, np.concatenate(tokens)[order], labels, groups, names, tuple(group_names))


def _naturally(row: Sequence[str]) -> list:
    return [natural(name) for name in row]


def _summed(
    path: Path, labels: Sequence[str], splits: Sequence[str] | None
) -> tuple[NamedUnits, pd.DataFrame]:
    """Return units of the combinations of labels, and these: all classes of one label, or those with rows."""
    frame = tables.read(path, "units", described(path))
    known = tables.labels_of("units", frame.columns)
    for label in labels:
        if label not in known:
            raise tables.TableError(f"{path}: no label '{label}'; there are {', '.join(known)}")
    counted = frame["split"].isin(splits).to_numpy() if splits is not None else np.ones(len(frame), bool)
    keys = ["group", *labels]
    pairs = frame.loc[counted, keys].drop_duplicates().sort_values(keys)
    row_of = np.full(len(frame), -1)
    row_of[counted] = positions(frame[counted], pairs)

    active, tokens, done = None, np.zeros(len(pairs), np.int64), 0
    for batch in tables.row_groups(path, "units", ["tokens", "active"]):
        here = row_of[done : done + len(batch)]
        done += len(batch)
        np.add.at(tokens, here[here >= 0], batch["tokens"].to_numpy()[here >= 0])
        counts = matrix(batch, path)
        if active is None:
            active = np.zeros((len(pairs), counts.shape[1]), np.uint32)
        elif counts.shape[1] != active.shape[1]:
            raise tables.TableError(f"{path}: not the same neurons in every unit; {tables.REMEDY}")
        for row, added in zip(here, counts, strict=True):
            if row >= 0:
                active[row] += added
    assert active is not None
    among = frame if len(labels) == 1 else pairs
    ordered = sorted(set(among[list(labels)].itertuples(index=False, name=None)), key=_naturally)
    combinations = pd.DataFrame(ordered, columns=list(labels))
    places = pd.MultiIndex.from_frame(combinations).get_indexer(pd.MultiIndex.from_frame(pairs[list(labels)]))
    names = tuple(" and ".join(row) for row in ordered)
    groups, group_names = pd.factorize(pairs["group"])
    return NamedUnits(
        active, tokens, places.astype(np.int64), groups, names, tuple(group_names)
    ), combinations
