"""Surge: 2,084 presets (tones) of a synthesiser, up to 88 notes of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from audio_neurons.datasets._layout import load, rows, tail
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.nsynth import octave
from audio_neurons.datasets.registry import SPLITS, DatasetError, Recording


def recordings(archives: Mapping[str, Path]) -> Iterator[Recording]:
    """Yield recordings of ``surge/<tone>/<MIDI note>.ogg``, split by tone as in EVAR's list.

    Notes may be zero-padded. A tone should have the 88 notes from 21 to 108, but upstream does not say
    whether all do; the notes in the archive are used. A listed tone without any note becomes one
    recording without data, ``<tone>/*``, which preparation rejects.

    Parameters
    ----------
    archives
        ``archive``: ``surge-velocity64-2K.tar``; ``splits``: ``dataset_surge_tone_splits.csv``.

    Raises
    ------
    DatasetError
        If a tone is not in the list, and so has no split, or a file is not named by a note.
    """
    path, splits = archives["archive"], archives["splits"]
    split_of = {row["tone"]: row["split"] for row in rows(load(splits), ("tone", "split"), splits)}
    missing = {tone for tone, split in split_of.items() if split in SPLITS}
    for name, data in members(path, ".ogg"):
        tone, note = PurePosixPath("/", name).parts[-2], PurePosixPath(name).stem
        if tone not in split_of:
            raise DatasetError(f"{splits}: no tone '{tone}', but {path} has {name}")
        if not note.isdecimal():
            raise DatasetError(f"{path}: {name}: looked for */<tone>/<MIDI note>.ogg")
        missing.discard(tone)
        if split_of[tone] in SPLITS:
            yield Recording(
                clip_id=tail(name, 2), data=data, split=split_of[tone], group=tone,
                labels={"octave": str(octave(int(note))), "pitch": str(int(note))},
            )  # fmt: skip
    for tone in sorted(missing):
        yield Recording(
            clip_id=f"{tone}/*", data=b"", split=split_of[tone], group=tone,
            labels={"octave": "unknown", "pitch": "unknown"},
        )  # fmt: skip
