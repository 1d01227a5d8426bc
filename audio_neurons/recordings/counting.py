"""Counts of a dataset's clips by label, class and split, before and after a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from audio_neurons.datasets.registry import NO_SPLIT, SPLITS
from audio_neurons.recordings.sampling import EVERY
from audio_neurons.recordings.windows import Cut
from audio_neurons.settings.datasets import Sample

ALL = (*SPLITS, NO_SPLIT)
NAMED = 10  # at most so many classes are named


class Inventory:
    """Clips that there are, that a sample drew, and that could be used."""

    def __init__(self) -> None:
        self._available: Counter[tuple[str, str, str]] = Counter()
        self._drawn: Counter[tuple[str, str, str]] = Counter()
        self._clips: Counter[tuple[str, str, str]] = Counter()

    def of(
        self, cuts: Iterable[Cut], chosen: Collection[str] | None, left_out: type[Exception]
    ) -> Iterator[Cut]:
        """Yield the clips that were drawn, and those that are left out on purpose, which do not count."""
        for cut in cuts:
            if isinstance(cut.problem, left_out):
                yield cut
                continue
            _count(self._available, cut.recording.labels, cut.recording.split)
            if chosen is None or cut.recording.clip_id in chosen:
                _count(self._drawn, cut.recording.labels, cut.recording.split)
                yield cut

    def add(self, labels: Mapping[str, str], split: str) -> None:
        """Count a clip that is stored."""
        _count(self._clips, labels, split)

    def table(self) -> dict[str, list]:
        """Return the columns of the table ``inventory``; label and class ``*`` stand for all clips."""
        order = {split: place for place, split in enumerate(ALL)}
        rows = sorted(self._available, key=lambda row: (row[0] != EVERY, row[0], row[1], order[row[2]]))
        return {
            **{name: [row[i] for row in rows] for i, name in enumerate(("label", "class", "split"))},
            "available": [self._available[row] for row in rows],
            "drawn": [self._drawn[row] for row in rows],
            "clips": [self._clips[row] for row in rows],
        }

    def words(self, sample: Sample | None) -> Iterator[str]:
        """Yield what a sample took, and what it left nothing of."""
        if sample is None:
            return
        available, drawn = (_total(counts) for counts in (self._available, self._drawn))
        yield f"sample: {sample.words(drawn, available)}"
        if available <= sample.clips:
            yield f"the sample asks for {sample.clips:,} clips, and there are {available:,}: all are used"
            return
        lost = [split for split in ALL if self._lost(EVERY, EVERY, split)]
        if lost:
            yield f"the sample leaves no clip in the split {' and '.join(lost)}"
        classes: dict[str, list[str]] = {}
        for label, name, split in self._available:
            if label != EVERY and split == "train" and self._lost(label, name, split):
                classes.setdefault(label, []).append(name)
        for label, names in sorted(classes.items()):
            total = len({name for of, name, _ in self._available if of == label})
            shown = ", ".join(sorted(names)[:NAMED]) + (", ..." if len(names) > NAMED else "")
            of = f"{len(names)} of the {total} classes of {label}: {shown}"
            yield f"the sample leaves no training clip of {of}"

    def _lost(self, label: str, name: str, split: str) -> bool:
        row = (label, name, split)
        return self._available[row] > 0 and not self._drawn[row]


def _count(counts: Counter[tuple[str, str, str]], labels: Mapping[str, str], split: str) -> None:
    counts[EVERY, EVERY, split] += 1
    for label, name in labels.items():
        counts[label, name, split] += 1


def _total(counts: Counter[tuple[str, str, str]]) -> int:
    return sum(counts[EVERY, EVERY, split] for split in ALL)
