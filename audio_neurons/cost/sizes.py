"""How many clips a study has: by the tables that are there, by the user's list, or by the datasets' facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from audio_neurons import tables
from audio_neurons.cost.work import facts
from audio_neurons.datasets import registry as datasets
from audio_neurons.study.study import Study


@dataclass(frozen=True)
class Sizes:
    """Numbers of a dataset's clips.

    Attributes
    ----------
    splits
        Split → clips; None if it is not known.
    groups
        Units of resampling; None if it is not known.
    classes
        Label → number of classes, of the labels for which it is known.
    seconds
        Length of a clip that is decoded.
    folds
        Folds of cross-validation; 1 without.
    source
        Where the numbers are from.
    """

    clips: int
    splits: Mapping[str, int] | None
    groups: int | None
    classes: Mapping[str, int]
    seconds: float
    folds: int
    source: str

    def sampled(self, clips: int) -> Sizes:
        """Return the sizes of a sample, whose splits are those of the whole."""
        if clips >= self.clips:
            return self
        share = clips / self.clips
        splits = self.splits and {name: round(n * share) for name, n in self.splits.items()}
        groups = None if self.groups is None else min(self.groups, clips)
        return replace(self, clips=clips, splits=splits, groups=groups)


def sizes(study: Study, name: str) -> Sizes | None:
    """Return the sizes of a dataset of a study, in the working directory of its runs; None if unknown."""
    if study.datasets.prepared(name):
        return _prepared(study, name)
    own = study.datasets[name]
    found: Sizes | None
    if own.synthesis is not None:
        found = _made(study, name, own.synthesis.clips)
    else:
        found = _listed(study, name) if own.files is not None else _known(study, name)
    sample = own.sample
    return found.sampled(sample.clips) if found and sample else found


def _prepared(study: Study, name: str) -> Sizes:
    parts = study.datasets.clips(name, study.datasets.rates[0])
    labels = study.datasets.labels(name)
    columns = ["split", "group", "fold", "frames", *labels]
    frame = pd.concat([tables.read(part, "clips", columns) for part in parts])
    seconds = float(frame["frames"].mean()) / study.datasets.rates[0]
    return _counted(frame, labels, seconds, "tables of clips")


def _counted(frame: pd.DataFrame, labels: tuple[str, ...], seconds: float, source: str) -> Sizes:
    folds = max(1, frame["fold"].nunique())
    splits = frame["split"].value_counts().to_dict()
    classes = {label: int(frame[label].nunique()) for label in labels if label in frame}
    return Sizes(len(frame), splits, int(frame["group"].nunique()), classes, seconds, folds, source)


def _listed(study: Study, name: str) -> Sizes | None:
    """Count the recordings of the user's own list, of which each is one clip unless windows overlap."""
    own = study.datasets[name]
    if own.windows.every is not None:
        return None
    read = datasets.reader(study.datasets.adapter(name))
    try:
        listed = list(read(study.datasets.archives(name), **study.datasets.options(name)))
    except (datasets.DatasetError, OSError):
        return None
    rows: list[dict[str, Any]] = [
        {"split": r.split, "group": r.group, "fold": r.fold, **r.labels} for r in listed if not r.left_out
    ]
    labels = study.datasets.labels(name)
    return _counted(
        pd.DataFrame(rows), labels, study.datasets.clip_seconds(name), f"{Path(own.files or '').name}"
    )


def _known(study: Study, name: str) -> Sizes | None:
    own, adapter = study.datasets[name], study.datasets.adapter(name)
    source, known = datasets.source(adapter), facts()["datasets"].get(adapter, {})
    clips = known.get("clips", source.get("clips"))
    classes = Counter({label: len(names) for label, names in source.get("classes", {}).items()})
    classes |= Counter(known.get("classes", {}))
    splits, groups = known.get("splits"), known.get("groups")
    seconds, folds = study.datasets.clip_seconds(name), known.get("folds", 1)
    if clips is None or own.windows.every is not None:
        return None
    found = Sizes(clips, splits, groups, classes, seconds, folds, "known numbers of the dataset")
    if (sentences := study.datasets.options(name).get("sentences")) and classes["sentence"]:
        share = len(sentences) / classes["sentence"]
        found = replace(
            found.sampled(round(clips * share)), source="known numbers, if all sentences are as many"
        )
    return found


def _made(study: Study, name: str, clips: int) -> Sizes:
    """Return the sizes of recordings that are made here."""
    known = facts()["made"][study.datasets.adapter(name)]
    shares = known.get("splits", {"train": 0.7, "valid": 0.1, "test": 0.2})
    splits = {split: round(share * clips) for split, share in shares.items()}
    groups, seconds = min(known.get("groups", clips), clips), study.datasets.clip_seconds(name)
    source = "recordings that are made"
    return Sizes(clips, splits, groups, known["classes"], seconds, known.get("folds", 1), source)
