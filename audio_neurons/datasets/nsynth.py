"""NSynth: single notes of a thousand instruments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from audio_neurons.datasets._layout import matched, member, text
from audio_neurons.datasets.archives import members
from audio_neurons.datasets.registry import SPLITS, DatasetError, Recording

# Fields of a note's description that are used; the first is its group.
FIELDS = ("instrument_str", "pitch", "instrument_family_str", "instrument_source_str", "velocity")


def octave(pitch: int) -> int:
    """Return the octave of a MIDI pitch, where 60 is C4; the lowest notes are in octave -1."""
    return pitch // 12 - 1


def recordings(
    archives: Mapping[str, Path], *, pitches: Sequence[int] | None = (21, 108)
) -> Iterator[Recording]:
    """Yield recordings of ``nsynth-<split>/audio/*.wav``, described by ``nsynth-<split>/examples.json``.

    Parameters
    ----------
    archives
        ``train``, ``valid``, ``test``: the archives ``nsynth-<split>.jsonwav.tar.gz``.
    pitches
        Lowest and highest MIDI pitch to use; ``None`` for all notes. The default is the range that the
        dataset's page states and that Surge has; some instruments of NSynth exceed it (from 9 on).

    Raises
    ------
    DatasetError
        If an archive has no usable ``examples.json``, or none of its notes.
    """
    if pitches is not None and not (
        isinstance(pitches, Sequence)
        and len(pitches) == 2
        and all(isinstance(pitch, int) for pitch in pitches)
        and pitches[0] <= pitches[1]
    ):
        raise DatasetError(f"nsynth: option `pitches` is {pitches}; looked for [lowest, highest] or null")
    for split in SPLITS:
        path = archives[split]
        # A separate pass: the description need not come before the notes in the archive.
        where = f"{path}: examples.json"
        listed = _notes(text(member(path, "examples.json"), where), split, pitches, where)
        yield from matched(listed, members(path, ".wav"), lambda name: PurePosixPath(name).stem, path)


def _notes(description: str, split: str, pitches: Sequence[int] | None, where: str) -> dict[str, Recording]:
    """Return the recordings of a split, without data.

    The 290,000 descriptions of the training split are 200 MB of text and far more as dictionaries, so
    each is reduced to the used fields during parsing, and equal labels share one object.
    """
    labels = cache(_labels)
    listed = {}
    try:
        for name, note in json.loads(description, object_hook=_used).items():
            values: Sequence[Any] = note if isinstance(note, tuple) else [None] * len(FIELDS)
            if missing := [field for field, value in zip(FIELDS, values, strict=True) if value is None]:
                raise DatasetError(f"{where}: note {name} has no field {', '.join(missing)}")
            instrument, pitch, *others = values
            if pitches is None or pitches[0] <= int(pitch) <= pitches[1]:
                listed[name] = Recording(
                    clip_id=name, data=b"", split=split, group=instrument, labels=labels(int(pitch), *others)
                )
    except DatasetError:
        raise
    except (ValueError, TypeError, AttributeError) as error:
        raise DatasetError(f"{where}: not a JSON object of notes ({error})") from error
    return listed


def _used(fields: dict) -> dict | tuple:
    """Return the used fields of a note, or the object of all notes (without such fields) unchanged."""
    return tuple(map(fields.get, FIELDS)) if any(field in fields for field in FIELDS) else fields


def _labels(pitch: int, family: str, source: str, velocity: int) -> dict[str, str]:
    return {
        "octave": str(octave(pitch)), "pitch": str(pitch), "family": family, "source": source,
        "velocity": str(velocity),
    }  # fmt: skip
