"""Samples of a dataset: seeded, balanced or not, of clips or of whole groups, decided before decoding.

Every unit (a clip, or a group with all its clips) has a place in an order that a hash of its name and the
seed decides. Balanced, its rank is the number of clips of its class that come before it in that order; else
all clips are of one class. Units are taken by rank, equal ranks in the order of their hashes, until the next
one would exceed the sample. Classes thus fill up evenly, a class that runs out leaves its share to the
others, and a clip that is added to the dataset displaces at most one other.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from audio_neurons.settings.datasets import Sample

EVERY = "*"  # stands for all labels, and for all classes


class Candidate(NamedTuple):
    """A clip that may be drawn."""

    clip_id: str
    group: str
    split: str
    labels: Mapping[str, str]


class SampleError(ValueError):
    """A sample cannot be what the configuration asks for."""


def place(name: str, seed: int) -> tuple[int, str]:
    """Return the place of a clip or group in the order of the draw."""
    digest = hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big"), name


def draw(candidates: Collection[Candidate], sample: Sample) -> frozenset[str]:
    """Return the ``clip_id`` of the clips that a sample has.

    Raises
    ------
    SampleError
        If not every class of ``sample.per`` can have a clip, or no training clip is left.
    """
    classes = {clip.labels[sample.per] for clip in candidates} if sample.per else set()
    if sample.clips < len(classes):
        raise SampleError(
            f"`sample` asks for {sample.clips} clips, balanced by {sample.per}, which has {len(classes)} "
            f"classes; set sample.clips to at least {len(classes)}"
        )
    units: dict[str, list[Candidate]] = {}
    for clip in candidates:
        units.setdefault(clip.group if sample.whole_groups else clip.clip_id, []).append(clip)
    before: Counter[str] = Counter()
    ranked = []
    for where in sorted(place(name, sample.seed) for name in units):
        members = units[where[1]]
        own = _class_of(members, sample.per)
        ranked.append((before[own], where))
        before[own] += len(members)
    taken: list[str] = []
    for _, (_, name) in sorted(ranked):
        if len(taken) + len(units[name]) > sample.clips:
            break
        taken += (clip.clip_id for clip in units[name])
    chosen = frozenset(taken)
    _refuse_nothing(candidates, chosen, sample)
    return chosen


def _class_of(members: Collection[Candidate], label: str | None) -> str:
    """Return the class of most clips of a unit; of equally many, that of the first name."""
    if label is None:
        return EVERY
    counts = Counter(clip.labels[label] for clip in members)
    return min(counts, key=lambda name: (-counts[name], name))


def _refuse_nothing(candidates: Iterable[Candidate], chosen: frozenset[str], sample: Sample) -> None:
    train = [clip for clip in candidates if clip.split == "train"]
    if not chosen or (train and not any(clip.clip_id in chosen for clip in train)):
        what = "none of the training clips" if chosen else "no group: the first one drawn has more clips"
        remedy = "raise sample.clips, or change sample.seed"
        raise SampleError(f"`sample` of {sample.words()} has {what}; {remedy}")


def mixed(candidates: Iterable[Candidate], label: str) -> int:
    """Return the number of groups that have clips of several classes of a label."""
    classes: dict[str, set[str]] = {}
    for clip in candidates:
        classes.setdefault(clip.group, set()).add(clip.labels[label])
    return sum(len(own) > 1 for own in classes.values())
